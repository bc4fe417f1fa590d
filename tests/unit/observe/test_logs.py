"""Logs of the program: one configuration for ours and the libraries' alike."""

import asyncio
import json
import logging
import os
import sys
import warnings
from typing import Any

import pytest
import structlog

from router.observe.logs import LineHandler, configure
from router.observe.output import Output
from router.settings import Settings


def fail(message: str) -> None:
    raise ValueError(message)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON objects on standard error."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_ours_and_the_libraries_lines_look_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object per line, with time, level, logger and event."""
    configure(Settings(log_format="json"))
    structlog.get_logger("router.test").info("it happened", host="x.org", count=3)
    logging.getLogger("aiohttp.server").warning("slow %s", "loop")
    ours, theirs = lines(capsys)
    assert ours.pop("ts").endswith("Z")
    assert ours == {"event": "it happened", "host": "x.org", "count": 3, "level": "info", "logger": "router.test"}
    assert theirs.pop("ts").endswith("Z")
    assert theirs == {"event": "slow loop", "level": "warning", "logger": "aiohttp.server"}


@pytest.mark.parametrize("library", ["aiohttp.access", "alembic.runtime.migration", "asyncio", "sqlalchemy.engine"])
def test_libraries_are_heard(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever logs through the standard library."""
    configure(Settings(log_format="json"))
    logging.getLogger(library).error("trouble")
    assert [line["logger"] for line in lines(capsys)] == [library]


def test_less_than_the_level_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and theirs."""
    configure(Settings(log_format="json", log_level="warning"))
    structlog.get_logger("router.test").info("no")
    logging.getLogger("alembic").info("no")
    structlog.get_logger("router.test").warning("yes")
    assert [line["event"] for line in lines(capsys)] == ["yes"]


def test_the_worker_is_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are several processes."""
    configure(Settings(log_format="json"), worker=2)
    structlog.get_logger("router.test").info("ours")
    logging.getLogger("asyncio").warning("theirs")
    assert [line["worker"] for line in lines(capsys)] == [2, 2]


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    """No line twice, and loggers from before follow."""
    configure(Settings(log_format="json"))
    log = structlog.get_logger("router.test")
    log.info("one")
    configure(Settings(log_format="json"), worker=1)
    log.info("two")
    assert [(line["event"], line.get("worker")) for line in lines(capsys)] == [("one", None), ("two", 1)]


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its traceback as a member, and what it says masked."""
    configure(Settings(log_format="json"))
    try:
        int("msk_live_abc")
    except ValueError as error:
        structlog.get_logger("router.test").exception("ours")
        structlog.get_logger("router.test").error("given", exc_info=error)
        logging.getLogger("asyncio").exception("theirs")
    found = lines(capsys)
    assert [line["event"] for line in found] == ["ours", "given", "theirs"]
    for line in found:
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("ValueError: invalid literal for int() with base 10: 'msk_***'")


def test_secrets_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of a value, at any depth, and by the look of a text."""
    configure(Settings(log_format="json", internal_token="hunter2-hunter2-hunter2-hunter2"))
    structlog.get_logger("router.test").info(
        "with msk_live_abc",
        token="hunter2",
        api_key=b"hunter2",
        headers={"Authorization": "hunter2", "Cookie": ["hunter2"], "Host": "x.org"},
        sent=[{"client_secret": 90210902109}, ("Bearer hunter2hunter2", 5)],
        url="postgresql://router:hunter2@db/x",
        settings=Settings(internal_token="hunter2-hunter2-hunter2-hunter2"),
        raw=b"msk_live_abc",
        key=None,
    )
    logging.getLogger("aiohttp.client").warning("to %s", "redis://:hunter2@cache")
    text = capsys.readouterr().err
    assert "hunter2" not in text
    assert "live_abc" not in text
    assert "90210902109" not in text
    ours = json.loads(text.splitlines()[0])
    assert ours["headers"] == {"Authorization": "***", "Cookie": "***", "Host": "x.org"}
    assert ours["sent"] == [{"client_secret": "***"}, ["Bearer ***", 5]]
    assert (ours["token"], ours["key"], ours["raw"]) == ("***", None, "msk_***")


def test_values_of_any_shape_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """What JSON has no form for is shown as text, and endless nesting ends."""
    configure(Settings(log_format="json"))
    endless: list[object] = []
    endless.append(endless)
    structlog.get_logger("router.test").info(
        "x", what=object, pair={(1, 2): {3}}, endless=endless, flag=True, ratio=0.5
    )
    (found,) = lines(capsys)
    assert found["what"] == "<class 'object'>"
    assert found["pair"] == {"(1, 2)": [3]}
    assert (found["flag"], found["ratio"]) == (True, 0.5)


def test_text_is_one_line_whatever_a_value_says(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger's value forges no line and drives no terminal."""
    configure(Settings(log_format="text"))
    structlog.get_logger("router.test").warning("refused", host="x\n2026 [error] forged\x1b[2J\u202e\x9b")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert "forged" in text


def test_tracebacks_in_text_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """They are for people; what an exception says can still drive nothing."""
    configure(Settings(log_format="text"))
    try:
        fail("\x1b[2J")
    except ValueError:
        structlog.get_logger("router.test").exception("failed")
    text = capsys.readouterr().err
    assert "Traceback (most recent call last):\n" in text
    assert "ValueError: \\x1b[2J" in text


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a pipe, a service manager."""
    configure(Settings())
    structlog.get_logger("router.test").info("x")
    assert [line["event"] for line in lines(capsys)] == ["x"]


def test_auto_is_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With colours."""
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        configure(Settings())
        structlog.get_logger("router.test").info("x", host="x.org")
        text = os.read(leader, 4096).decode()
    os.close(leader)
    assert "\x1b[" in text
    assert "x.org" in text
    assert "{" not in text


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's warning is a line like the others."""
    configure(Settings(log_format="json"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
    assert [line["logger"] for line in lines(capsys)] == ["py.warnings"]


@pytest.mark.asyncio
async def test_bound_context_is_on_the_lines_of_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    """`structlog.contextvars` reaches ours and the libraries' lines."""
    configure(Settings(log_format="json"))

    async def work() -> None:
        structlog.contextvars.bind_contextvars(request_id="r1")
        structlog.get_logger("router.test").info("inside")
        logging.getLogger("asyncio").warning("inside")

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
    structlog.get_logger("router.test").info("outside")
    assert [line.get("request_id") for line in lines(capsys)] == ["r1", "r1", None]


def test_lines_that_nobody_reads_stop_nobody_and_are_counted() -> None:
    """Whoever logs goes on; when somebody reads again, a line says how many were lost."""
    reading, writing = os.pipe()
    handler = LineHandler(Output(writing, waiting=4096))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for number in range(1000):
        said = f"{number:04d} {'x' * 1000}"
        handler.handle(logging.makeLogRecord({"levelname": "WARNING", "msg": said}))
    lost = handler.take_lost()
    assert lost > 900
    data = b""
    while b"lost" not in data:
        data += os.read(reading, 65536)
    *whole, last = data.splitlines()
    assert [line[8:12] for line in whole] == [b"%04d" % number for number in range(1000 - lost)]
    assert last == b"WARNING %d log lines were lost" % lost
    handler.flush()
    os.close(reading)
    os.close(writing)

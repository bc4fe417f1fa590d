"""Levels of single modules on a running node, for a while."""

import asyncio
import logging
import re
from pathlib import Path

import pytest
import structlog

import router
from router.observe import logs
from router.observe.log_levels import LIBRARIES, LogLevels, as_json, from_json, is_module
from router.settings import Settings
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Lines(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.msg["event"] if isinstance(record.msg, dict) else str(record.msg))


@pytest.fixture
def lines() -> Lines:
    """Logging as a process has it."""
    logs.configure(Settings())
    handler = Lines()
    logging.getLogger().handlers[:] = [handler]
    return handler


def say() -> None:
    """One line of each level, of two modules and a library."""
    for name in ("router.proxy", "router.gate"):
        log = structlog.get_logger(name)
        for level in ("debug", "info", "error"):
            getattr(log, level)(f"{name} {level}")
    logging.getLogger("aiohttp.server").debug("aiohttp debug")


INFO = ["router.proxy info", "router.proxy error", "router.gate info", "router.gate error"]


async def test_a_module_has_a_level_of_its_own(lines: Lines) -> None:
    """Those below it too; others stay as they were, and so does it when the time is over."""
    now = 0.0
    levels = LogLevels(lambda: now)
    say()
    assert lines.said == INFO
    lines.said.clear()
    levels.set("router.proxy", "debug", 60.0)
    levels.set("router.gate", "error", 60.0)
    levels.set("aiohttp", "debug", 60.0)
    say()
    assert lines.said == ["router.proxy debug", *INFO[:2], INFO[3], "aiohttp debug"]
    lines.said.clear()
    levels.unset("aiohttp")
    levels.set("router", "warning", 60.0)
    say()
    assert lines.said == ["router.proxy debug", *INFO[:2], INFO[3]]
    lines.said.clear()
    now = 61.0
    levels.replace(levels.levels)
    say()
    assert lines.said == INFO
    assert levels.levels == {}


async def test_it_returns_by_itself(lines: Lines) -> None:
    """Each at its own time; who follows the levels is told."""
    clock = asyncio.get_running_loop().time
    levels = LogLevels(clock)
    told: list[set[str]] = []
    levels.on_change = lambda found: told.append(set(found))
    levels.set("router.gate", "debug", clock() + 60)
    levels.set("router.proxy", "debug", clock() + 0.05)
    await eventually(lambda: told[-1] == {"router.gate"}, "one has ended")
    levels.close()
    assert told == [{"router.gate"}, {"router.gate", "router.proxy"}, {"router.gate"}, set()]
    levels.close()
    assert len(told) == 4
    say()
    assert lines.said == INFO


async def test_another_process_gets_the_same() -> None:
    """What it does not know is left out."""
    levels = {"router.proxy": ("debug", 5.0)}
    assert from_json(as_json(levels)) == levels
    assert from_json({"router": ["loud", 5.0], "router.gate": ["info", "x"]}) == {}


@pytest.mark.parametrize("name", ["router", "router.proxy", "router.proxy.client", "router.cli.checks", *LIBRARIES])
async def test_modules(name: str) -> None:
    assert is_module(name)


@pytest.mark.parametrize(
    "name",
    ["", "root", "sqlalchemy", "router.", "router.nothing", "router/../x", "router..proxy", "asyncpg", "router.*"],
)
async def test_no_modules(name: str) -> None:
    """Not those of the database's drivers either, which log values."""
    assert not is_module(name)


async def test_every_logger_of_ours_can_be_set() -> None:
    """Also those that are called by what they are about."""
    found = set()
    for file in Path(router.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r'get_logger\("([a-z0-9_.]+)"\)', file.read_text(encoding="utf-8")))
    for name in found:
        logging.getLogger(name)
    assert len(found) > 20
    assert [name for name in found if not is_module(name)] == []

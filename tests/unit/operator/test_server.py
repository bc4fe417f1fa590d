"""The operators' sockets: who may use which, who has acted, what becomes of their files."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from router.operator.listening import UnixListener
from router.operator.processes import Answers, Processes
from router.operator.server import Call, OperatorError, OperatorRoute, OperatorServer, Peer, answer
from router.settings import Operator
from tests.support.operators import call, runtime_folder

pytestmark = pytest.mark.asyncio


class Acts:
    """An audit log."""

    def __init__(self) -> None:
        self.seen: list[tuple[Peer, str, str, Mapping[str, Any]]] = []

    async def __call__(self, peer: Peer, act: str, subject: str, details: Mapping[str, Any]) -> None:
        self.seen.append((peer, act, subject, details))


async def _question(call: Call) -> web.StreamResponse:
    return answer({"name": call.one("name", "nobody")})


async def _act(call: Call) -> web.StreamResponse:
    body = await call.body()
    if body.get("wrong"):
        raise OperatorError(422, "wrong", "That is wrong.")
    await call.acted("test.act", "thing", how=body.get("how"))
    return answer({"done": True})


async def _broken(_call: Call) -> web.StreamResponse:
    raise RuntimeError("a bug")


async def _stream(call: Call) -> web.StreamResponse:
    async with call.stream() as lines:
        await lines.send({"line": 1})
        await call.draining.wait()
        await lines.send({"end": "draining"})
    return lines.response


ROUTES = [
    OperatorRoute("GET", "/v1/question", _question),
    OperatorRoute("POST", "/v1/act", _act),
    OperatorRoute("GET", "/v1/broken", _broken),
    OperatorRoute("GET", "/v1/stream", _stream),
]


@pytest_asyncio.fixture
async def folder() -> AsyncIterator[Path]:
    async with runtime_folder() as found:
        yield found


@pytest.fixture
def acts() -> Acts:
    return Acts()


@pytest_asyncio.fixture
async def server(folder: Path, acts: Acts) -> AsyncIterator[OperatorServer]:
    made = OperatorServer(folder, Operator(), ROUTES, on_act=acts)
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("name", ["operator-read.sock", "operator.sock"])
async def test_questions_are_answered_at_both(server: OperatorServer, folder: Path, name: str) -> None:
    assert await call(folder / name, "GET", "/v1/question", query={"name": "x"}) == (200, {"name": "x"})


async def test_the_read_socket_refuses_acts(server: OperatorServer, folder: Path, acts: Acts) -> None:
    """Each route that acts, by the socket that was asked and not by what is asked; nothing has happened then."""
    status, said = await call(folder / "operator-read.sock", "POST", "/v1/act", {"how": "so"})
    assert (status, said["error"]["code"]) == (403, "read_only_socket")
    assert "operator.sock" in said["error"]["message"]
    assert acts.seen == []


async def test_who_acted_is_what_the_kernel_says(server: OperatorServer, folder: Path, acts: Acts) -> None:
    assert await call(folder / "operator.sock", "POST", "/v1/act", {"how": "so"}) == (200, {"done": True})
    assert acts.seen == [(Peer(os.getuid(), os.getgid(), os.getpid()), "test.act", "thing", {"how": "so"})]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("DELETE", "/v1/act", None, 405, "method_not_allowed"),
        ("GET", "/v1/act", None, 405, "method_not_allowed"),
        ("POST", "/v1/act", [1], 400, "invalid_body"),
        ("POST", "/v1/act", {"wrong": 1}, 422, "wrong"),
        ("POST", "/v1/act", {"long": "x" * 70_000}, 413, "body_too_large"),
        ("GET", "/v1/broken", None, 500, "internal_error"),
        ("GET", "/v1/question?name=a&name=b", None, 400, "invalid_parameter"),
    ],
)
async def test_errors_are_json(
    server: OperatorServer, folder: Path, method: str, path: str, body: object, status: int, code: str
) -> None:
    found, said = await call(folder / "operator.sock", method, path, body)
    assert (found, said["error"]["code"]) == (status, code)


async def test_streams_end_when_the_node_drains(server: OperatorServer, folder: Path) -> None:
    connector = aiohttp.UnixConnector(str(folder / "operator-read.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://node/v1/stream") as response:
        assert await response.content.readline() == b'{"line":1}\n'
        server.drain()
        assert await asyncio.wait_for(response.content.read(), 10) == b'{"end":"draining"}\n'


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize(("mode", "why"), [(0o777, "777"), (0o775, "775"), (0o1777, None), (0o755, None)])
async def test_a_folder_in_which_others_may_replace_a_socket(folder: Path, mode: int, why: str | None) -> None:
    """It is refused: whoever may do that would answer the operators' tools."""
    folder.chmod(mode)
    if why is None:
        UnixListener(folder / "operator.sock", 0o600, None).close()
        return
    with pytest.raises(OSError, match=why):
        UnixListener(folder / "operator.sock", 0o600, None)
    assert list(folder.iterdir()) == []


async def test_each_socket_has_its_mode_and_group(folder: Path) -> None:
    settings = Operator(read_mode="0660", act_mode="0600", read_group=str(os.getgid()))
    server = OperatorServer(folder, settings, ROUTES)
    await server.start()
    assert (_mode(folder / "operator-read.sock"), _mode(folder / "operator.sock")) == (0o660, 0o600)
    assert (folder / "operator-read.sock").stat().st_gid == os.getgid()
    assert sorted(one.name for one in folder.iterdir()) == ["operator-read.sock", "operator.sock"]
    await server.close()
    assert not list(folder.iterdir())


async def test_a_group_that_is_not_there(folder: Path) -> None:
    """The start fails, and leaves nothing behind."""
    server = OperatorServer(folder / "run", Operator(act_group="no-such-group"), ROUTES)
    with pytest.raises(OSError, match="no-such-group"):
        await server.start()
    await server.close()
    assert not list((folder / "run").iterdir())


async def test_a_successor_takes_the_files_over(folder: Path, acts: Acts) -> None:
    """During a reload both run: new callers reach the new one, and the old one takes nothing of it away at its end."""
    old, new = OperatorServer(folder, Operator(), ROUTES), OperatorServer(folder, Operator(), ROUTES, on_act=acts)
    await old.start()
    await new.start()
    await old.close()
    assert await call(folder / "operator.sock", "POST", "/v1/act", {}) == (200, {"done": True})
    assert len(acts.seen) == 1
    await new.close()
    assert not list(folder.iterdir())


async def test_a_folder_that_can_not_be_made(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        UnixListener(folder / "no" / "such" / "operator.sock", 0o600, None)


async def test_every_process_is_asked() -> None:
    """A process that knows no such question is left out; one that is silent is counted."""
    own = Answers()
    own.add("both", lambda arguments: ["control", arguments["x"]])

    class Two:
        async def ask_operator(self, question: str, arguments: Mapping[str, Any]) -> tuple[list[tuple[int, Any]], int]:
            return [(1, [question, arguments["x"]]), (2, None)], 1

        def on_operator_event(self, hear: object) -> None:
            pass

    asked = await Processes(own, Two()).ask("both", x=7)
    assert [(one.process, one.value) for one in asked] == [(0, ["control", 7]), (1, ["both", 7])]
    assert asked.silent == 1
    assert [one.process for one in await Processes(own, None).ask("process")] == [0]
    assert not list(await Processes(own, None).ask("unknown"))

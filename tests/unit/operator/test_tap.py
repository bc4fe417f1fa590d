"""What `tap` says of exchanges that it does not show."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from router.operator.processes import Answers, Processes
from router.operator.server import OperatorServer
from router.operator.subjects import Subjects
from router.operator.tap import Tap, _Reader
from router.operator.tapping import MAX_TAPS
from router.settings import Operator
from tests.support.operators import call, runtime_folder
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


async def _nobody(_id_or_slug: str) -> str:
    raise AssertionError("a host is not looked up")


class Node:
    """A node of one process, whose taps the test feeds."""

    def __init__(self, folder: Path) -> None:
        self.answers = Answers()
        self.taps: dict[str, Mapping[str, Any]] = {}
        self.answers.add("tap", lambda arguments: bool(self.taps.setdefault(arguments["tap"], arguments)))
        self.answers.add("untap", lambda arguments: bool(self.taps.pop(arguments["tap"], None)))
        routes = Tap(Processes(self.answers, None), Subjects(_nobody)).routes()
        self.server = OperatorServer(folder, Operator(), routes)
        self.socket = folder / "operator-read.sock"

    def ends(self, rows: int, dropped: int = 0) -> None:
        """So many exchanges have ended."""
        for tap in self.taps:
            self.answers.emit("tap", {"tap": tap, "rows": [{"request_id": "r"}] * rows, "dropped": dropped})


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    async with runtime_folder() as folder:
        made = Node(folder)
        await made.server.start()
        yield made
        await made.server.close()


async def _lines(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        return [await _line(response) for _ in range(count)]


async def _line(response: aiohttp.ClientResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await response.content.readline())
    return found


async def test_what_is_over_the_limit_is_said(node: Node) -> None:
    """Over all processes together; what a process left out itself counts too."""
    connector = aiohttp.UnixConnector(str(node.socket))
    query = {"of": "a.example", "max_rps": "2"}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://node/v1/tap", params=query) as response,
    ):
        assert await _lines(response, 1) == [{"tap": {"host": "a.example"}, "max_rps": 2}]
        await eventually(lambda: node.taps, "the process has been told")
        node.ends(3, dropped=4)
        row = {"request_id": "r", "worker": 0}
        assert await _lines(response, 3) == [row, row, {"not_shown": 5, "over_max_rps": 5, "reader_too_slow": 0}]
    await eventually(lambda: not node.taps, "the tool has gone, and so has the tap")


async def test_so_many_at_once(node: Node) -> None:
    connector = aiohttp.UnixConnector(str(node.socket), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        opened = [await session.get("http://node/v1/tap", params={"of": "a.example"}) for _ in range(MAX_TAPS)]
        status, said = await call(node.socket, "GET", "/v1/tap", query={"of": "a.example"})
        assert (status, said["error"]["code"]) == (429, "too_many_taps")
        for response in opened:
            response.close()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "missing_subject"),
        ({"of": "a.example", "max_rps": "0"}, "invalid_parameter"),
        ({"of": "a.example", "max_rps": "2001"}, "invalid_parameter"),
        ({"of": "a.example", "max_rps": "x"}, "invalid_parameter"),
        ({"of": "a.example", "status": "6xx"}, "invalid_status"),
        ({"of": "a.example", "ending": "no"}, "invalid_ending"),
    ],
)
async def test_what_is_refused(node: Node, query: dict[str, str], code: str) -> None:
    status, said = await call(node.socket, "GET", "/v1/tap", query=query)
    assert (status // 100, said["error"]["code"]) == (4, code)
    assert node.taps == {}


async def test_a_slow_reader_loses_and_is_told() -> None:
    """What waits is bounded."""
    reader = _Reader(1_000_000)
    for _ in range(50):
        reader.take(1, [{"request_id": "r"}] * 100, 0)
    assert (len(reader.rows), reader.not_read, reader.over_limit) == (4000, 1000, 0)

"""How `tap` shows exchanges."""

from contextlib import nullcontext
from typing import Any

import pytest
from aiohttp import web

from router.cli.run_command import CommandError
from router.cli.tap import _remark, _Seen, _show, exchange_line
from router.operator.server import Call, OperatorRoute, OperatorServer
from router.settings import Settings
from tests.support.operators import runtime_folder

LINE: dict[str, Any] = {
    "at": 1_700_000_010.25,
    "status": 200,
    "ending": "--",
    "duration_ms": 12.345,
    "method": "GET",
    "host": "shop.miosa.app",
    "path": "/index.html",
    "error": None,
    "client_network": "203.0.113.0/24",
}


@pytest.mark.parametrize(
    ("columns", "changes", "line"),
    [
        (None, {}, "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/index.html 203.0.113.0/24"),
        (80, {}, "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/index.html 203.0.113.0/24"),
        (70, {}, "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/index.html"),
        (
            70,
            {"error": "not_found", "path": "/a/long/path/of/a/file.css"},
            "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/a/long/path… not_found",
        ),
        (55, {}, "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/index.…"),
        (
            None,
            {"status": 0, "ending": "CB"},
            "22:13:30.250   - CB 12.3 ms GET  shop.miosa.app/index.html 203.0.113.0/24",
        ),
        (
            None,
            {"error": "bad_gateway", "client_network": None},
            "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/index.html bad_gateway",
        ),
        (
            None,
            {"path": "/\x1b[2J\n"},
            "22:13:30.250 200 -- 12.3 ms GET  shop.miosa.app/\ufffd[2J\ufffd 203.0.113.0/24",
        ),
        (None, {"duration_ms": 31_000}, "22:13:30.250 200 --    31 s GET  shop.miosa.app/index.html 203.0.113.0/24"),
    ],
)
def test_a_line_fits(columns: int | None, changes: dict[str, Any], line: str) -> None:
    found = exchange_line(LINE | changes, columns)
    assert found == line
    assert columns is None or len(found) <= columns


@pytest.mark.asyncio
@pytest.mark.parametrize("says_so", [True, False])
async def test_a_tap_that_the_node_ends(says_so: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word it is an error: somebody waits for more."""

    async def tap(call: Call) -> web.StreamResponse:
        async with call.stream() as lines:
            await lines.send(LINE | {"request_id": "r"})
            if says_so:
                await lines.send({"end": "the node ends"})
        return lines.response

    async with runtime_folder() as folder:
        settings = Settings(runtime_dir=folder)
        server = OperatorServer(folder, settings.operator, [OperatorRoute("GET", "/v1/tap", tap)])
        await server.start()
        seen = _Seen()
        with nullcontext() if says_so else pytest.raises(CommandError, match="ten seconds"):
            await _show(settings, {"of": "a.example"}, as_json=False, seen=seen)
        await server.close()
    assert seen.exchanges == 1
    assert capsys.readouterr().out.splitlines()[1:] == (["-- the node ends"] if says_so else [])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"tap": {"host": "a.example", "status": [500, 599]}}, "tapping host a.example, status 500-599"),
        ({"tap": {"resource": "x", "tenant": "x", "status": [404, 404]}}, "tapping id x, status 404"),
        ({"tap": {"resource": "shop"}}, "tapping resource shop"),
        ({"not_shown": 5, "over_max_rps": 5, "reader_too_slow": 0}, "5 not shown: 5 over --max-rps"),
        ({"silent": 1}, "1 workers do not answer: their exchanges are missing"),
        ({"end": "the node ends"}, "the node ends"),
    ],
)
def test_what_the_node_says(said: dict[str, Any], words: str) -> None:
    assert _remark(said) == words

"""A developer captures what comes to their sandbox, and sends it once more; on a node of one process and on one of several."""

import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Backend, Visit
from tests.support.developer import Developer
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

LOGIN = b'{"user": "ada", "password": "hush"}'
SHOWN = '{"user": "ada", "password": "***"}'


async def echo(visit: Visit) -> None:
    """Which request it is a replay of, if any, and its body."""
    body = b"".join([piece async for piece in visit.body()])
    mark = visit.header(b"x-miosa-replay") or b"no replay"
    await visit.answer(mark + b" " + body, b"200 OK", b"Content-Type: text/plain", b"Set-Cookie: session=hush")


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def router(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder: Path = tmp_path_factory.mktemp("captures")
    key = secrets.token_hex(32)
    with Router(folder, workers=request.param, secrets_key=key) as started:
        yield started
    assert started.process.status == 0


async def test_captured_and_replayed(router: Router) -> None:
    """Switched on without a restart, seen with its bodies and without secrets, sent once more with its mark, and deleted at once."""
    developer = Developer(router, "Acme")
    slug = f"box-{uuid.uuid4().hex[:8]}"
    async with Backend(echo) as backend:
        box = router.register(developer.tenant_id, slug, backend.port)
        switch = f"/sandboxes/{box}/request-capture"
        async with Http1(router.proxy_port, f"{slug}.{PLATFORM_DOMAIN}") as http:
            assert await (await http.request("GET", "/before")).read_all() == b"no replay "
            status, on = await developer.ask("PUT", switch, {"duration_seconds": 60})
            assert (status, on["active"]) == (200, True), on
            typed = ("Content-Type: application/json", "Cookie: session=hush", "X-Miosa-Replay: forged")
            answer = await http.request("POST", "/login?token=hush", *typed, body=LOGIN)
            assert await answer.read_all() == b"no replay " + LOGIN
        record = await developer.record(box, lambda one: bool(one["captured"]))
        assert (record["path"], record["replay"]) == ("/login", False)
        capture = await developer.until(f"/request-logs/{record['id']}/capture")
        assert "hush" not in str(capture)
        assert capture["request"]["target"] == "/login?token=***"
        assert capture["request"]["body"]["text"] == SHOWN
        assert capture["response"]["body"]["text"] == "no replay " + SHOWN

        path = f"/request-logs/{record['id']}/replay"
        status, error = await developer.ask("POST", path, {})
        assert (status, set(error["fields"])) == (422, {"headers.cookie", "query.token", "body"})
        given = {"headers": {"Cookie": None}, "query": {"token": "mine"}, "body": "{}"}
        status, replay = await developer.ask("POST", path, given)
        assert (status, replay["status"], replay["ending"]) == (200, 200, "--"), replay
        assert replay["response"]["body"]["text"] == f"{record['request_id']} {{}}"
    again = await developer.record(box, lambda one: bool(one["replay"]))
    assert (again["id"], again["path"], again["captured"]) == (replay["id"], "/login", True)
    before = [one for one in await developer.records(box) if one["path"] == "/before"]
    assert [one["captured"] for one in before] == [False]

    status, off = await developer.ask("DELETE", f"{switch}?purge=true")
    assert (status, off["active"]) == (200, False)
    status, error = await developer.ask("GET", f"/request-logs/{record['id']}/capture")
    assert (status, error["code"]) == (404, "capture_not_found")
    assert "hush" not in router.output
    other = Developer(router, "Globex")
    assert (await other.ask("POST", path, {}))[0] == 404

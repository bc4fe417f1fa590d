"""Looks at domains from a whole node: through a CDN, by the schedule, and because somebody wants to visit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from router.domains.lookup import RecordType
from tests.support.backends import Backend, Visit
from tests.support.waiting import PAUSE
from tests.wire.test_domains import FQDN, Node, program, running_node

pytestmark = pytest.mark.asyncio


class Cdn:
    """Stands before a node: passes requests on to its proxy with their Host, or answers by itself where it is `stale`."""

    def __init__(self) -> None:
        self.proxy: tuple[str, int] | None = None
        self.stale = False

    async def __call__(self, visit: Visit) -> None:
        if self.stale or self.proxy is None:
            await visit.answer(visit.target)  # an echo of what was asked for
            return
        async with aiohttp.ClientSession() as session:
            url = f"http://{self.proxy[0]}:{self.proxy[1]}{visit.target.decode()}"
            async with session.get(url, headers={"Host": FQDN}, allow_redirects=False) as answer:
                status = f"{answer.status} {answer.reason}".encode()
                await visit.answer(await answer.read(), status)


@pytest.fixture
def cdn() -> Cdn:
    return Cdn()


@pytest_asyncio.fixture
async def node(tmp_path: Path, cdn: Cdn) -> AsyncIterator[Node]:
    """A node with all its roles, whose port 80 is the CDN's."""
    async with (
        Backend(cdn) as front,
        running_node(
            tmp_path,
            admin_bind="127.0.0.1:0",
            checks__networks="127.0.0.0/8",
            checks__http_port=str(front.port),
        ) as started,
    ):
        cdn.proxy = started.proxy
        yield started


@pytest_asyncio.fixture
async def domains(node: Node) -> AsyncIterator[str]:
    async with Backend(program) as started:
        yield f"/api/v1/deployments/{await node.run('shop', started.port, kind='deployment')}/domains"


async def test_a_domain_behind_a_cdn(node: Node, domains: str, cdn: Cdn) -> None:
    """Our own proxy answers the request that comes back through it, before the name is verified and afterwards; a CDN that
    sends back what it was asked for shows nothing."""
    _, answer = await node.call("POST", domains, {"domain": FQDN})
    place = f"{domains}/{answer['data']['id']}"
    token = answer["data"]["records"][1]["expected"]
    node.dns.put(FQDN, RecordType.A, "127.0.0.1")
    node.dns.put(f"_miosa-challenge.{FQDN}", RecordType.TXT, token)
    cdn.stale = True
    assert (await node.call("POST", f"{place}/verify"))[0] == 422
    assert await node.status(FQDN) == 404
    cdn.stale = False
    status, verified = await node.call("POST", f"{place}/verify")
    assert (status, verified["data"]["status"], verified["data"]["method"]) == (200, "verified", "proxied")
    assert (await node.visit(FQDN))[2] == FQDN.encode()
    status, again = await node.call("POST", f"{place}/check")
    assert (status, again["data"]["dns_status"], again["data"]["method"]) == (200, "verified", "proxied")
    # Everything but the one path is the customer's.
    assert (await node.visit(FQDN, "/.well-known/miosa-challenge/other"))[2] == FQDN.encode()
    node.dns.put(FQDN, RecordType.A)
    node.dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    assert (await node.call("POST", f"{place}/check"))[1]["data"]["method"] == "cname"
    assert (await node.visit(FQDN, f"/.well-known/miosa-challenge/{token}"))[2] == FQDN.encode()


async def test_an_ask_for_a_name_that_waits(node: Node, domains: str) -> None:
    """The first visitor's handshake makes us look now, a minute before the schedule would."""
    _, answer = await node.call("POST", domains, {"domain": FQDN})
    node.dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    url = f"http://{node.admin[0]}:{node.admin[1]}/ask?domain={FQDN}"
    async with aiohttp.ClientSession() as session, session.get(url) as refused:
        assert (refused.status, refused.headers["X-Ask-Reason"]) == (403, "not_verified")
    async with asyncio.timeout(10):
        while (await node.call("GET", f"{domains}/{answer['data']['id']}"))[1]["data"]["status"] != "verified":
            await asyncio.sleep(PAUSE)
    async with aiohttp.ClientSession() as session, session.get(url) as allowed:
        assert allowed.status == 200


async def test_a_domain_that_is_removed(node: Node, domains: str) -> None:
    """It is refused at ask and by the proxy, with the very next question."""
    _, answer = await node.call("POST", domains, {"domain": FQDN})
    node.dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    place = f"{domains}/{answer['data']['id']}"
    await node.call("POST", f"{place}/verify")
    assert await node.status(FQDN) == 200
    await node.call("DELETE", place)
    assert await node.status(FQDN) == 404
    url = f"http://{node.admin[0]}:{node.admin[1]}/ask?domain={FQDN}"
    async with aiohttp.ClientSession() as session, session.get(url) as refused:
        assert (refused.status, refused.headers["X-Ask-Reason"]) == (403, "removed")

"""What a resolver that authorities run makes of the responder."""

import asyncio
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from router.domains.lookup import RecordType
from tests.support.dns_servers import Unbound
from tests.support.nameserver import NameServer
from tests.support.responder import RunningResponder
from tests.support.responder_zone import OTHER, TOKEN, ZONE

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_resolver(tmp_path: Path, tcp: bool) -> None:
    """Follows a customer's alias to the values, in names of random case and with minimised questions, by UDP and by TCP; what
    is not there is not there, and a new value is seen within seconds of the last negative answer."""
    async with RunningResponder() as responder, NameServer() as customers:
        customers.serve("customer.org")
        customers.put("_acme-challenge.preview.customer.org", RecordType.CNAME, f"{TOKEN}.{ZONE}")
        customers.put("_acme-challenge.sandbox.preview.customer.org", RecordType.CNAME, f"{OTHER}.{ZONE}")
        servers = {ZONE: f"127.0.0.1:{responder.port}", "customer.org": customers.server}

        def start() -> Unbound:
            resolver = Unbound(tmp_path, servers, tcp=tcp)
            resolver.ready(ZONE)
            return resolver

        resolver = await asyncio.to_thread(start)
        with resolver:

            async def ask(name: str, kind: str = "TXT") -> tuple[str, set[str]]:
                message: dns.message.Message = await asyncio.to_thread(resolver.ask, name, kind)
                texts = {rdata.to_text() for rrset in message.answer for rdata in rrset if rrset.rdtype.name == kind}
                return message.rcode().name, texts

            assert await ask("_acme-challenge.preview.customer.org") == ("NOERROR", {f'"{"x" * 43}"', f'"{"y" * 43}"'})
            assert (await ask("_acme-challenge.sandbox.preview.customer.org"))[0] == "NXDOMAIN"
            responder.orders.values = {OTHER: ("new",)}
            deadline = asyncio.get_running_loop().time() + 15
            while await ask("_acme-challenge.sandbox.preview.customer.org") != ("NOERROR", {'"new"'}):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
            assert await ask(ZONE, "CAA") == ("NOERROR", {'0 issue ";"'})
            assert await ask("deep.acme.example.net", "A") == ("NOERROR", set())
            assert await ask("ns2.deep.acme.example.net", "A") == ("NOERROR", {"192.0.2.2"})
            # The probe of TCP is cut off over UDP: whoever gets it has come over TCP.
            assert await ask(f"tcp._responder.{ZONE}") == ("NOERROR", {'"miosa-router"'})
            assert (responder.counted("truncated") == 0) is tcp
        assert resolver.status is not None

"""From a zone's two records to visitors: the router orders by ACME from Pebble, and Caddy with deploy/Caddyfile serves."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import Backend, Visit
from tests.support.caddy import Caddy
from tests.support.http1 import Http1
from tests.support.waiting import until
from tests.support.zones import Fleet, fleet

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

ZONE, BARE = "preview.yourcompany.com", "preview.bare-customer.com"
SANDBOXES = 200
PROMISED = 60.0  # seconds from a zone's records to its certificate


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


def asked(one: Fleet) -> float:
    """How often Caddy has asked whether a name may have a certificate of its own."""
    lines = one.router.get_admin("/metrics")[2].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("miosa_router_asks_total"))


def issuer(caddy: Caddy, host: str) -> str:
    """Who has signed the certificate of a host. Raises ssl.SSLError where there is none."""
    context = caddy.trust()
    context.verify_mode = ssl.CERT_REQUIRED
    found: Any = caddy.certificate(host, context)["issuer"]
    return str(dict(part for ((part),) in found)["commonName"])


async def test_two_hundred_sandboxes_open_over_tls_with_one_order(tmp_path: Path) -> None:
    """Nobody has visited before: within a minute of the records every host of the zone is served by one certificate, and nothing
    else is ordered or asked for. A zone without the records goes on as before. When the zone is given up, its certificate is
    served no more."""
    (tmp_path / "caddy").mkdir()

    def story(one: Fleet, backend: int) -> None:
        with Caddy(tmp_path / "caddy", proxy=one.router.proxy, ask=one.router.admin) as caddy:
            tenant, bare = one.tenant("Acme"), one.tenant("Bare")
            for slug in ("bare", *(f"box{number}" for number in range(SANDBOXES))):
                one.router.register((bare if slug == "bare" else tenant).id, slug, backend)
            bare.set_zone(BARE)
            tenant.set_zone(ZONE)
            one.delegate(ZONE)
            begun = time.monotonic()

            def is_held() -> bool:
                return one.router.get_admin(f"/certificate?server_name=x.{ZONE}")[0] == 200

            until(is_held, "the zone's certificate is held", PROMISED)
            assert time.monotonic() - begun < PROMISED
            assert asked(one) == 0

            trusted = ssl.create_default_context(cafile=str(one.pebble.roots))
            trusted.set_alpn_protocols(["http/1.1"])

            async def visit(host: str) -> int:
                async with Http1(caddy.port, host, trusted) as client:
                    return (await client.request("GET", "/")).status

            hosts = [f"box{number}.{ZONE}" for number in range(0, SANDBOXES, 2)]
            hosts += [f"3000-box{number}.sandbox.{ZONE}" for number in range(1, SANDBOXES, 2)]
            assert len(hosts) == SANDBOXES
            assert {asyncio.run(visit(host)) for host in hosts} == {200}
            assert asked(one) == 0
            assert one.proxy.placed == [sorted((f"*.{ZONE}", f"*.sandbox.{ZONE}"))]
            assert one.pebble.issued == 1
            assert not list(caddy.storage.rglob(f"*{ZONE}*"))

            assert issuer(caddy, f"bare.{BARE}").startswith("Caddy Local Authority")
            assert asked(one) == 1

            assert tenant.call("DELETE", "/tenant/preview-domain")[0] in {200, 204}
            until(lambda: not is_held(), "it is held no more", 10.0)
            with pytest.raises(ssl.SSLError):
                issuer(caddy, hosts[0])

    async with fleet(tmp_path, gate__budgets=True) as one, Backend(hello) as backend:
        await asyncio.to_thread(story, one, backend.port)

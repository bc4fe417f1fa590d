"""What `doctor` finds of `acme_zone`, each provoked with the real part: name servers, a resolver, a primary that takes updates."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from router.base.clock import SystemClock
from router.cli.checks.challenges import _delegated
from router.cli.checks.finding import Level
from router.dns import DnsLookup
from router.domains.lookup import RecordType
from router.settings import Settings
from tests.contract.test_doctor import found_by, known, settings
from tests.support.dns_servers import KEY, KEY_NAME, Bind, Unbound
from tests.support.internet import FIRST, SECOND, Internet
from tests.support.nameserver import CUT, SILENT, NameServer
from tests.support.ports import free_port
from tests.support.responder import RunningResponder
from tests.support.responder_zone import ADDRESSES, SERVERS, ZONE

pytestmark = pytest.mark.asyncio

PROBE, PROBE_TCP = f"_responder.{ZONE}", f"tcp._responder.{ZONE}"


def by_responder(bind: str, dns: str, names: Sequence[str] = ("ns1.example.net",), **values: Any) -> Settings:
    acme = {"acme_zone": ZONE, "acme_dns_bind": bind, "acme_dns_names": names, "secrets_key": "ab12" * 16}
    return settings(**acme, dns_servers=dns, **values)


def healthy(server: NameServer) -> None:
    """It says what the responder would."""
    server.put(ZONE, RecordType.NS, "ns1.example.net")
    for name in (PROBE, PROBE_TCP):
        server.put(name, RecordType.TXT, "miosa-router")


async def test_a_zone_that_is_reached(tmp_path: Path) -> None:
    """Through a resolver that authorities run, by UDP and by TCP: nothing to find. Off is nothing either."""
    assert await found_by("challenges", known()) == []
    async with RunningResponder() as responder:
        at = f"127.0.0.1:{responder.port}"

        def start() -> Unbound:
            resolver = Unbound(tmp_path, {ZONE: at})
            resolver.ready(ZONE)
            return resolver

        with await asyncio.to_thread(start) as resolver:
            addresses = {name: [str(address) for address in has] for name, has in ADDRESSES.items()}
            found = by_responder(at, resolver.server, SERVERS, acme_dns_addresses=addresses)
            assert await found_by("challenges", known(found)) == []
        assert responder.counted("truncated") > 0  # it came over TCP because it was told to


@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        (PROBE, SILENT, "acme_zone_no_udp"),
        (PROBE, "refused", "acme_zone_no_udp"),
        (PROBE, "nxdomain", "acme_zone_other_server"),
        (PROBE_TCP, CUT, "acme_zone_no_tcp"),
        (ZONE, "nxdomain", "acme_zone_not_delegated"),
    ],
)
async def test_a_zone_that_is_not_reached(name: str, fault: str, code: str) -> None:
    """Not by UDP, not by TCP, or somebody else's."""
    async with RunningResponder() as responder, NameServer() as world:
        healthy(world)
        found = by_responder(f"127.0.0.1:{responder.port}", world.server)
        assert await found_by("challenges", known(found)) == []
        if fault == "nxdomain":
            world.remove(name)
            if name == ZONE:
                for probe in (PROBE, PROBE_TCP):
                    world.remove(probe)
        else:
            world.fail(name, fault)
        assert await found_by("challenges", known(found)) == [(Level.ERROR, code)]


async def test_a_zone_on_other_name_servers() -> None:
    """One that is not ours is an error, one of ours that is not there a warning."""
    async with RunningResponder() as responder, NameServer() as world:
        healthy(world)
        here = f"127.0.0.1:{responder.port}"
        both = by_responder(here, world.server, ("ns1.example.net", "ns2.example.net"))
        assert await found_by("challenges", known(both)) == [(Level.WARNING, "acme_zone_servers_missing")]
        world.put(ZONE, RecordType.NS, "ns1.example.net", "ns.old.example")
        one = by_responder(here, world.server)
        assert await found_by("challenges", known(one)) == [(Level.ERROR, "acme_zone_elsewhere")]
        unknown = by_responder(here, f"127.0.0.1:{free_port()}")
        assert await found_by("challenges", known(unknown)) == [(Level.UNKNOWN, "acme_zone_unknown")]


@pytest.mark.parametrize(
    ("told", "codes"),
    [
        ({"ns1.acme.zone.test": [FIRST], "ns2.other.test": []}, []),
        ({"ns1.acme.zone.test": [SECOND], "ns2.other.test": []}, ["acme_zone_glue"]),
        ({"ns1.acme.zone.test": [], "ns2.other.test": []}, ["acme_zone_glue"]),
        ({"ns2.other.test": []}, ["acme_zone_servers_missing"]),
        (None, ["acme_zone_not_delegated"]),
    ],
)
async def test_what_the_parent_zone_says(told: Mapping[str, Sequence[str]] | None, codes: list[str]) -> None:
    """Asked from the root down: the NS records, and the addresses of those in the zone itself. Whether these answer is another
    matter."""
    found = by_responder(
        "127.0.0.1:0",
        "",
        ("ns1.acme.zone.test", "ns2.other.test"),
    ).model_copy(update={"acme_zone": "acme.zone.test"})
    found = Settings.model_validate(
        {**found.model_dump(), "secrets_key": "ab12" * 16, "acme_dns_addresses": {"ns1.acme.zone.test": [FIRST]}}
    )
    acme = found.acme()
    assert acme is not None
    async with Internet("zone.test") as world:
        for server in (world.first, world.second):
            if told is not None:
                server.delegate("acme.zone.test", told)
        clock = SystemClock()
        lookup = DnsLookup((), clock, query_timeout=0.5, **world.options)
        delegation = await lookup.delegation("acme.zone.test", clock.monotonic() + 10)
        await lookup.close()
    assert delegation.of_parent
    assert [one.code for one in _delegated(acme, delegation)] == codes


async def test_a_node_that_does_not_answer() -> None:
    """A running one without the listener, and one that is about to start where another program has the port."""
    async with NameServer() as world:
        healthy(world)
        found = by_responder(f"127.0.0.1:{free_port()}", world.server)
        assert await found_by("challenges", known(found)) == [(Level.ERROR, "dns_not_listening")]
        assert await found_by("challenges", known(found, ready=None)) == []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            taken = by_responder(f"127.0.0.1:{other.getsockname()[1]}", world.server)
            assert await found_by("challenges", known(taken, ready=None)) == [(Level.ERROR, "dns_not_listening")]
        proxy = by_responder(f"127.0.0.1:{free_port()}", world.server, roles=["proxy", "api"])
        assert await found_by("challenges", known(proxy)) == []


async def test_updates_of_the_operators_primary(tmp_path: Path) -> None:
    """A test name is put and taken away again; what the primary refuses is said in its words."""
    server = await asyncio.to_thread(Bind, tmp_path, ZONE)
    with server:
        at = f"127.0.0.1:{server.port}"
        values: dict[str, Any] = {
            "acme_zone": ZONE,
            "acme_dns_update": at,
            "acme_dns_key_name": KEY_NAME,
            "acme_dns_key": KEY,
            "secrets_key": "ab12" * 16,
            "dns_servers": at,
        }
        assert await found_by("challenges", known(settings(**values))) == []
        log = server.output
        assert "adding an RR at 'doctor-" in log
        assert "deleting rrset at 'doctor-" in log
        wrong = settings(**values | {"acme_dns_key_name": "other"})
        assert await found_by("challenges", known(wrong)) == [(Level.ERROR, "acme_update_failed")]
    assert await found_by("challenges", known(settings(**values))) == [(Level.ERROR, "acme_update_failed")]


async def test_settings_that_do_not_fit() -> None:
    """Are named."""
    assert await found_by("challenges", known(settings(acme_zone=ZONE))) == [(Level.ERROR, "acme_settings")]


async def test_an_authority_that_customers_are_not_told() -> None:
    """Orders go elsewhere than `ca.identities` says: a warning, beside what else there is."""
    elsewhere = "https://acme.other.example/directory"
    async with RunningResponder() as responder, NameServer() as server:
        healthy(server)
        at = f"127.0.0.1:{responder.port}"
        wanted = [(Level.WARNING, "acme_ca_identities")]
        assert await found_by("challenges", known(by_responder(at, server.server, acme_directory=elsewhere))) == wanted

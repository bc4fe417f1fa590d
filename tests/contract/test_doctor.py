"""What `doctor` finds, each provoked with the real part: Redis, PostgreSQL, sockets, a name server, a file's rows."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from router.base.clock import Clock, ManualClock, SystemClock
from router.certificates.held import Origin
from router.cli.checks import CHECKS, report
from router.cli.checks.finding import Level, Report
from router.cli.checks.known import Known, find_out
from router.cli.output import hanging
from router.cli.running_node import Sample
from router.domains.certificates import Certificate, CertificateStatus, Leaf, Source
from router.domains.connect_templates import key_records
from router.domains.lookup import RecordType
from router.settings import Settings
from router.store import Store
from router.store.inspection import NearEnd, Rows, StoreFacts
from router.store.inspection import inspect as inspect_store
from tests.support.database import execute, on_postgresql
from tests.support.links import PEM, private_key
from tests.support.nameserver import NameServer
from tests.support.ports import free_port
from tests.support.postgres import REPLICATED, Postgres, Standby
from tests.support.redis import Cluster, Sentinels, Server
from tests.support.world import World

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = Rows(nodes=(), jobs={}, near_end=(), certified=(), logins=0, wakes_wanted=False, attempts=0, hosts={})
READY: dict[str, Any] = {"status": "ready", "checks": {"serving": {"ok": True, "detail": None}}}


def rows(**changes: Any) -> Rows:
    values = {name: getattr(NOTHING, name) for name in NOTHING.__slots__}
    return Rows(**values | changes)


def facts(found: Rows | None = NOTHING) -> StoreFacts:
    return StoreFacts(
        kind="SQLite",
        version="3.45",
        standby=False,
        latency=0.001,
        clock_ahead=0.0,
        revision="0025",
        head="0025",
        newer=False,
        rows=found,
    )


def settings(**values: Any) -> Settings:
    """Listeners on ports that nothing has."""
    binds = {f"{name}_bind": f"127.0.0.1:{free_port()}" for name in ("proxy", "api", "admin")}
    return Settings.model_validate({**binds, "internal_token": "x", **values})


def known(found: Settings | None = None, *, clock: Clock | None = None, **changes: Any) -> Known:
    values: dict[str, Any] = {"store": facts(), "redis": None, "ready": READY, "metrics": ()}
    return Known(settings=found or settings(), clock=clock or SystemClock(), **values | changes)


async def found_by(name: str, about: Known) -> list[tuple[Level, str]]:
    """(level, code) of what a check finds; each of its sentences must be whole."""
    checked = await report(name, about)
    assert checked.findings or checked.seen, "a check that finds nothing says what it has seen"
    for one in checked.findings:
        assert one.sentence.endswith("."), one
        assert ", so " in one.sentence, one
        assert not one.then.endswith("."), one
    return [(one.level, one.code) for one in checked.findings]


@asynccontextmanager
async def answering(handler: Any, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """The port of an HTTP server whose every answer `handler` makes."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, address, port or free_port())
    await site.start()
    try:
        yield int(site._port)
    finally:
        await runner.cleanup()


# Redis


async def test_redis_that_refuses_when_it_is_full(tmp_path: Path) -> None:
    """A limit of memory without an eviction policy is a warning; with one, or without a limit, it is none."""
    cases: tuple[tuple[dict[str, Any], list[tuple[Level, str]]], ...] = (
        ({"maxmemory": "64mb", "maxmemory_policy": "noeviction"}, [(Level.WARNING, "redis_no_eviction")]),
        ({"maxmemory": "64mb", "maxmemory_policy": "allkeys-lru"}, []),
        ({}, []),
    )
    for options, wanted in cases:
        with Server(tmp_path, **options) as server:
            about = await find_out(settings(redis_url=f"redis://127.0.0.1:{server.port}"), SystemClock())
        assert await found_by("redis", about) == wanted


async def test_redis_that_takes_no_writes(tmp_path: Path) -> None:
    """A replica is an error, and so is a server that is not there; its password is not shown."""
    with Server(tmp_path) as master, Server(tmp_path, replicaof=f"127.0.0.1 {master.port}") as replica:
        about = await find_out(settings(redis_url=f"redis://127.0.0.1:{replica.port}"), SystemClock())
        assert await found_by("redis", about) == [(Level.ERROR, "redis_replica")]
    gone = await find_out(settings(redis_url=f"redis://:geheim@127.0.0.1:{free_port()}"), SystemClock())
    assert await found_by("redis", gone) == [(Level.ERROR, "redis_unavailable")]
    assert "geheim" not in str(gone.redis)


async def test_redis_whose_user_may_not_ask(tmp_path: Path) -> None:
    """A user without INFO and TIME leaves the role unknown and says nothing of the clock; Redis itself is usable."""
    with Server(tmp_path) as server:
        server.ask("ACL", "SETUSER", "default", "-info", "-time")
        about = await find_out(settings(redis_url=f"redis://127.0.0.1:{server.port}"), SystemClock())
    assert await found_by("redis", about) == [(Level.UNKNOWN, "redis_role")]
    assert await found_by("clock", about) == [(Level.UNKNOWN, "clock_unknown")]


@pytest.mark.parametrize("layout", [Sentinels, Cluster])
async def test_redis_of_every_layout(tmp_path: Path, layout: type[Sentinels] | type[Cluster]) -> None:
    """Of a Cluster, and behind Sentinels, the same is known."""
    with layout(tmp_path) as servers:
        about = await find_out(settings(redis_url=servers.url), SystemClock())
    assert await found_by("redis", about) == []
    assert await found_by("clock", about) == []


# The store


@on_postgresql
async def test_postgresql_with_another_schema(database: str) -> None:
    """One that is older is an error with the command to run, a newer one is a warning; nothing is read from the older."""
    sound = await find_out(settings(database_url=database), SystemClock())
    assert await found_by("store", sound) == []
    assert isinstance(sound.store, StoreFacts)
    assert (sound.store.kind, sound.store.standby, abs(sound.store.clock_ahead) < 5) == ("PostgreSQL", False, True)
    for revision, wanted in (("0001", (Level.ERROR, "store_schema")), ("9999", (Level.WARNING, "store_newer"))):
        await execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - written above
        about = await find_out(settings(database_url=database), SystemClock())
        assert await found_by("store", about) == [wanted]
        assert isinstance(about.store, StoreFacts)
        assert (about.store.rows is None) is (wanted[0] is Level.ERROR)
        unread = wanted[0] is Level.ERROR
        assert await found_by("certificates", about) == ([(Level.UNKNOWN, "certificates_unknown")] if unread else [])


async def test_postgresql_that_is_a_standby_or_not_there() -> None:
    """Both are errors: the one takes no changes, the other nothing."""
    with Postgres(**REPLICATED) as primary:
        await primary.create()
        with Standby(primary) as standby:
            about = await find_out(settings(database_url=standby.url("migrated")), SystemClock())
            assert await found_by("store", about) == [(Level.ERROR, "store_standby")]
    gone = await find_out(settings(database_url=f"postgresql://a:geheim@127.0.0.1:{free_port()}/x"), SystemClock())
    assert await found_by("store", gone) == [(Level.ERROR, "store_unavailable")]
    assert "geheim" not in str(gone.store)


async def test_certificates_near_their_end(store: Store, world: World, clock: ManualClock, database: str) -> None:
    """Those of domains that are served and should have been renewed long ago; what is being renewed in time is none."""
    desk = await world.sandbox(await world.tenant(), "desk", kind="computer")
    for host, begun, ends in (("ended.example", 91, -1), ("late.example", 80, 10), ("sound.example", 1, 89)):
        domain = await world.domain(desk, f"www.{host.replace('.example', '-x.com')}")
        now = clock.now()
        leaf = Leaf(
            issuer="CA", serial="1", not_before=now - timedelta(days=begun), not_after=now + timedelta(days=ends)
        )
        async with store.begin() as tx:
            await tx.certificates.put(
                Certificate(
                    host=domain.fqdn,
                    status=CertificateStatus.ISSUED,
                    domain_id=domain.id,
                    tenant_id=domain.tenant_id,
                    leaf=leaf,
                    seen_at=now,
                    source=Source.PROBE,
                    due_at=now,
                )
            )
    found = await inspect_store(database, Settings().database, clock, window=60.0)
    assert found.rows is not None
    assert [one.host for one in found.rows.near_end] == ["www.ended-x.com", "www.late-x.com"]
    assert found.rows.certified == ("www.late-x.com", "www.sound-x.com")
    assert found.rows.hosts["custom domains"] == 3
    assert await found_by("certificates", known(store=found, clock=clock)) == [
        (Level.ERROR, "certificate_ended"),
        (Level.WARNING, "certificate_ending"),
    ]


# Listeners


async def test_a_port_that_another_program_has() -> None:
    """Is an error that names the setting, whether or not that program speaks HTTP."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        taken = settings(api_bind=f"127.0.0.1:{other.getsockname()[1]}")
        checked = await report("listeners", known(taken, ready=None))
    assert [one.code for one in checked.findings] == ["port_taken"]
    assert "`api_bind`" in checked.findings[0].sentence


async def test_a_listener_that_a_running_node_lacks() -> None:
    """Is an error, as where the setting was changed and the node not restarted; without a node a free port is fine."""
    found = settings(roles=["proxy"])
    assert await found_by("listeners", known(found)) == [(Level.ERROR, "not_listening")]
    assert await found_by("listeners", known(found, ready=None)) == []


# Clock


async def test_a_clock_that_is_wrong() -> None:
    """By the Date of what answers at Caddy's place, by the database's, by Redis's; without any of them it is unknown."""

    async def moved(_request: web.BaseRequest) -> web.Response:
        return web.Response(headers={"Date": "Mon, 01 Jan 2001 00:00:00 GMT"})

    async with answering(moved) as port:
        found = settings(gate={"caddy": "127.0.0.1:443"}, checks={"http_port": port})
        assert await found_by("clock", known(found)) == [(Level.ERROR, "clock_wrong")]
    assert await found_by("clock", known()) == [(Level.UNKNOWN, "clock_unknown")]


async def test_a_clock_that_differs_from_redis(tmp_path: Path) -> None:
    """Ours is moved, Redis's is the machine's."""
    with Server(tmp_path) as server:
        about = await find_out(settings(redis_url=f"redis://127.0.0.1:{server.port}"), ManualClock())
        assert await found_by("clock", about) == [(Level.ERROR, "clock_wrong")]
        right = await find_out(settings(redis_url=f"redis://127.0.0.1:{server.port}"), SystemClock())
        assert await found_by("clock", right) == []


# DNS


async def test_names_of_the_platform() -> None:
    """Names without records and with records that lead to a stranger are errors; what does not answer is unknown."""

    async def stranger(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="welcome")

    async with NameServer() as dns, answering(stranger, "127.0.0.2") as port:
        found = settings(
            dns_servers=dns.server,
            platform_domain="edge.test",
            verify_target="verify.edge.test",
            proxy_target="proxy.edge.test",
            checks={"http_port": port},
        )
        for name in ("*.edge.test", "*.sandbox.edge.test", "*.proxy.edge.test"):
            dns.put(name, RecordType.A, "127.0.0.1")
        dns.put("*.verify.edge.test", RecordType.A, "127.0.0.2")
        checked = await report("names", known(found))
        assert [(one.code, one.level) for one in checked.findings] == [("name_elsewhere", Level.ERROR)]
        assert "*.verify.edge.test (`verify_target`)" in checked.findings[0].sentence
        dns.put("*.verify.edge.test", RecordType.A, "127.0.0.3")
        assert await found_by("names", known(found)) == [(Level.UNKNOWN, "name_silent")]
        dns.put("*.verify.edge.test", RecordType.A)
        assert await found_by("names", known(found)) == [(Level.ERROR, "name_missing")]
        dns.put("*.verify.edge.test", RecordType.A, "127.0.0.1")
        assert await found_by("names", known(found)) == []
        dns.fail("login.edge.test", "servfail")
        assert await found_by("names", known(found)) == [(Level.UNKNOWN, "name_unknown")]


# Caddy and ask


async def test_caddy_that_is_not_there() -> None:
    """Not set is unknown, not reached is an error."""
    assert await found_by("caddy", known()) == [(Level.UNKNOWN, "caddy_not_set")]
    gone = settings(gate={"caddy": f"127.0.0.1:{free_port()}"})
    assert await found_by("caddy", known(gone)) == [(Level.ERROR, "caddy_unreachable")]


@pytest.mark.parametrize(
    ("refuses", "allows", "wanted"),
    [
        (400, 200, []),
        (200, 200, [(Level.ERROR, "ask_allows")]),
        (500, 200, [(Level.ERROR, "ask_allows")]),
        (403, 403, [(Level.WARNING, "ask_refuses")]),
    ],
)
async def test_ask(refuses: int, allows: int, wanted: list[tuple[Level, str]]) -> None:
    """It must refuse what is no name, and allow what is served and has a certificate."""

    async def ask(request: web.BaseRequest) -> web.Response:
        if request.path == "/explain":
            return web.json_response({"gate": {"status": 200, "reason": "issued"}})
        return web.Response(status=allows if request.query["domain"] == "www.example.com" else refuses)

    async with answering(ask) as port:
        found = settings(admin_bind=f"127.0.0.1:{port}")
        certified = facts(rows(certified=("www.example.com",)))
        assert await found_by("ask", known(found, store=certified)) == wanted


async def test_ask_that_does_not_answer() -> None:
    """A node that is not there leaves it unknown; one that is there and silent is an error."""
    assert await found_by("ask", known(ready=None)) == [(Level.UNKNOWN, "ask_unknown")]
    assert await found_by("ask", known()) == [(Level.ERROR, "ask_silent")]


# The machine


async def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is an error that names the folder."""
    sound = settings(state_dir=str(tmp_path))
    assert await found_by("disk", known(sound)) == []
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((*real[:3], 0, 0, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _folder: full)
    checked = await report("disk", known(sound))
    assert [one.code for one in checked.findings] == ["disk"]
    assert str(tmp_path) in checked.findings[0].sentence


async def test_few_open_files() -> None:
    """The process of the running node that may open the fewest counts."""
    metrics = [Sample("process_max_fds", {"worker": str(number)}, most) for number, most in enumerate((1e6, 256.0))]
    assert await found_by("files", known(metrics=metrics)) == [(Level.WARNING, "open_files")]
    assert await found_by("files", known(metrics=metrics[:1])) == []


# The node


@pytest.mark.parametrize(
    ("ready", "wanted"),
    [
        (None, [(Level.WARNING, "no_node")]),
        (READY, []),
        (
            {"status": "not_ready", "checks": {"serving": {"ok": False, "detail": "draining"}}},
            [(Level.ERROR, "node_serving")],
        ),
        (
            {"status": "degraded", "checks": {"disk": {"ok": False, "detail": "full"}}},
            [(Level.WARNING, "node_disk")],
        ),
        (
            {**READY, "platform_names": {"wildcard": False, "spent": 3, "of": 40, "advice": "…"}},
            [(Level.WARNING, "no_wildcard")],
        ),
        (
            {**READY, "platform_names": {"wildcard": False, "lacks_key": True, "spent": 3, "of": 40, "advice": "…"}},
            [],  # `held_unreadable` says what to do
        ),
        (
            {**READY, "held_certificates": {"held": 3, "fetched": False}},
            [(Level.WARNING, "held_not_fetched")],
        ),
        ({**READY, "held_certificates": {"held": 3, "fetched": True}}, []),
    ],
)
async def test_the_running_node(ready: dict[str, Any] | None, wanted: list[tuple[Level, str]]) -> None:
    """What /readyz says becomes a finding each; a node that gets no traffic is an error, a degraded one a warning."""
    assert await found_by("node", known(ready=ready)) == wanted


async def test_held_certificates_that_no_key_opens() -> None:
    """After a change of `secrets_key` without the earlier one: visitors notice it, so it is an error, even where nothing else is held."""
    for number, wanted in ((2, [(Level.ERROR, "held_unreadable")]), (0, [])):
        held = {"held": 0, "unreadable": number, "fetched": False}
        assert await found_by("node", known(ready={**READY, "held_certificates": held})) == wanted


@pytest.mark.parametrize(
    "body",
    [
        "hello",
        "[]",
        "{}",
        '{"status": "ready"}',
        '{"status": "ready", "checks": []}',
        '{"status": "ready", "checks": {"store": true}}',
        '{"status": 1, "checks": {}}',
        '{"status": "ready", "checks": {}, "workers": 2}',
        '{"status": "ready", "checks": {}, "platform_names": {"wildcard": false}}',
        '{"status": "ready", "checks": {}, "held_certificates": [3]}',
    ],
)
async def test_another_program_at_the_admin_listener_is_no_node(body: str) -> None:
    """Whatever it answers to /readyz and /metrics."""

    async def other(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=body)

    async with answering(other) as port:
        about = await find_out(settings(admin_bind=f"127.0.0.1:{port}"), SystemClock())
        assert not about.runs
        assert (Level.ERROR, "port_taken") in await found_by("listeners", about)


# Settings


@pytest.mark.parametrize(
    ("values", "found", "wanted"),
    [
        ({}, {}, []),
        ({}, {"logins": 2}, [(Level.ERROR, "secrets_key_missing")]),
        ({"secrets_key": "ab12" * 16}, {"logins": 2}, []),
        ({"secrets_key_file": "/nonexistent/key"}, {}, [(Level.ERROR, "secrets_key_unusable")]),
        ({}, {"wakes_wanted": True}, [(Level.WARNING, "wake_url_missing")]),
        ({"wake": {"url": "https://p.example/", "secret": "x" * 16}}, {"wakes_wanted": True}, []),
        ({"gate": {"caddy": "127.0.0.1:443"}}, {}, []),
        ({"gate": {"caddy": "127.0.0.1:8443"}}, {}, [(Level.WARNING, "public_port")]),
        ({"gate": {"caddy": "127.0.0.1:8443"}, "public_port": 8443}, {}, []),
        (
            {"gate": {"caddy": "127.0.0.1:443"}, "trusted_proxies": ["10.0.0.0/8"]},
            {},
            [(Level.ERROR, "caddy_not_trusted")],
        ),
        ({"gate": {"caddy": "10.1.2.3:443"}, "proxy_bind": "0.0.0.0:1"}, {}, [(Level.ERROR, "caddy_not_trusted")]),
        ({"admin_bind": "8.8.8.8:8082"}, {}, [(Level.WARNING, "admin_public")]),
        ({"internal_token": None}, {}, [(Level.WARNING, "no_internal_token")]),
    ],
)
async def test_settings_that_do_not_fit_together(
    values: dict[str, Any], found: dict[str, Any], wanted: list[tuple[Level, str]]
) -> None:
    """Each rule by its own finding, and none where they fit."""
    assert await found_by("settings", known(settings(**values), store=facts(rows(**found)))) == wanted


# All of them


async def test_a_server_cannot_move_the_terminal() -> None:
    """What it says is shown without control characters."""
    assert hanging("", "a\x1b[2Jb\rc", None) == "a\ufffd[2Jb\ufffdc"


async def test_text_is_as_wide_as_the_terminal() -> None:
    """Wrapped below itself, and not at all where it goes to a file."""
    text = "one two three four five six seven eight nine ten"
    assert hanging("error  ", text, None) == f"error  {text}"
    lines = hanging("error  ", text, 30).splitlines()
    assert max(map(len, lines)) <= 30
    assert all(line.startswith("       ") for line in lines[1:])
    assert " ".join(line[7:] for line in lines) == text


async def test_a_check_that_takes_too_long_or_fails_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never fine, and the others still count."""

    async def hangs(_known: Known) -> Report:
        await asyncio.Event().wait()
        return Report()

    async def fails(_known: Known) -> Report:
        raise RuntimeError("no")

    for check in (hangs, fails):
        monkeypatch.setitem(CHECKS, "disk", check)
        checked = await report("disk", known(), deadline=0.05)
        assert [(one.level, one.code) for one in checked.findings] == [(Level.UNKNOWN, "check_failed")]


async def test_held_certificates_are_named_with_the_command_that_shows_more() -> None:
    """A zone's and an uploaded one: who can do something about them differs."""
    near = (
        NearEnd(host="preview.acme.com", not_after=NOW, last_error=None, origin=Origin.MANAGED),
        NearEnd(host="*.acme.org", not_after=NOW + timedelta(days=9), last_error=None, origin=Origin.UPLOADED),
    )
    checked = await report("certificates", known(store=facts(rows(near_end=near)), clock=ManualClock(NOW)))
    zone, uploaded = checked.findings
    assert (zone.code, uploaded.code) == ("certificate_ended", "certificate_ending")
    assert "domains delegation preview.acme.com" in zone.sentence
    assert "domains certificate acme.org" in uploaded.sentence


async def test_many_certificates_are_not_all_named() -> None:
    """Ten are, and that there are more is said."""
    near: Sequence[NearEnd] = [NearEnd(host=f"{n}.example", not_after=NOW, last_error=None) for n in range(30)]
    checked = await report("certificates", known(store=facts(rows(near_end=tuple(near)))))
    assert len(checked.findings) == 11
    assert "20 more" in checked.findings[-1].sentence


# Domain Connect


async def test_what_dns_providers_verify_our_links_by(tmp_path: Path) -> None:
    """The public key in DNS is that of the file, and the addresses of the template are those that verify a domain."""
    file = tmp_path / "connect.pem"
    file.write_bytes(PEM)
    name = "_dcpubkeyv1.domainconnect.miosa.ai"
    async with NameServer() as dns:
        about = settings(
            dns_servers=[dns.server],
            domain_connect={
                "provider_id": "miosa.ai",
                "key_file": file,
                "key_domain": "domainconnect.miosa.ai",
                "return_url": "https://api.miosa.ai/domain-connect/return",
                "addresses": ["192.0.2.1"],
            },
        )
        dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
        assert await found_by("domain_connect", known(about)) == [(Level.ERROR, "connect_key_missing")]
        records = key_records(private_key().public_text())
        dns.put(name, RecordType.TXT, *records, "p=3,d=AAAA")
        assert await found_by("domain_connect", known(about)) == [(Level.ERROR, "connect_key_missing")]
        dns.put(name, RecordType.TXT, *records)
        assert await found_by("domain_connect", known(about)) == []
        dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1", "192.0.2.2")
        assert await found_by("domain_connect", known(about)) == [(Level.WARNING, "connect_addresses")]
        dns.fail(name, "servfail")
        dns.fail("verify.miosa.ai", "servfail")
        assert await found_by("domain_connect", known(about)) == [(Level.UNKNOWN, "connect_key_unknown")]
    file.write_bytes(b"no key")
    assert await found_by("domain_connect", known(about)) == [(Level.ERROR, "connect_key")]
    assert await found_by("domain_connect", known()) == []

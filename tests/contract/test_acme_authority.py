"""The authority by ACME against a real Pebble, and against the faults of real authorities, which a proxy in front of it has."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from router.base.clock import ManualClock, SystemClock
from router.certificates.authority import (
    AuthorityError,
    BadAnswerError,
    OrderSeen,
    RateLimitedError,
    RefusedError,
    Stage,
    UnreachableError,
)
from router.certificates.keys import make_csr, new_key
from router.domains.lookup import RecordType
from router.outbound import acme_http
from router.outbound.acme import AcmeAuthority
from router.outbound.acme_http import AcmeHttp
from tests.support.acme_proxy import CLOSED, LOST, AcmeProxy, Reply, ari_id, problem
from tests.support.nameserver import NameServer
from tests.support.pebble import Pebble
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio

ZONE = "preview.example.com"
NAMES = (f"*.{ZONE}", f"*.sandbox.{ZONE}")
TOKEN = "abcdefghijklmnopqrstuvwxyz234567.acme.example.net"


@dataclass
class World:
    """An authority with an account, and what is around it."""

    authority: AcmeAuthority
    pebble: Pebble
    proxy: AcmeProxy
    dns: NameServer
    key: str
    uri: str

    def publish(self, order: OrderSeen) -> None:
        """The values of an order at the token's name, to which both challenge names lead."""
        self.dns.put(TOKEN, RecordType.TXT, *[one.txt for one in order.challenges])

    async def settled(self, url: str, *stages: Stage) -> OrderSeen:
        async with asyncio.timeout(20):
            while (order := await self.authority.look(url)).stage not in stages:
                await asyncio.sleep(0.05)
        return order

    async def proved(self, names: Sequence[str] = NAMES, *, replaces: str | None = None) -> OrderSeen:
        """An order whose names are proved."""
        order = await self.authority.place(names, replaces=replaces)
        self.publish(order)
        await self.authority.answer(order.url)
        return await self.settled(order.url, Stage.READY)

    async def issued(self, names: Sequence[str] = NAMES) -> str:
        """The chain of a new certificate."""
        order = await self.proved(names)
        await self.authority.finalize(order.url, make_csr(new_key(), names))
        order = await self.settled(order.url, Stage.VALID)
        assert order.certificate is not None
        return await self.authority.fetch(order.certificate)

    def another(self, *, profile: str | None = None) -> AcmeAuthority:
        """The same authority, of another node."""
        return made(self.proxy, profile=profile)


def replied(status: int, body: object) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json"})


def made(proxy: AcmeProxy, *, profile: str | None = None) -> AcmeAuthority:
    clock = SystemClock()
    return AcmeAuthority(AcmeHttp(proxy.directory, str(proxy.certificate), clock), profile=profile)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """An authority for all tests that leave it as it is: what they order is of accounts of their own."""
    with Pebble(tmp_path_factory.mktemp("pebble"), dns=f"127.0.0.1:{free_port()}") as pebble:
        yield pebble


@asynccontextmanager
async def world(
    pebble: Pebble,
    folder: Path,
    *,
    profile: str | None = None,
    profiles: Mapping[str, str] | None = None,
    ari: bool = True,
) -> AsyncIterator[World]:
    """A proxy before this authority, the name server that it asks, and an account of one's own."""
    async with (
        NameServer(port=int(pebble.dns.partition(":")[2])) as dns,
        AcmeProxy(pebble, folder, ari=ari, profiles=profiles) as proxy,
    ):
        for name in (ZONE, f"sandbox.{ZONE}"):
            dns.put(f"_acme-challenge.{name}", RecordType.CNAME, TOKEN)
        authority, key = made(proxy, profile=profile), new_key()
        yield World(authority, pebble, proxy, dns, key, await authority.open_account(key, None))


# What an order is.


async def test_from_an_order_to_a_certificate(shared: Pebble, tmp_path: Path) -> None:
    """Placed, proved by both values at the one name that both challenges lead to, finalized, and fetched: a chain for the key and
    exactly the names."""
    async with world(shared, tmp_path) as w:
        placed = await w.authority.place(NAMES)
        assert (placed.stage, placed.problem, placed.certificate) == (Stage.PENDING, None, None)
        assert sorted(one.name for one in placed.challenges) == sorted(NAMES)
        assert len({one.txt for one in placed.challenges}) == 2
        assert not any(one.done for one in placed.challenges)
        assert await w.authority.look(placed.url) == placed
        w.publish(placed)
        await w.authority.answer(placed.url)
        ready = await w.settled(placed.url, Stage.READY)
        assert ready.challenges == ()
        await w.authority.answer(placed.url)  # again is harmless
        key = new_key()
        await w.authority.finalize(placed.url, make_csr(key, NAMES))
        valid = await w.settled(placed.url, Stage.VALID)
        assert valid.certificate is not None
        leaf, *others = x509.load_pem_x509_certificates((await w.authority.fetch(valid.certificate)).encode())
        assert others
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert sorted(names.get_values_for_type(x509.DNSName)) == sorted(NAMES)
        csr = x509.load_pem_x509_csr(make_csr(key, NAMES).encode())
        assert leaf.public_key() == csr.public_key()
        assert w.proxy.placed == [sorted(NAMES)]


async def test_an_account_is_one_of_its_key(shared: Pebble, tmp_path: Path) -> None:
    """Registering again finds it, with its address or without."""
    async with world(shared, tmp_path) as w:
        assert await w.another().open_account(w.key, None) == w.uri
        assert await w.another().open_account(w.key, w.uri) == w.uri
        assert await w.another().open_account(new_key(), None) != w.uri


async def test_an_account_that_the_authority_does_not_have(shared: Pebble, tmp_path: Path) -> None:
    """A store that was restored, or an authority that forgot: no other one is made by the way."""
    async with world(shared, tmp_path) as w:
        key, other = new_key(), w.another()
        for _ in range(2):
            with pytest.raises(RefusedError) as refused:
                await other.open_account(key, w.uri)
            assert refused.value.kind == "accountDoesNotExist"


async def test_an_account_that_ended(shared: Pebble, tmp_path: Path) -> None:
    """Deactivated by the authority: it can't be used, and is not taken for lost."""
    async with world(shared, tmp_path) as w:
        w.proxy.change("newAccount", lambda account: account.update(status="deactivated"))
        for uri in (None, w.uri):
            with pytest.raises(RefusedError, match="deactivated") as refused:
                await w.another().open_account(w.key, uri)
            assert refused.value.kind == "unauthorized"


async def test_an_order_is_found_again(shared: Pebble, tmp_path: Path) -> None:
    """By a process that lost the answer to its order: among others of the account, for exactly the names, while it is open."""
    async with world(shared, tmp_path) as w:
        await w.authority.place(("*.other.example.com",))
        w.proxy.reply("newOrder", LOST)
        with pytest.raises(UnreachableError):
            await w.authority.place(NAMES)
        for number in range(4):  # a list of Pebble's has three to a page
            await w.authority.place((f"*.zone{number}.example.com",))
        assert w.proxy.placed.count(sorted(NAMES)) == 1
        again = w.another()
        await again.open_account(w.key, w.uri)
        url = await again.find(NAMES)
        assert url is not None
        assert sorted(one.name for one in (await again.look(url)).challenges) == sorted(NAMES)
        assert await again.find(NAMES[:1]) is None
        w.publish(await again.look(url))
        await again.answer(url)
        await w.settled(url, Stage.READY)
        assert await again.find(NAMES) == url
        await again.finalize(url, make_csr(new_key(), NAMES))
        await w.settled(url, Stage.VALID)
        assert await again.find(NAMES) is None


async def test_an_authority_without_a_list_of_orders(shared: Pebble, tmp_path: Path) -> None:
    """Let's Encrypt has none: nothing is found."""
    async with world(shared, tmp_path) as w:
        await w.authority.place(NAMES)
        w.proxy.change("account", lambda account: account.pop("orders"))
        assert await w.authority.find(NAMES) is None


async def test_names_that_are_not_proved(shared: Pebble, tmp_path: Path) -> None:
    """The order is invalid, and says of which name and why."""
    async with world(shared, tmp_path) as w:
        placed = await w.authority.place(NAMES)
        w.dns.put(TOKEN, RecordType.TXT, *[one.txt for one in placed.challenges if one.name == NAMES[0]])
        await w.authority.answer(placed.url)
        failed = await w.settled(placed.url, Stage.INVALID)
        assert failed.problem is not None
        assert failed.problem.kind == "unauthorized"
        assert failed.problem.names == (f"sandbox.{ZONE}",)
        assert failed.problem.detail
        with pytest.raises(RefusedError) as refused:
            await w.authority.finalize(placed.url, make_csr(new_key(), NAMES))
        assert refused.value.kind in {"orderNotReady", "malformed"}


async def test_an_order_that_is_not_there(shared: Pebble, tmp_path: Path) -> None:
    """Gone, as orders of an authority are after a while."""
    async with world(shared, tmp_path) as w:
        placed = await w.authority.place(NAMES)
        with pytest.raises(RefusedError) as refused:
            await w.authority.look(f"{placed.url}x")
        assert refused.value.kind == "notFound"


async def test_a_profile(shared: Pebble, tmp_path: Path) -> None:
    """It goes along with the order."""
    profiles = {"classic": "ninety days", "shortlived": "six days"}
    async with world(shared, tmp_path, profile="shortlived", profiles=profiles) as w:
        await w.authority.place(NAMES)
        (order,) = (asked.payload for asked in w.proxy.asked if asked.resource == "newOrder")
        assert order["profile"] == "shortlived"


@pytest.mark.parametrize("profiles", [None, {"classic": "ninety days"}])
async def test_a_profile_that_is_not_offered(
    shared: Pebble, tmp_path: Path, profiles: Mapping[str, str] | None
) -> None:
    """Nothing is ordered: it would be something else than what the operator wants."""
    async with world(shared, tmp_path, profile="shortlived", profiles=profiles) as w:
        with pytest.raises(RefusedError, match="shortlived") as refused:
            await w.authority.place(NAMES)
        assert refused.value.kind == "invalidProfile"
        assert w.proxy.count("newOrder") == 0


# Renewal, revocation, another key.


async def test_when_to_renew(shared: Pebble, tmp_path: Path) -> None:
    """What the authority says of a certificate, and when to ask again."""
    async with world(shared, tmp_path) as w:
        leaf = x509.load_pem_x509_certificate((await w.issued()).encode())
        start = datetime(2026, 12, 1, 10, tzinfo=UTC)
        w.proxy.set_window(ari_id(leaf), start, start + timedelta(hours=1))
        window = await w.authority.renewal_window(ari_id(leaf))
        assert window is not None
        assert (window.start, window.end) == (start, start + timedelta(hours=1))
        assert window.retry_after == 21600
        assert window.explanation_url == "https://ca.example/why"
        assert await w.authority.renewal_window("AAAA.AAAA") is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1", 60),
        ("7200", 7200),
        ("999999", 86400),
        ("soon", 21600),
        ("0", 60),
        ("-5", 21600),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 60),
    ],
)
async def test_when_to_ask_again(shared: Pebble, tmp_path: Path, said: str, seconds: float) -> None:
    """Between a minute and a day (RFC 9773 §4.3.2), six hours where it makes no sense."""
    async with world(shared, tmp_path) as w:
        w.proxy.retry_after = said
        w.proxy.set_window("AAAA.AAAA", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
        window = await w.authority.renewal_window("AAAA.AAAA")
        assert window is not None
        assert window.retry_after == seconds


async def test_an_order_that_replaces(shared: Pebble, tmp_path: Path) -> None:
    """The old certificate is named, which spares the authority's limits."""
    async with world(shared, tmp_path) as w:
        await w.authority.place(NAMES, replaces="AAAA.BBBB")
        assert w.proxy.asked[-3].payload["replaces"] == "AAAA.BBBB"


async def test_an_authority_without_renewal_information(shared: Pebble, tmp_path: Path) -> None:
    """It is asked for none, and is not told what an order replaces, which some refuse."""
    async with world(shared, tmp_path, ari=False) as w:
        await w.authority.place(NAMES, replaces="AAAA.BBBB")
        (order,) = (asked.payload for asked in w.proxy.asked if asked.resource == "newOrder")
        assert "replaces" not in order
        assert await w.authority.renewal_window("AAAA.BBBB") is None


async def test_replaced_already(shared: Pebble, tmp_path: Path) -> None:
    """RFC 9773 §5: 409, which says that another order has done it."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", problem(409, "alreadyReplaced"))
        with pytest.raises(RefusedError) as refused:
            await w.authority.place(NAMES, replaces="AAAA.BBBB")
        assert refused.value.kind == "alreadyReplaced"


async def test_revocation(shared: Pebble, tmp_path: Path) -> None:
    """Once and again: what is revoked already is no error. The authority has it then."""
    async with world(shared, tmp_path) as w:
        chain = await w.issued()
        await w.authority.revoke(chain, 4)
        await w.authority.revoke(chain, 4)
        serial = x509.load_pem_x509_certificate(chain.encode()).serial_number
        assert (await asyncio.to_thread(w.pebble.status_of, serial)) == "Revoked"
        with pytest.raises(RefusedError) as refused:
            await w.authority.revoke(await w.issued(), 99)
        assert refused.value.kind == "badRevocationReason"


async def test_another_key(shared: Pebble, tmp_path: Path) -> None:
    """The account goes on with it, orders and all; the old one opens nothing any more."""
    async with world(shared, tmp_path) as w:
        placed, new = await w.authority.place(NAMES), new_key()
        await w.authority.roll_key(new)
        assert (await w.authority.look(placed.url)).stage is Stage.PENDING
        w.publish(await w.authority.look(placed.url))  # values are of the key
        await w.authority.answer(placed.url)
        await w.settled(placed.url, Stage.READY)
        assert await w.another().open_account(new, None) == w.uri
        with pytest.raises(RefusedError) as refused:
            await w.another().open_account(w.key, w.uri)
        assert refused.value.kind == "accountDoesNotExist"


async def test_a_key_of_another_account(shared: Pebble, tmp_path: Path) -> None:
    """RFC 8555 §7.3.5: 409. The account keeps its own."""
    async with world(shared, tmp_path) as w:
        taken = new_key()
        await w.another().open_account(taken, None)
        with pytest.raises(AuthorityError):
            await w.authority.roll_key(taken)
        await w.authority.place(NAMES)


# Authorities that say no, or nothing.


async def test_a_name_that_it_refuses(tmp_path: Path) -> None:
    """By its own policy."""
    with Pebble(tmp_path, dns=f"127.0.0.1:{free_port()}", blocked=["example.com"]) as pebble:
        async with world(pebble, tmp_path) as w:
            with pytest.raises(RefusedError) as refused:
                await w.authority.place(NAMES)
            assert refused.value.kind == "rejectedIdentifier"
            assert ZONE in refused.value.detail


async def test_forbidden_by_caa(shared: Pebble, tmp_path: Path) -> None:
    """It finds that while it validates: the order is invalid, with that reason and the name."""

    def forbid(authorization: dict[str, Any]) -> None:
        authorization["status"] = "invalid"
        error = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA record for *.x prevents issuance"}
        for challenge in authorization["challenges"]:
            challenge |= {"status": "invalid", "error": error}

    async with world(shared, tmp_path) as w:
        placed = await w.authority.place(NAMES)
        w.proxy.change("order", lambda order: order.update(status="invalid"))
        w.proxy.change("authorization", forbid)
        failed = await w.authority.look(placed.url)
        assert (failed.stage, failed.problem and failed.problem.kind) == (Stage.INVALID, "caa")


async def test_several_names_refused(shared: Pebble, tmp_path: Path) -> None:
    """RFC 8555 §6.7.1: a problem of problems is what its first part is, and names all that it is about."""
    parts = [
        {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "forbidden",
            "identifier": {"type": "dns", "value": name},
        }
        for name in NAMES
    ]
    body = {"type": "urn:ietf:params:acme:error:compound", "detail": "two are wrong\nsee below", "subproblems": parts}
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", replied(403, body))
        with pytest.raises(RefusedError) as refused:
            await w.authority.place(NAMES)
        assert (refused.value.kind, refused.value.names) == ("caa", NAMES)
        assert refused.value.detail == "two are wrong see below"


async def test_bad_nonces(tmp_path: Path) -> None:
    """One in five refused at random: a request is sent again with the nonce that came with the refusal. (Half of them would be
    too many: a run of eight refusals, at which we give up, comes in one of 256 requests.)"""
    with Pebble(tmp_path, dns=f"127.0.0.1:{free_port()}", bad_nonces=20) as pebble:
        async with world(pebble, tmp_path) as w:
            assert await w.issued()
            assert w.proxy.placed == [sorted(NAMES)]


async def test_a_nonce_that_is_never_good(shared: Pebble, tmp_path: Path) -> None:
    """It ends."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", problem(400, "badNonce", Replay_Nonce="AAAA"), times=50)
        with pytest.raises(RefusedError) as refused:
            await w.authority.place(NAMES)
        assert refused.value.kind == "badNonce"
        assert w.proxy.count("newOrder") < 10


async def test_no_other_refusal_is_tried_again(shared: Pebble, tmp_path: Path) -> None:
    """An order may have been made by a request that failed."""
    async with world(shared, tmp_path) as w:
        for refusal in (problem(400, "malformed"), problem(500, "serverInternal"), Reply(502), CLOSED, LOST):
            before = w.proxy.count("newOrder")
            w.proxy.reply("newOrder", refusal)
            with pytest.raises(AuthorityError):
                await w.authority.place(NAMES)
            assert w.proxy.count("newOrder") == before + 1


@pytest.mark.parametrize("status", [429, 503])
async def test_rate_limited(shared: Pebble, tmp_path: Path, status: int) -> None:
    """With how long to wait, in seconds or as a date."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", problem(status, "rateLimited", "too many certificates", Retry_After="3600"))
        with pytest.raises(RateLimitedError, match="too many certificates") as limited:
            await w.authority.place(NAMES)
        assert limited.value.retry_after == 3600
        then = datetime.now(UTC) + timedelta(hours=2)
        date = format_datetime(then, usegmt=True)
        w.proxy.reply("newOrder", problem(status, "rateLimited", Retry_After=date))
        with pytest.raises(RateLimitedError) as limited:
            await w.authority.place(NAMES)
        assert limited.value.retry_after == pytest.approx(7200, abs=30)
        w.proxy.reply("newOrder", problem(status, "rateLimited"))
        with pytest.raises(RateLimitedError) as limited:
            await w.authority.place(NAMES)
        assert limited.value.retry_after is None


async def test_a_limit_that_is_no_problem_document(shared: Pebble, tmp_path: Path) -> None:
    """429 of something in front of it; and a wait of years is one of a week."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", Reply(429, b"slow down", {"Retry-After": "99999999"}))
        with pytest.raises(RateLimitedError) as limited:
            await w.authority.place(NAMES)
        assert limited.value.retry_after == 7 * 86400


@pytest.mark.parametrize(
    "reply",
    [problem(500, "serverInternal"), Reply(502, b"<html>"), Reply(503), CLOSED],
    ids=["500", "502", "503", "closed"],
)
async def test_an_authority_that_is_down(shared: Pebble, tmp_path: Path, reply: Reply) -> None:
    """For every kind of request."""
    async with world(shared, tmp_path) as w:
        placed = await w.authority.place(NAMES)
        w.proxy.reply("", reply, times=1000)
        steps: list[Callable[[], Any]] = [
            lambda: w.authority.place(NAMES),
            lambda: w.authority.find(NAMES),
            lambda: w.authority.look(placed.url),
            lambda: w.authority.answer(placed.url),
            lambda: w.authority.finalize(placed.url, make_csr(new_key(), NAMES)),
            lambda: w.authority.fetch(f"{placed.url}/c"),
            lambda: w.authority.renewal_window("AAAA.AAAA"),
            lambda: w.authority.roll_key(new_key()),
            lambda: w.another().open_account(new_key(), None),
        ]
        for step in steps:
            with pytest.raises(UnreachableError):
                await step()


async def test_nobody_there() -> None:
    """No connection."""
    authority = AcmeAuthority(AcmeHttp(f"https://127.0.0.1:{free_port()}/dir", None, SystemClock()))
    with pytest.raises(UnreachableError, match="refuses connections"):
        await authority.open_account(new_key(), None)


async def test_a_certificate_that_nothing_vouches_for(shared: Pebble, tmp_path: Path) -> None:
    """The authority's own: without `acme_ca_file` a private one is not believed."""
    async with world(shared, tmp_path) as w:
        stranger = AcmeAuthority(AcmeHttp(w.proxy.directory, None, SystemClock()))
        with pytest.raises(UnreachableError, match="certificate"):
            await stranger.open_account(new_key(), None)


async def test_an_authority_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and is silent: the request ends, and its connection is closed."""
    monkeypatch.setattr(acme_http, "REQUEST_TIMEOUT", 0.3)
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        authority = AcmeAuthority(AcmeHttp(f"http://127.0.0.1:{port}/dir", None, SystemClock()))
        with pytest.raises(UnreachableError, match="no answer within"):
            await authority.open_account(new_key(), None)
        await closed.wait()


# Authorities that lie.


def elsewhere(key: str, value: object = "https://127.0.0.1:1/x") -> Callable[[dict[str, Any]], None]:
    """Puts something else in the place of a field."""
    return lambda said: said.update({key: value})


OTHER_NAMES = [{"type": "dns", "value": "*.else.example.com"}]
BAD_ANSWERS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("newOrder", elsewhere("identifiers", OTHER_NAMES)),
    ("newOrder", elsewhere("identifiers", None)),
    ("newOrder", elsewhere("identifiers", "abc")),
    ("newOrder", elsewhere("identifiers", [1, 2])),
    ("newOrder", elsewhere("authorizations", ["https://127.0.0.1:1/authZ/a"])),
    ("newOrder", elsewhere("authorizations", ["http://169.254.169.254/latest/meta-data"])),
    ("newOrder", elsewhere("authorizations", ["file:///etc/passwd"])),
    ("newOrder", elsewhere("authorizations", ["//x"])),
    ("newOrder", elsewhere("status", "splendid")),
    ("newOrder", elsewhere("status", ["pending"])),
    ("newOrder", elsewhere("status", None)),
    ("newOrder", elsewhere("certificate")),
    ("authorization", elsewhere("challenges", [])),
    ("authorization", elsewhere("challenges", "dns-01")),
    ("authorization", elsewhere("challenges", [{"type": "dns-01", "url": "https://127.0.0.1:1/", "token": "AA"}])),
    ("authorization", elsewhere("challenges", [{"type": ["dns-01"]}])),
    ("authorization", elsewhere("identifier", None)),
    ("authorization", elsewhere("identifier", {"type": "dns", "value": "else.example.com"})),
]


@pytest.mark.parametrize(("resource", "how"), BAD_ANSWERS)
async def test_an_order_that_must_not_be_believed(
    shared: Pebble, tmp_path: Path, resource: str, how: Callable[[dict[str, Any]], None]
) -> None:
    """Other names, addresses of somebody else, and things of the wrong kind."""
    async with world(shared, tmp_path) as w:
        w.proxy.change(resource, how)
        with pytest.raises(BadAnswerError):
            await w.authority.place(NAMES)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>welcome</html>", {"Replay-Nonce": "AAAA"}),
        Reply(200, b"[]"),
        Reply(200, b""),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"a": "' + b"x" * 200_000 + b'"}'),
        Reply(200, b"{}"),
        Reply(201, b"{}", {"Location": "https://127.0.0.1:1/"}),
        Reply(302, b"", {"Location": "/order-plz"}),
        Reply(403, b"<html>a wall of fire</html>"),
        problem(403, "no such\nerror"),
        problem(403, "x" * 100),
    ],
    ids=["html", "list", "empty", "deep", "long", "nothing", "elsewhere", "redirect", "wall", "lines", "long kind"],
)
async def test_an_answer_that_is_none(shared: Pebble, tmp_path: Path, reply: Reply) -> None:
    """Nothing of it is taken, and no redirect followed."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", reply)
        with pytest.raises(BadAnswerError):
            await w.authority.place(NAMES)
        assert w.proxy.count("newOrder") == 1
        w.proxy.mend()
        await w.authority.place(NAMES)


async def test_details_are_short_and_of_one_line(shared: Pebble, tmp_path: Path) -> None:
    """They are shown to people, and logged."""
    async with world(shared, tmp_path) as w:
        w.proxy.reply("newOrder", problem(403, "caa", "a\r\nb\x1b[31m" + "c" * 5000))
        with pytest.raises(RefusedError) as refused:
            await w.authority.place(NAMES)
        assert refused.value.detail.startswith("a  b [31mccc")
        assert len(refused.value.detail) == 500


@pytest.mark.parametrize("field", ["newNonce", "newAccount"])
async def test_a_directory_that_leads_elsewhere(shared: Pebble, tmp_path: Path, field: str) -> None:
    """Nothing is sent there."""
    async with world(shared, tmp_path) as w:
        w.proxy.change("directory", elsewhere(field))
        other = w.another()
        with pytest.raises(BadAnswerError):
            await other.open_account(w.key, w.uri)


async def test_renewal_information_that_must_not_be_believed(shared: Pebble, tmp_path: Path) -> None:
    """A window that ends before it starts, and what is none."""
    async with world(shared, tmp_path) as w:
        then = datetime(2026, 1, 1, tzinfo=UTC)
        w.proxy.set_window("AAAA.AAAA", then, then)
        with pytest.raises(BadAnswerError):
            await w.authority.renewal_window("AAAA.AAAA")
        for body in (
            {},
            {"suggestedWindow": {}},
            {"suggestedWindow": {"start": "x", "end": 1}},
            {"suggestedWindow": []},
        ):
            w.proxy.reply("renewalInfo", replied(200, body))
            with pytest.raises(BadAnswerError):
                await w.authority.renewal_window("AAAA.AAAA")


async def test_something_in_place_of_a_chain(shared: Pebble, tmp_path: Path) -> None:
    """No certificates, a certificate of somebody else behind it, and too many."""
    async with world(shared, tmp_path) as w:
        chain, other = await w.issued(), w.pebble.certificate.read_text()
        leaf = chain.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
        url = w.proxy.directory.replace("dir", "certZ/x")
        for body in ("", "hello", leaf + other, other * 40, "x" * 200_000):
            w.proxy.reply("certificate", Reply(200, body.encode()))
            with pytest.raises(BadAnswerError):
                await w.authority.fetch(url)
        w.proxy.reply("certificate", Reply(200, chain.encode()))
        assert await w.authority.fetch(url) == chain


async def test_addresses_that_are_not_the_authoritys(shared: Pebble, tmp_path: Path) -> None:
    """An order placed at the authority that was used before: this one does not know it, and is not asked."""
    async with world(shared, tmp_path) as w:
        asked = len(w.proxy.asked)
        for url in ("https://elsewhere.example/order/1", f"https://u:p@127.0.0.1:{w.proxy.port}/x", "x", "//x", ""):
            for step in (w.authority.look, w.authority.answer, w.authority.fetch):
                with pytest.raises(RefusedError) as refused:
                    await step(url)
                assert refused.value.kind == "notFound"
        assert len(w.proxy.asked) == asked


async def test_the_directory_is_read_again(shared: Pebble, tmp_path: Path) -> None:
    """Once an hour: authorities add to it."""
    async with world(shared, tmp_path) as w:
        clock = ManualClock()
        authority = AcmeAuthority(AcmeHttp(w.proxy.directory, str(w.proxy.certificate), clock))
        await authority.open_account(w.key, None)
        before = w.proxy.count("directory")
        await authority.place(NAMES)
        assert w.proxy.count("directory") == before
        clock.advance(3601)
        await authority.place(NAMES)
        assert w.proxy.count("directory") == before + 1

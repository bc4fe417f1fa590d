"""TXT values by dynamic update of primaries that people run, and of some that misbehave."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.update
import pytest
import pytest_asyncio
from pydantic import SecretStr

from router.base.clock import SystemClock
from router.certificates.challenges import ChallengeError
from router.dns import DnsLookup
from router.dns.published import StoredValues
from router.dns.update import DnsUpdates
from router.domains.lookup import RecordType
from router.settings import DnsUpdate
from tests.support.dns_servers import KEY, KEY_ALGORITHM, KEY_NAME, Bind, Knot
from tests.support.nameserver import NameServer
from tests.support.ports import free_port
from tests.support.responder import RunningResponder, one_message

pytestmark = pytest.mark.asyncio

ZONE = "acme.example.net"
TOKEN, OTHER = "a" * 32, "b" * 32
OTHER_KEY = "YW5vdGhlcmFub3RoZXJhbm90aGVyYW5vdGhlcmFubyE="

Server = Bind | Knot
Start = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture(params=[Bind, Knot])
async def start(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a primary of the zone, BIND or Knot."""
    running: list[Server] = []

    async def one(**options: Any) -> Server:
        running.append(await asyncio.to_thread(lambda: request.param(tmp_path, ZONE, **options)))
        return running[0]

    yield one
    for server in running:
        server.stop()


@asynccontextmanager
async def updates(
    port: int, asked: Sequence[str] = (), *, zone: str = ZONE, within: float = 20.0, **key: Any
) -> AsyncIterator[DnsUpdates]:
    """Of the primary at that port; `asked` are the name servers of the zone, the primary alone where there are none."""
    clock = SystemClock()
    given: dict[str, Any] = {"key_name": KEY_NAME, "algorithm": KEY_ALGORITHM, "key": SecretStr(KEY), **key}
    lookup = DnsLookup(asked or [f"127.0.0.1:{port}"], clock)
    try:
        yield DnsUpdates(zone, DnsUpdate(host="127.0.0.1", port=port, **given), lookup, clock, within=within)
    finally:
        await lookup.close()


async def texts(server: Server, name: str) -> list[str]:
    return await asyncio.to_thread(server.texts, name)


async def test_values_come_and_go(start: Start) -> None:
    """They are answered when `publish` returns; the next ones take their place, again is no different, and nobody else's
    records change."""
    server = await start()
    async with updates(server.port) as records:
        await records.publish(TOKEN, ["one", "two"])
        assert await texts(server, TOKEN) == ["one", "two"]
        await records.publish(TOKEN, ["one", "two"])
        await records.publish(OTHER, ["three"])
        await records.publish(TOKEN, ["four"])
        assert await texts(server, TOKEN) == ["four"]
        for _ in range(2):
            await records.withdraw(TOKEN, ["three", "four"])
            assert await texts(server, TOKEN) == []
        assert await texts(server, OTHER) == ["three"]
        assert await texts(server, "kept") == ["somebody else's"]


async def test_a_late_withdrawal(start: Start) -> None:
    """It takes away what its own order has published, and leaves what the next one has published since."""
    server = await start()
    async with updates(server.port) as records:
        await records.publish(TOKEN, ["old", "kept", "next"])
        await records.withdraw(TOKEN, ["old", "gone already"])
        assert await texts(server, TOKEN) == ["kept", "next"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"key_name": "nobody"},
            "does not know the key nobody with that algorithm, or lets it change nothing in acme.example.net (BADKEY)",
        ),
        ({"key": SecretStr(OTHER_KEY)}, "has another secret (BADSIG): compare `acme_dns_key`"),
        ({"zone": "other.example.net"}, "not in charge of other.example.net (NOTAUTH)"),
    ],
)
async def test_what_a_primary_refuses(start: Start, changes: dict[str, Any], words: str) -> None:
    """Is said in words, with the setting to look at."""
    server = await start()
    async with updates(server.port, **changes) as records:
        with pytest.raises(ChallengeError) as caught:
            await records.publish(TOKEN, ["one"])
    assert words in caught.value.detail
    assert await texts(server, TOKEN) == []


async def test_a_key_that_may_not(start: Start) -> None:
    """The policy lets it change other names only."""
    server = await start(allowed=f"sub.{ZONE}")
    async with updates(server.port) as records:
        with pytest.raises(
            ChallengeError, match=rf"refuses the key {KEY_NAME} \(REFUSED\)|lets it change nothing in {ZONE} \(BADKEY\)"
        ):
            await records.publish(TOKEN, ["one"])


async def test_clocks_that_differ(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than a signature may be old: it is said by how much."""
    server = await start()
    monkeypatch.setattr(dns.message, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    async with updates(server.port) as records:
        with pytest.raises(ChallengeError, match=r"BADTIME\): ours is (3599|360[0-9]) s ahead"):
            await records.publish(TOKEN, ["one"])


async def test_secondaries_are_waited_for(start: Start) -> None:
    """Until they answer the values too; one that goes on with others is named at the end."""
    server = await start()
    async with NameServer() as secondary:
        secondary.put(f"{TOKEN}.{ZONE}", RecordType.TXT, "old")
        both = [f"127.0.0.1:{server.port}", secondary.server]
        async with updates(server.port, both, within=6.0) as records:
            waiting = asyncio.ensure_future(records.publish(TOKEN, ["new"]))
            deadline = asyncio.get_running_loop().time() + 20
            while not secondary.queries:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)
            assert not waiting.done()
            secondary.put(f"{TOKEN}.{ZONE}", RecordType.TXT, "new")
            await waiting
        async with updates(server.port, both, within=3.0) as records:
            with pytest.raises(ChallengeError, match=f"and {secondary.server} does not in time"):
                await records.publish(TOKEN, ["newer"])


async def test_secondaries_that_can_not_be_asked(start: Start) -> None:
    """Are not waited for beyond the time: the authority may well reach them."""
    server = await start()
    async with updates(server.port, [f"127.0.0.1:{free_port()}"], within=3.0) as records:
        await records.publish(TOKEN, ["one"])
    assert await texts(server, TOKEN) == ["one"]


async def test_a_primary_that_is_not_there() -> None:
    """Nothing listens."""
    async with updates(free_port()) as records:
        with pytest.raises(ChallengeError, match=r"`acme_dns_update`\): it could not be reached"):
            await records.publish(TOKEN, ["one"])


def _silent(_wire: bytes) -> bytes | None:
    return None


def _garbage(wire: bytes) -> bytes:
    return wire[:2] + b"\xff" * 40


def _unsigned(wire: bytes, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> bytes:
    answer = dns.update.UpdateMessage(ZONE, id=int.from_bytes(wire[:2]))
    answer.flags |= dns.flags.QR
    answer.set_rcode(rcode)
    return answer.to_wire()


def _of_another(wire: bytes) -> bytes:
    return bytes([wire[0] ^ 1]) + _unsigned(wire)[1:]


def _servfail(wire: bytes) -> bytes:
    return _unsigned(wire, dns.rcode.SERVFAIL)


def _huge(_wire: bytes) -> bytes:
    return b"x" * 60_000


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_silent, "it did not answer the update in time"),
        (_garbage, "its answer is malformed"),
        (_unsigned, "did not sign its answer"),
        (_of_another, "one to something else"),
        (_servfail, r"\(SERVFAIL\): its log says why"),
        (_huge, "its answer has 60000 bytes"),
    ],
)
async def test_a_primary_that_misbehaves(answer: Callable[[bytes], bytes | None], words: str) -> None:
    """Or somebody in its place: what is not a signed answer to this update does not count."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = answer(await one_message(reader))
        if said is None:
            await ended.wait()
        else:
            writer.write(len(said).to_bytes(2) + said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with updates(server.sockets[0].getsockname()[1], within=1.0) as records:
            with pytest.raises(ChallengeError, match=words):
                await records.publish(TOKEN, ["one"])
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


async def test_values_that_the_responder_answers() -> None:
    """Are there when every name server of the zone answers them; one that does not is named."""
    clock = SystemClock()
    async with RunningResponder() as responder, NameServer() as other:
        responder.orders.values = {TOKEN: ("one",)}
        here = f"127.0.0.1:{responder.port}"
        lookup = DnsLookup([here], clock)
        await StoredValues(ZONE, lookup, clock).publish(TOKEN, ["one"])
        await StoredValues(ZONE, lookup, clock).withdraw(TOKEN, ["one"])
        await lookup.close()
        lookup = DnsLookup([here, other.server], clock)
        with pytest.raises(ChallengeError, match=f"{other.server} does not answer the values at {TOKEN}.{ZONE}"):
            await StoredValues(ZONE, lookup, clock, within=3.0).publish(TOKEN, ["one"])
        await lookup.close()
        lookup = DnsLookup([f"127.0.0.1:{free_port()}"], clock)
        await StoredValues(ZONE, lookup, clock).publish(TOKEN, ["one"])
        await lookup.close()

"""What requests carry of who their visitor is: signed once, sent again, and by no key that is void."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_asyncio

from router.access.entry import OPEN, Entry, Way
from router.access.identity_signer import IdentitySigner
from router.access.rules import AccessRules
from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.proxy.identity import IdentityKeys, IdentityLines
from router.proxy.signing_key_cache import SigningKeyCache
from router.routes.chain import Decision, Level
from router.routes.route import Route
from router.settings import Cache
from tests.support.access import identity_keys, policies
from tests.support.memory_records import MemoryRecords
from tests.support.records import resource
from tests.support.still_loop import StillLoop, pass_time, still_clock, turns

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

ADA = Entry(how=Way.JWT, subject="ada")
START = 1_000_000.0


def signer(*names: str) -> IdentitySigner:
    return IdentitySigner(identity_keys(*names), "https://edge.example")


def lines() -> IdentityLines:
    shop = resource(policies=policies(identity=True))
    route = Route("shop.miosa.app", Decision(Level.PLATFORM, "served", None, shop, 3000), keys=(), source="", expires=1)
    assert route.policy is not None
    return IdentityLines(AccessRules(route, route.policy, shop, ()))


def told(line: bytes | None) -> dict[str, object]:
    assert line is not None
    name, _, value = line.partition(b": ")
    assert name == b"X-Miosa-Identity"
    assert value.endswith(b"\r\n")
    claims: dict[str, object] = jwt.decode(value[:-2], options={"verify_signature": False})
    return claims


async def test_signed_once_for_a_visitor() -> None:
    """What arrives was signed two minutes ago at most, so that it has three left."""
    made, by = lines(), signer("first")
    first = made.of(ADA, by, 0.0, lambda: START)
    assert made.of(Entry(how=Way.JWT, subject="ada"), by, 119.9, lambda: START + 119.9) is first
    second = made.of(ADA, by, 120.0, lambda: START + 120)
    assert (told(first)["exp"], told(second)["exp"]) == (START + 300, START + 420)


async def test_every_visitor_has_their_own() -> None:
    """By their way in, who they are, and their address; who is nobody shares one."""
    made, by = lines(), signer("first")
    everybody = [OPEN, ADA, Entry(how=Way.LINK, subject="ada"), Entry(how=Way.JWT, subject="bob")]
    everybody.append(Entry(how=Way.JWT, subject="ada", email="ada@acme.example"))
    found = [told(made.of(entry, by, 0.0, lambda: START)) for entry in everybody]
    assert [(claims["how"], claims.get("sub"), claims.get("email")) for claims in found] == [
        ("public", None, None),
        ("jwt", "jwt:ada", None),
        ("link", "link:ada", None),
        ("jwt", "jwt:bob", None),
        ("jwt", "jwt:ada", "ada@acme.example"),
    ]


async def test_a_bounded_number_is_remembered() -> None:
    """Whoever can make up subjects makes us sign more often, and remember no more."""
    made, by = lines(), signer("first")
    for number in range(1030):
        made.of(Entry(how=Way.JWT, subject=str(number)), by, 0.0, lambda: START)
    assert len(made._lines) <= 1024


async def test_nothing_is_sent_by_a_key_that_is_void() -> None:
    """As soon as other keys are known; and nothing where none is, or all are too old."""
    made = lines()
    first = made.of(ADA, signer("first"), 0.0, lambda: START)
    second = made.of(ADA, signer("second"), 1.0, lambda: START)
    assert first != second
    assert made.of(ADA, None, 2.0, lambda: START) is None
    old = IdentitySigner(identity_keys("old", until=START), "https://edge.example")
    assert made.of(ADA, old, 3.0, lambda: START) is None


class Loads:
    """Counts how often what signs is loaded."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> functools.partial[IdentitySigner]:
        self.count += 1
        return functools.partial(IdentitySigner, issuer="https://edge.example")


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
def source() -> MemoryRecords:
    return MemoryRecords()


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest_asyncio.fixture
async def keys(source: MemoryRecords, clock: ManualClock, loads: Loads) -> AsyncIterator[IdentityKeys]:
    made = IdentityKeys(SigningKeyCache(source, "identity", limits=Cache(), clock=clock), loads)
    yield made
    await made.close()


async def until_loaded(loads: Loads) -> None:
    """The thread's end is no matter of this loop's time."""
    deadline = time.monotonic() + 10
    while not loads.count and time.monotonic() < deadline:
        await turns(1)
    await turns()


async def test_nothing_is_loaded_before_it_is_needed(keys: IdentityKeys, source: MemoryRecords, loads: Loads) -> None:
    """Neither the library nor the keys; then once, however many wait."""
    source.put(identity_keys("first"))
    keys.drop(["signing:identity"])
    keys.drop_all()
    await turns()
    assert (keys.signer, loads.count, source.fetches) == (None, 0, 0)
    await asyncio.gather(*(keys.ready() for _ in range(5)))
    assert loads.count == 1
    assert keys.signer is keys.signer is not None
    await keys.ready()
    assert loads.count == 1


async def test_keys_that_change(keys: IdentityKeys, source: MemoryRecords) -> None:
    """Sign as soon as they are read."""
    source.put(identity_keys("first"))
    await keys.ready()
    before = keys.signer
    source.put(identity_keys("second", "first"))
    keys.drop(["signing:identity"])
    await turns()
    assert keys.signer is not before
    assert keys.signer is not None
    assert keys.signer.keys.keys[0].id == "second"


async def test_keys_that_cannot_be_read(keys: IdentityKeys, source: MemoryRecords, loads: Loads) -> None:
    """Who waits hears it, in time."""
    source.down = True
    waiting = asyncio.create_task(keys.ready())
    await until_loaded(loads)
    await pass_time(Cache().fetch_time)
    with pytest.raises(StoreUnavailableError):
        await waiting

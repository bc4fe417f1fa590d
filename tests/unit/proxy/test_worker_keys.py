"""What a worker knows of keys, as the proxy asks it."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import pytest_asyncio

from router.access.identity_signer import IdentitySigner
from router.access.keys import UNKNOWN, AccessKeys
from router.access.tokens import Claims, ExpiredTokenError, InvalidTokenError, VerifiedTokens
from router.base.clock import ManualClock
from router.proxy.identity import IdentityKeys
from router.proxy.record_cache import RecordCache
from router.proxy.secret_uses import SecretUses
from router.proxy.signing_key_cache import SigningKeyCache
from router.proxy.worker_keys import WorkerKeys
from router.routes.records import KeyRecord, SessionRecord, SigningKey, SigningKeysRecord, api_key_key, session_key
from router.settings import Cache
from tests.support.access import MemoryKeys, identity_keys
from tests.support.memory_records import MemoryRecords
from tests.support.still_loop import StillLoop, still_clock, turns

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

ADA = "a" * 64
KEY = KeyRecord("key-1", "acme", "tenant", "acme", 1)
SESSION = SessionRecord("ses_1", "acme", "ada", "ada@example.com", 1, 1e12)
FIRST = SigningKeysRecord("cookies", (SigningKey("1", "00" * 32, 0.0, 100.0),), 1)
SECOND = SigningKeysRecord("cookies", (SigningKey("2", "11" * 32, 0.0, 100.0),), 2)
VISITORS = MemoryKeys()
SAID = Claims("ada", "acme", "tenant", 1e12)


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
def source() -> MemoryRecords:
    records = MemoryRecords()
    records.put(FIRST)
    records.put(identity_keys("first"))
    records.put_under(api_key_key(ADA), KEY)
    records.put_under(session_key("ses_1"), SESSION)
    return records


def load() -> Callable[[SigningKeysRecord], IdentitySigner]:
    return partial(IdentitySigner, issuer="https://edge.example")


def verify(token: str) -> Claims:
    if token == "ours":
        return SAID
    raise ExpiredTokenError(SAID) if token == "old" else InvalidTokenError("no")


@pytest_asyncio.fixture
async def keys(source: MemoryRecords, clock: ManualClock) -> AsyncIterator[WorkerKeys]:
    made = WorkerKeys(
        api_keys=RecordCache(source, KeyRecord, prefix=api_key_key(""), limits=Cache(), clock=clock),
        sessions=RecordCache(source, SessionRecord, prefix=session_key(""), limits=Cache(), clock=clock),
        signing_keys=SigningKeyCache(source, "cookies", limits=Cache(), clock=clock),
        identity_keys=IdentityKeys(SigningKeyCache(source, "identity", limits=Cache(), clock=clock), load),
        tokens=VerifiedTokens(verify, clock),
        uses=SecretUses(clock),
        visitors=VISITORS,
        clock=clock,
    )
    made.start()
    yield made
    await made.close()


async def test_it_is_what_the_proxy_needs(keys: WorkerKeys) -> None:
    """Each question reaches what knows the answer."""
    access: AccessKeys = keys
    assert access.peek(ADA) is UNKNOWN
    assert await access.resolve(ADA) == KEY == access.peek(ADA)
    assert access.peek_session("ses_1") is UNKNOWN
    assert await access.resolve_session("ses_1") == SESSION == access.peek_session("ses_1")
    assert await access.ready() == FIRST == access.signing
    assert access.identity is None
    await access.identity_ready()
    assert access.identity is not None
    assert access.identity.keys == identity_keys("first")
    assert access.visitors is VISITORS
    assert access.verify_jwt("ours") == SAID
    assert access.verify_jwt("another's") is None
    with pytest.raises(ExpiredTokenError):
        access.verify_jwt("old")
    access.note_use("link", key=False)
    access.note_use(ADA, key=True)
    assert set(keys.uses.since(0)) == {"link", api_key_key(ADA)}


async def test_a_change_reaches_every_cache(keys: WorkerKeys, source: MemoryRecords) -> None:
    """Whether it is known what has changed or not."""
    heard = list[str]()
    keys.on_drop(heard.append)
    for changed in (
        lambda: keys.drop(iter([api_key_key(ADA), session_key("ses_1"), "signing:cookies", "signing:identity"])),
        keys.drop_all,
    ):
        source.put(FIRST)
        keys.drop(["signing:cookies"])
        await turns()
        await keys.resolve(ADA)
        await keys.resolve_session("ses_1")
        await keys.identity_ready()
        source.put(SECOND)
        source.put(identity_keys(changed.__qualname__))
        changed()
        assert keys.peek(ADA) is keys.peek_session("ses_1") is UNKNOWN
        await turns()
        assert keys.signing == SECOND
        assert keys.identity is not None
        assert keys.identity.keys == identity_keys(changed.__qualname__)
    assert heard == [ADA, "ses_1"] * 2


async def test_without_keys_for_tokens_none_is_ours(source: MemoryRecords, clock: ManualClock) -> None:
    """It is the application's then."""
    keys = WorkerKeys(
        api_keys=RecordCache(source, KeyRecord, prefix=api_key_key(""), limits=Cache(), clock=clock),
        sessions=RecordCache(source, SessionRecord, prefix=session_key(""), limits=Cache(), clock=clock),
        signing_keys=SigningKeyCache(source, "cookies", limits=Cache(), clock=clock),
        identity_keys=IdentityKeys(SigningKeyCache(source, "identity", limits=Cache(), clock=clock), load),
        tokens=None,
        uses=SecretUses(clock),
        visitors=VISITORS,
        clock=clock,
    )
    assert keys.verify_jwt("ours") is None
    await keys.close()

"""Sessions and hand-overs, on both stores: who has signed in, until when, and how they get to a preview."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.errors import NOT_FOUND, RouterError
from router.routes.records import SessionRecord, session_key
from router.store import Store
from router.tenancy import hand_overs as of_hand_overs
from router.tenancy import sessions as of_sessions
from router.tenancy.destinations import Destinations
from router.tenancy.hand_overs import HandOvers
from router.tenancy.logins import ConsoleRole, Login, Logins, NewLogin
from router.tenancy.sessions import KEPT, Session, Sessions
from router.tenancy.signing_keys import FOR_COOKIES, FOR_IDENTITY, SigningKeys
from tests.support.database import prune, rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio

HOST, BINDING = "3000-shop.sandbox.miosa.app", "b" * 43


async def login_of(world: World, store: Store, clock: ManualClock, name: str = "Acme") -> Login:
    logins = Logins(store, clock, box=SecretBox([bytes(32)]), destinations=Destinations())
    tenant = await world.tenant(name)
    given = NewLogin(
        issuer="https://login.example.com", client_id="previews", client_secret="s3cr3t", groups=["dev", "ops"]
    )
    return await logins.put(tenant.id, given)


@pytest_asyncio.fixture
async def login(world: World, store: Store, clock: ManualClock) -> Login:
    return await login_of(world, store, clock)


@pytest.fixture
def sessions(store: Store, clock: ManualClock) -> Sessions:
    return Sessions(store, clock)


@pytest.fixture
def hand_overs(store: Store, clock: ManualClock) -> HandOvers:
    return HandOvers(store, clock)


async def started(sessions: Sessions, login: Login, subject: str = "ada") -> tuple[Session, str]:
    found = await sessions.start(login, subject=subject, email=f"{subject}@example.com", groups=["dev", "staff"])
    assert found is not None
    return found


async def record_of(store: Store, session: Session) -> SessionRecord | None:
    key = session_key(session.id)
    version, record = (await store.records.fetch_versioned([key]))[key]
    assert record is None or (isinstance(record, SessionRecord) and record.version == version > 0)
    return record


async def living(sessions: Sessions, login: Login) -> list[str]:
    return [one.subject for one in (await sessions.list(login.tenant_id)).items]


# Sessions.


async def test_a_session_has_a_record(sessions: Sessions, login: Login, store: Store, clock: ManualClock) -> None:
    """Which says who has signed in and until when, and is a change that caches hear of."""
    heard = list[str]()
    store.after_commit(heard.extend)
    session, _ = await started(sessions, login)
    assert session.id.startswith("ses_")
    assert session.expires_at == clock.now() + timedelta(hours=12)
    assert session.groups == ("dev",), "those alone that count for the login"
    record = await record_of(store, session)
    assert record is not None
    assert (record.id, record.tenant_id) == (session.id, login.tenant_id)
    assert (record.subject, record.email) == ("ada", "ada@example.com")
    assert (record.until, record.revoked) == (session.expires_at.timestamp(), False)
    assert heard == [session_key(session.id)]
    assert (await store.records.fetch([session_key("ses_none")]))[session_key("ses_none")] is None


async def test_the_secret_of_a_session(sessions: Sessions, login: Login, clock: ManualClock, database: str) -> None:
    """It finds the session as long as that lives; the store has its hash alone."""
    session, plain = await started(sessions, login)
    assert await sessions.by_secret(plain) == session
    assert await sessions.by_secret(plain + "x") is None
    assert plain not in str(await rows(database, "SELECT * FROM sessions"))
    ended, secret = await started(sessions, login, "bob")
    await sessions.end(ended.id)
    assert await sessions.by_secret(secret) is None
    clock.advance(12 * 3600)
    assert await sessions.by_secret(plain) is None


async def test_long_words_are_cut(sessions: Sessions, login: Login) -> None:
    """What a provider says has bounds, whatever it says."""
    found = await sessions.start(login, subject="s" * 1000, email="e" * 1000, groups=["ops"] * 1000)
    assert found is not None
    assert (len(found[0].subject), len(found[0].email or ""), found[0].groups) == (255, 320, ("ops",))


async def test_ending_a_session(sessions: Sessions, login: Login, store: Store, clock: ManualClock) -> None:
    """Its record says so and caches hear of it, once; others go on. One of another tenant is not found."""
    session, _ = await started(sessions, login)
    other, _ = await started(sessions, login, "bob")
    heard = list[str]()
    store.after_commit(heard.extend)
    with pytest.raises(RouterError) as caught:
        await sessions.revoke("0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11", session.id)
    assert caught.value.problem is NOT_FOUND
    with pytest.raises(RouterError):
        await sessions.revoke(login.tenant_id, "ses_none")
    assert heard == []
    await sessions.revoke(login.tenant_id, session.id)
    await sessions.revoke(login.tenant_id, session.id)
    await sessions.end(session.id)
    await sessions.end("ses_none")
    assert heard == [session_key(session.id)]
    record, others = await record_of(store, session), await record_of(store, other)
    assert record is not None
    assert others is not None
    assert (record.revoked, others.revoked) == (True, False)
    assert await living(sessions, login) == ["bob"]


async def test_ending_all_sessions(
    sessions: Sessions, login: Login, world: World, store: Store, clock: ManualClock
) -> None:
    """Of one tenant; how many they were is said, those that had ended not counted."""
    rival = await login_of(world, store, clock, "Rival")
    await started(sessions, rival)
    for name in ("ada", "bob", "cy"):
        session, _ = await started(sessions, login, name)
    await sessions.end(session.id)
    assert await sessions.revoke_all(login.tenant_id) == 2
    assert await sessions.revoke_all(login.tenant_id) == 0
    assert await living(sessions, login) == []
    assert len(await living(sessions, rival)) == 1


async def test_the_list(sessions: Sessions, login: Login, clock: ManualClock) -> None:
    """The newest first, those that live; it continues behind the one that was seen last, whatever was added meanwhile."""
    made = []
    for number in range(5):
        clock.advance(1)
        session, _ = await started(sessions, login, f"user-{number}")
        made.append(session)
    await sessions.end(made[1].id)
    first = await sessions.list(login.tenant_id)
    assert [one.subject for one in first.items] == ["user-4", "user-3", "user-2", "user-0"]
    last = first.items[1]
    clock.advance(1)
    await started(sessions, login, "late")
    rest = await sessions.list(login.tenant_id, after=(last.created_at, last.id))
    assert [one.subject for one in rest.items] == ["user-2", "user-0"]
    assert rest.total == 5
    clock.advance(12 * 3600)
    assert await living(sessions, login) == []


async def test_there_are_so_many_at_most(
    sessions: Sessions, login: Login, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a person and of a tenant: for another one the oldest ends, those first that have ended already."""
    monkeypatch.setattr(of_sessions, "_MAX_OF_SUBJECT", 2)
    monkeypatch.setattr(of_sessions, "_MAX_OF_TENANT", 4)
    made = []
    for name in ("ada", "bob", "bob", "bob", "cy"):
        clock.advance(1)
        made.append((await started(sessions, login, name))[0])
    assert await living(sessions, login) == ["cy", "bob", "bob", "ada"]
    assert await record_of(store, made[1]) is None
    await sessions.end(made[3].id)
    heard = list[str]()
    store.after_commit(heard.extend)
    clock.advance(1)
    new, _ = await started(sessions, login, "dan")
    assert sorted(heard) == sorted(map(session_key, (made[3].id, new.id)))
    assert await living(sessions, login) == ["dan", "cy", "bob", "ada"]
    clock.advance(1)
    await started(sessions, login, "eve")
    assert await living(sessions, login) == ["eve", "dan", "cy", "bob"]


async def test_last_use(sessions: Sessions, login: Login, store: Store, clock: ManualClock) -> None:
    """The latest counts, and it is no change of the record."""
    session, _ = await started(sessions, login)
    heard = list[str]()
    store.after_commit(heard.extend)
    now = clock.now()
    await sessions.note_uses({session.id: now, "ses_none": now})
    await sessions.note_uses({session.id: now - timedelta(hours=1)})
    await sessions.note_uses({})
    assert (await sessions.list(login.tenant_id)).items == (replace(session, last_used_at=now),)
    assert heard == []


async def test_sessions_that_ended_are_kept_a_while(
    sessions: Sessions, login: Login, clock: ManualClock, database: str, store: Store
) -> None:
    """A day after they were ended or came to their end they go, however many there are; those that live stay."""
    for number in range(5):
        session, _ = await started(sessions, login, f"user-{number}")
    await sessions.end(session.id)

    async def kept() -> int:
        await prune(store, clock, step=2)
        ((number,),) = await rows(database, "SELECT count(*) FROM sessions")
        return int(number)

    clock.advance(KEPT.total_seconds())
    assert await kept() == 5
    await started(sessions, login, "late")
    clock.advance(1)
    assert await kept() == 5, "all but the one that was ended"
    clock.advance(12 * 3600)
    assert await kept() == 1
    assert await living(sessions, login) == []


# Hand-overs.


async def test_a_hand_over(sessions: Sessions, hand_overs: HandOvers, login: Login, database: str) -> None:
    """The code gives the session to who has it, once; the store has its hash alone."""
    session, _ = await started(sessions, login)
    code = await hand_overs.make(session, host=HOST, binding=BINDING)
    assert code not in str(await rows(database, "SELECT * FROM hand_overs"))
    assert await hand_overs.take(code, host=HOST, binding=BINDING) == session
    assert await hand_overs.take(code, host=HOST, binding=BINDING) is None
    assert await rows(database, "SELECT * FROM hand_overs") == []


@pytest.mark.parametrize(
    ("code", "host", "binding", "seconds"),
    [
        ("", "another.miosa.app", BINDING, 0),
        ("", HOST, "c" * 43, 0),
        ("", HOST, "", 0),
        ("", HOST, "é", 0),
        ("", HOST, BINDING, 60),
        ("x", HOST, BINDING, 0),
        ("x" * 4096, HOST, BINDING, 0),
    ],
)
async def test_a_hand_over_is_for_one_host_and_one_browser(
    sessions: Sessions,
    hand_overs: HandOvers,
    login: Login,
    clock: ManualClock,
    code: str,
    host: str,
    binding: str,
    seconds: float,
) -> None:
    """For a minute. Where a code is brought by somebody else, or too late, it is used up."""
    session, _ = await started(sessions, login)
    right = await hand_overs.make(session, host=HOST, binding=BINDING)
    clock.advance(seconds)
    assert await hand_overs.take(code or right, host=host, binding=binding) is None
    again = await hand_overs.take(right, host=HOST, binding=BINDING)
    assert (again is not None) == bool(code), "another code changes nothing"


async def test_a_code_of_a_session_that_has_ended(sessions: Sessions, hand_overs: HandOvers, login: Login) -> None:
    session, _ = await started(sessions, login)
    code = await hand_overs.make(session, host=HOST, binding=BINDING)
    await sessions.end(session.id)
    assert await hand_overs.take(code, host=HOST, binding=BINDING) is None


async def test_of_many_one_gets_it(
    database: str, sessions: Sessions, hand_overs: HandOvers, login: Login, clock: ManualClock
) -> None:
    """However many nodes are asked at the same time."""
    session, _ = await started(sessions, login)
    code = await hand_overs.make(session, host=HOST, binding=BINDING)
    stores = [await Store.open(database, clock=clock) for _ in range(3)]
    nodes = [HandOvers(one, clock) for one in stores]
    found = await asyncio.gather(*(node.take(code, host=HOST, binding=BINDING) for node in nodes for _ in range(4)))
    assert [one for one in found if one is not None] == [session]
    for one in stores:
        await one.close()


async def test_few_codes_wait(
    sessions: Sessions, hand_overs: HandOvers, login: Login, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one session the newest; of others all."""
    monkeypatch.setattr(of_hand_overs, "_MAX_OF_SESSION", 2)
    session, _ = await started(sessions, login)
    other, _ = await started(sessions, login, "bob")
    others = await hand_overs.make(other, host=HOST, binding=BINDING)
    codes = []
    for _ in range(4):
        clock.advance(1)
        codes.append(await hand_overs.make(session, host=HOST, binding=BINDING))
    found = [await hand_overs.take(code, host=HOST, binding=BINDING) for code in (*codes, others)]
    assert found == [None, None, session, session, other]


async def test_codes_that_nobody_took_go(
    sessions: Sessions,
    hand_overs: HandOvers,
    login: Login,
    clock: ManualClock,
    database: str,
    store: Store,
) -> None:
    """With their time, or with their session."""
    session, _ = await started(sessions, login)
    for _ in range(5):
        await hand_overs.make(session, host=HOST, binding=BINDING)
    clock.advance(61)
    fresh = await hand_overs.make(session, host=HOST, binding=BINDING)
    await prune(store, clock, step=2)
    assert await rows(database, "SELECT count(*) FROM hand_overs") == [(1,)]
    assert await hand_overs.take(fresh, host=HOST, binding=BINDING) == session
    await hand_overs.make(session, host=HOST, binding=BINDING)
    clock.advance(12 * 3600 + KEPT.total_seconds() + 1)
    await prune(store, clock, step=2)
    assert await rows(database, "SELECT count(*) FROM hand_overs") == [(0,)]


# Sessions of the console.


async def of_console(sessions: Sessions, login: Login) -> Session:
    found = await sessions.start(login, subject="ada", email=None, groups=["dev"], console_role=ConsoleRole.READ)
    assert found is not None
    session, plain = found
    assert await sessions.by_secret(plain) is await sessions.by_console_token(plain) is None
    return session


async def test_a_session_of_the_console(sessions: Sessions, login: Login, clock: ManualClock, database: str) -> None:
    """An hour, by a token of its own that the store has as a hash; neither kind of secret is taken for the other."""
    session = await of_console(sessions, login)
    assert session.expires_at == clock.now() + timedelta(hours=1)
    first, token = [await sessions.open_console(session) for _ in range(2)]
    assert first is not None
    assert token is not None
    assert await sessions.by_console_token(first) is None  # the newest alone
    found = await sessions.by_console_token(token)
    assert found is not None
    assert (found.id, found.console_role, found.last_used_at) == (session.id, ConsoleRole.READ, clock.now())
    assert await sessions.by_secret(token) is None
    assert token not in str(await rows(database, "SELECT * FROM sessions"))
    preview, secret = await started(sessions, login)
    assert await sessions.by_console_token(secret) is None
    assert await sessions.open_console(preview) is None
    assert await sessions.by_secret(secret) == preview
    clock.advance(3600)
    assert await sessions.by_console_token(token) is None
    assert await sessions.open_console(session) is None


async def test_replacing_the_key_of_cookies_ends_the_consoles_sessions(
    sessions: Sessions, login: Login, store: Store, clock: ManualClock
) -> None:
    """And no others: those of previews have cookies that the key has signed."""
    session = await of_console(sessions, login)
    token = await sessions.open_console(session)
    _, secret = await started(sessions, login)
    await SigningKeys(store, clock).replace(FOR_IDENTITY)
    assert await sessions.by_console_token(str(token)) is not None
    await SigningKeys(store, clock).replace(FOR_COOKIES)
    assert await sessions.by_console_token(str(token)) is None
    assert await sessions.by_secret(secret) is not None


async def test_whose_people_may_enter_the_console(world: World, store: Store, clock: ManualClock, login: Login) -> None:
    """Those of a tenant whose login says so, with the role that it says, in its groups."""
    logins = Logins(store, clock, box=SecretBox([bytes(32)]), destinations=Destinations())
    assert await logins.for_console("acme") is await logins.for_console("nobody") is None
    new = NewLogin(
        issuer="https://login.example.com",
        client_id="previews",
        groups=["dev", "ops"],
        console_role=ConsoleRole.WRITE,
        console_groups=["admins"],
    )
    changed = await logins.put(login.tenant_id, new)
    assert changed.id != login.id
    assert await logins.for_console("acme") == changed
    assert changed.role_of(None, ["dev", "admins"]) is ConsoleRole.WRITE
    assert changed.role_of(None, ["dev"]) is changed.role_of(None, ["admins"]) is login.role_of(None, ["dev"]) is None

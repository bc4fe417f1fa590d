"""A tenant's login, on both stores: what may be set, where its secret lies, and what a change of it ends."""

import asyncio
import ipaddress
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox, SecretLostError
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.policies import Visibility
from router.routes.records import ResourceRecord
from router.store import Store
from router.tenancy.destinations import Destinations
from router.tenancy.events import EventFilter
from router.tenancy.logins import Login, Logins, NewLogin
from router.tenancy.previews import Previews
from router.tenancy.sessions import Sessions
from router.tenancy.tenants import Tenant
from tests.support.database import rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = "s3cr3t-of-the-client"
ISSUER = "https://login.example.com/realms/acme"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
GIVEN = NewLogin(
    issuer=ISSUER, client_id="previews", client_secret=SECRET, email_domains=["Example.COM"], groups=["dev", "ops"]
)


def logins_on(store: Store, clock: ManualClock, *keys: bytes, **rules: Any) -> Logins:
    return Logins(store, clock, box=SecretBox(keys), destinations=Destinations(**rules))


@pytest.fixture
def logins(store: Store, clock: ManualClock) -> Logins:
    return logins_on(store, clock, OLD)


@pytest_asyncio.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant("Acme")


async def test_a_login_is_stored(logins: Logins, tenant: Tenant, database: str) -> None:
    """With its domains in canonical form and each group once; the secret opens for us, and lies nowhere in the clear."""
    with pytest.raises(RouterError) as caught:
        await logins.get(tenant.id)
    assert caught.value.problem is NOT_FOUND
    assert await logins.find(tenant.id) is None
    made = await logins.put(
        tenant.id, replace(GIVEN, email_domains=["Example.COM", "bücher.example"], groups=["dev", "ops", "dev"])
    )
    assert await logins.get(tenant.id) == made == await logins.find(tenant.id)
    assert (made.issuer, made.client_id, made.groups_claim, made.session_hours) == (ISSUER, "previews", "groups", 12)
    assert made.email_domains == ("example.com", "xn--bcher-kva.example")
    assert made.groups == ("dev", "ops")
    assert logins.open(made) == SECRET
    assert logins.has_secret(made)
    (stored,) = await rows(database, "SELECT * FROM logins")
    assert SECRET not in str(stored)
    assert SECRET not in repr(made)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("issuer", {"issuer": ""}),
    ("issuer", {"issuer": "login.example.com"}),
    ("issuer", {"issuer": "http://login.example.com"}),
    ("issuer", {"issuer": "http://127.0.0.1:9000"}),
    ("issuer", {"issuer": "https://127.0.0.1"}),
    ("issuer", {"issuer": "https://10.0.0.7"}),
    ("issuer", {"issuer": "https://169.254.169.254/latest"}),
    ("issuer", {"issuer": "https://[::1]"}),
    ("issuer", {"issuer": "https://localhost"}),
    ("issuer", {"issuer": "https://idp.internal"}),
    ("issuer", {"issuer": f"{ISSUER}?a=b"}),
    ("issuer", {"issuer": f"{ISSUER}?"}),
    ("issuer", {"issuer": f"{ISSUER}#a"}),
    ("issuer", {"issuer": "https://me:word@login.example.com"}),
    ("issuer", {"issuer": "https://login.example.com/a b"}),
    ("issuer", {"issuer": "javascript:alert(1)"}),
    ("issuer", {"issuer": "https://login.example.com/" + "a" * 500}),
    ("client_id", {"client_id": " "}),
    ("client_id", {"client_id": "x" * 256}),
    ("client_secret", {"client_secret": None}),
    ("client_secret", {"client_secret": ""}),
    ("client_secret", {"client_secret": "x" * 1001}),
    ("client_secret", {"client_secret": "a\0b"}),
    ("email_domains", {"email_domains": (), "groups": ()}),
    ("email_domains", {"email_domains": ["*.example.com"]}),
    ("email_domains", {"email_domains": ["ada@example.com"]}),
    ("email_domains", {"email_domains": ["com"]}),
    ("email_domains", {"email_domains": ["10.0.0.1"]}),
    ("email_domains", {"email_domains": [f"d{number}.example" for number in range(101)]}),
    ("groups", {"groups": [""]}),
    ("groups", {"groups": ["x" * 256]}),
    ("groups", {"groups": [f"g{number}" for number in range(101)]}),
    ("groups_claim", {"groups_claim": ""}),
    ("groups_claim", {"groups_claim": "x" * 256}),
    ("anyone", {"anyone": True}),
    ("session_hours", {"session_hours": 0}),
    ("session_hours", {"session_hours": 13}),
]


@pytest.mark.parametrize(("field", "changes"), WRONG)
async def test_what_is_wrong_is_said_of_its_field(
    logins: Logins, tenant: Tenant, field: str, changes: dict[str, Any]
) -> None:
    """And nothing is stored."""
    with pytest.raises(RouterError) as caught:
        await logins.put(tenant.id, replace(GIVEN, **changes))
    assert caught.value.problem is VALIDATION_FAILED
    assert list(caught.value.fields) == [field]
    assert await logins.find(tenant.id) is None


async def test_who_may_come_in_has_to_be_said(logins: Logins, tenant: Tenant) -> None:
    """That anybody may whom the provider knows has to be meant."""
    made = await logins.put(tenant.id, replace(GIVEN, email_domains=(), groups=(), anyone=True))
    assert made.admits(None, ())
    assert made.admits("ada@elsewhere.example", ("x",))


async def test_http_is_for_networks_that_are_allowed(store: Store, clock: ManualClock, tenant: Tenant) -> None:
    """As a provider on this machine, in a test or a demo."""
    logins = logins_on(store, clock, OLD, private=LOOPBACK)
    assert (await logins.put(tenant.id, replace(GIVEN, issuer="http://127.0.0.1:9000/x"))).issuer[:5] == "http:"


async def test_without_a_key_no_login_is_stored(store: Store, clock: ManualClock, tenant: Tenant) -> None:
    """The sentence names the setting, since only who operates the router can do something about it."""
    with pytest.raises(RouterError, match="`secrets_key`") as caught:
        await logins_on(store, clock).put(tenant.id, GIVEN)
    assert caught.value.problem is CONFLICT


async def test_a_lost_key_is_told(store: Store, clock: ManualClock, logins: Logins, tenant: Tenant) -> None:
    """The login stays, its secret can't be read; who gives it again has a login that works."""
    made = await logins.put(tenant.id, GIVEN)
    other = logins_on(store, clock, NEW)
    assert not other.has_secret(made)
    with pytest.raises(SecretLostError):
        other.open(made)
    again = await other.put(tenant.id, GIVEN)
    assert (again.id, other.open(again)) == (made.id, SECRET)


async def test_a_tenant_that_is_none(logins: Logins) -> None:
    with pytest.raises(RouterError) as caught:
        await logins.put("0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11", GIVEN)
    assert caught.value.problem is NOT_FOUND


async def _living(store: Store, clock: ManualClock, tenant: Tenant) -> int:
    return (await Sessions(store, clock).list(tenant.id)).total


async def _start(store: Store, clock: ManualClock, login: Login) -> None:
    assert await Sessions(store, clock).start(login, subject="ada", email="ada@example.com", groups=["dev"])


# What changes, and whether a session goes on.
CHANGES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"client_secret": None}, True),
    ({"client_secret": "another"}, True),
    ({"groups": ["ops", "dev"]}, True),
    ({"email_domains": ["example.com"]}, True),
    ({"issuer": "https://elsewhere.example.com"}, False),
    ({"client_id": "another"}, False),
    ({"email_domains": ["example.org"]}, False),
    ({"groups": ["ops"]}, False),
    ({"groups_claim": "roles"}, False),
    ({"session_hours": 1}, False),
    ({"email_domains": (), "groups": (), "anyone": True}, False),
]


@pytest.mark.parametrize(("changes", "goes_on"), CHANGES)
async def test_a_change_of_what_matters_ends_sessions(
    store: Store, clock: ManualClock, logins: Logins, tenant: Tenant, changes: dict[str, Any], goes_on: bool
) -> None:
    """Of that tenant, at once; and who was signing in meanwhile by what it was has to start anew."""
    before = await logins.put(tenant.id, GIVEN)
    await _start(store, clock, before)
    clock.advance(1)
    after = await logins.put(tenant.id, replace(GIVEN, **changes))
    assert await _living(store, clock, tenant) == int(goes_on)
    assert (after.id == before.id) == goes_on
    assert logins.open(after) == (changes.get("client_secret") or SECRET)
    found = await Sessions(store, clock).start(before, subject="bob", email=None, groups=())
    assert (found is not None) == goes_on


@pytest.mark.parametrize("removed", [False, True])
async def test_no_session_outlives_a_change_that_it_meets(
    database: str, store: Store, clock: ManualClock, logins: Logins, tenant: Tenant, removed: bool
) -> None:
    """However many sign in on other nodes in the very moment: by the login before it nobody is in afterwards."""
    before = await logins.put(tenant.id, GIVEN)
    stores = [await Store.open(database, clock=clock) for _ in range(3)]
    starting = [
        Sessions(node, clock).start(before, subject=f"user-{number}", email=None, groups=())
        for number in range(5)
        for node in stores
    ]
    change = logins.remove(tenant.id) if removed else logins.put(tenant.id, replace(GIVEN, groups=["ops"]))
    await asyncio.gather(*starting[:8], change, *starting[8:])
    assert await _living(store, clock, tenant) == 0
    for node in stores:
        await node.close()


@pytest.mark.parametrize("changes", [{"issuer": "https://elsewhere.example.com"}, {"client_id": "another"}])
async def test_a_secret_goes_to_no_other_provider(logins: Logins, tenant: Tenant, changes: dict[str, Any]) -> None:
    """Who sets another issuer or client has to bring its secret: the old one must not be sent there."""
    await logins.put(tenant.id, GIVEN)
    with pytest.raises(RouterError) as caught:
        await logins.put(tenant.id, replace(GIVEN, client_secret=None, **changes))
    assert list(caught.value.fields) == ["client_secret"]
    assert (await logins.get(tenant.id)).issuer == ISSUER


async def test_removing_a_login_ends_its_sessions(
    store: Store, clock: ManualClock, logins: Logins, tenant: Tenant, world: World
) -> None:
    """Another tenant's go on; and a second removal finds nothing."""
    other = await world.tenant("Rival")
    for one in (tenant, other):
        await _start(store, clock, await logins.put(one.id, GIVEN))
    await logins.remove(tenant.id)
    assert await logins.find(tenant.id) is None
    assert await _living(store, clock, tenant) == 0
    assert await _living(store, clock, other) == 1
    with pytest.raises(RouterError) as caught:
        await logins.remove(tenant.id)
    assert caught.value.problem is NOT_FOUND


async def test_every_private_resource_takes_it(
    store: Store, clock: ManualClock, logins: Logins, tenant: Tenant, world: World
) -> None:
    """From when the call returns, and no more once it is gone; what is public or for programs never does."""
    made = await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    previews = Previews(store, clock)
    for port, visibility in ((1, Visibility.TENANT), (2, Visibility.KEY), (3, Visibility.PUBLIC)):
        await previews.put(made.id, port, visibility=visibility)
    rival = await world.sandbox(await world.tenant("Rival"), "stall", visibility=Visibility.PRIVATE)
    await world.domain(made, "www.example.com")
    heard = list[str]()
    store.after_commit(heard.extend)

    async def taking(slug: str) -> dict[int, bool | None]:
        record = (await store.records.fetch([f"slug:{slug}"]))[f"slug:{slug}"]
        assert isinstance(record, ResourceRecord)
        found = {port: record.policy(port) for port in (1, 2, 3, 4)}
        return {port: policy and policy.login for port, policy in found.items()}

    assert await taking("shop") == {1: False, 2: False, 3: None, 4: False}
    await logins.put(tenant.id, GIVEN)
    assert heard == ["name:www.example.com", "slug:shop"]
    assert await taking("shop") == {1: True, 2: False, 3: None, 4: True}
    assert await taking(rival.slug) == {1: False, 2: False, 3: False, 4: False}
    await logins.remove(tenant.id)
    assert await taking("shop") == {1: False, 2: False, 3: None, 4: False}
    assert heard == ["name:www.example.com", "slug:shop"] * 2


async def test_what_happened_is_an_event(logins: Logins, tenant: Tenant, world: World) -> None:
    """One for each change, none for the same again, and never with the secret."""
    await logins.put(tenant.id, GIVEN)
    await logins.put(tenant.id, GIVEN)
    await logins.put(tenant.id, replace(GIVEN, client_secret=None))
    await logins.remove(tenant.id)
    found = (await world.events.list(EventFilter(tenant_id=tenant.id))).items
    assert sorted(event.type for event in found) == ["tenant.login_removed", "tenant.login_updated"]
    assert all(event.data == {"issuer": ISSUER, "client_id": "previews"} for event in found)
    assert SECRET not in repr(found)


async def test_a_key_is_replaced(store: Store, clock: ManualClock, world: World, database: str) -> None:
    """Every login's secret is sealed anew, once, without a change for anybody; then the old key can go."""
    tenants = [await world.tenant(f"Tenant {number}") for number in range(5)]
    before = logins_on(store, clock, OLD)
    made = [await before.put(tenant.id, GIVEN) for tenant in tenants]
    heard = list[str]()
    store.after_commit(heard.extend)
    both = logins_on(store, clock, NEW, OLD)
    assert await both.reseal(chunk=2) == (5, 0)
    assert await both.reseal(chunk=2) == (0, 0)
    assert heard == []
    after = logins_on(store, clock, NEW)
    for login in made:
        found = await after.get(login.tenant_id)
        assert after.open(found) == SECRET
        assert replace(found, client_secret="") == replace(login, client_secret="")
    third = logins_on(store, clock, bytes(range(64, 96)))
    assert await third.reseal() == (0, 5), "they are said, and stay as they are"
    assert await rows(database, "SELECT count(*) FROM logins") == [(5,)]


LOGIN = Login(
    id="1",
    tenant_id="acme",
    issuer=ISSUER,
    client_id="previews",
    client_secret="",
    created_at=ManualClock().now(),
    updated_at=ManualClock().now(),
)


@pytest.mark.parametrize(
    ("changes", "email", "groups", "admitted"),
    [
        ({"email_domains": ("example.com",)}, "ada@example.com", (), True),
        ({"email_domains": ("example.com",)}, "ada@EXAMPLE.com", (), True),
        ({"email_domains": ("xn--bcher-kva.example",)}, "ada@bücher.example", (), True),
        ({"email_domains": ("example.com",)}, "ada@sub.example.com", (), False),
        ({"email_domains": ("example.com",)}, "ada@notexample.com", (), False),
        ({"email_domains": ("example.com",)}, '"x@example.com"@evil.example', (), False),
        ({"email_domains": ("example.com",)}, "ada@example.com@evil.example", (), False),
        ({"email_domains": ("example.com",)}, "example.com", (), False),
        ({"email_domains": ("example.com",)}, "", (), False),
        ({"email_domains": ("example.com",)}, None, ("dev",), False),
        ({"groups": ("dev",)}, None, ("dev", "x"), True),
        ({"groups": ("dev",)}, None, ("DEV",), False),
        ({"groups": ("dev",)}, "ada@example.com", (), False),
        ({"groups": ("dev",), "email_domains": ("example.com",)}, "ada@example.com", ("dev",), True),
        ({"groups": ("dev",), "email_domains": ("example.com",)}, "ada@example.com", ("ops",), False),
        ({"groups": ("dev",), "email_domains": ("example.com",)}, "ada@example.org", ("dev",), False),
        ({"anyone": True}, None, (), True),
        ({}, "ada@example.com", ("dev",), False),
    ],
)
async def test_whom_a_login_admits(
    changes: dict[str, Any], email: str | None, groups: tuple[str, ...], admitted: bool
) -> None:
    """Each list that is not empty has to have something of theirs; an address counts by what stands behind its last @."""
    assert replace(LOGIN, **changes).admits(email, groups) is admitted

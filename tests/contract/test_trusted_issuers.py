"""The CI systems that a tenant trusts: which rules are taken, and that every change of one reaches the records at once."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.policies import AccessIssuer, Visibility
from router.routes.records import ResourceRecord, slug_key
from router.store import Store
from router.tenancy.destinations import Destinations
from router.tenancy.events import EventFilter
from router.tenancy.previews import Previews
from router.tenancy.tenants import Tenant
from router.tenancy.trusted_issuers import MAX_ISSUERS, TrustedIssuer, TrustedIssuers
from tests.support.world import World

pytestmark = pytest.mark.asyncio

GITHUB = "https://token.actions.githubusercontent.com"
RULE: dict[str, Any] = {
    "name": "main pipelines",
    "issuer": GITHUB,
    "audience": "https://previews.example.com",
    "claims": {"repository": "acme/shop", "ref": "refs/heads/*"},
}


@pytest.fixture
def issuers(store: Store, clock: ManualClock) -> TrustedIssuers:
    return TrustedIssuers(store, clock, destinations=Destinations())


async def opening(store: Store, slug: str, port: int = 3000) -> tuple[AccessIssuer, ...]:
    """The rules in the record of a resource."""
    record = (await store.records.fetch([slug_key(slug)]))[slug_key(slug)]
    assert isinstance(record, ResourceRecord)
    policy = record.policy(port)
    return () if policy is None else policy.issuers


def shown(*rules: TrustedIssuer) -> tuple[AccessIssuer, ...]:
    return tuple(AccessIssuer(rule.id, rule.issuer, rule.audience, rule.generation) for rule in rules)


async def refusal(call: Awaitable[object]) -> RouterError:
    with pytest.raises(RouterError) as caught:
        await call
    return caught.value


async def test_a_rule_is_in_the_records_of_what_is_not_public(
    world: World, store: Store, clock: ManualClock, issuers: TrustedIssuers
) -> None:
    """Of each port that not everybody may open, and of no other tenant's; nothing of what tokens have to say."""
    tenant, other = await world.tenant("Acme"), await world.tenant("Other")
    made = await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    await Previews(store, clock).put(made.id, 8080, visibility=Visibility.PUBLIC)
    await Previews(store, clock).put(made.id, 9090, visibility=Visibility.KEY)
    await world.sandbox(tenant, "site")
    await world.sandbox(other, "theirs", visibility=Visibility.PRIVATE)
    first = await issuers.create(tenant.id, **RULE)
    clock.advance(1)
    second = await issuers.create(tenant.id, **{**RULE, "audience": "another"})
    assert await opening(store, "shop") == await opening(store, "shop", 9090) == shown(first, second)
    for slug, port in (("shop", 8080), ("site", 3000), ("theirs", 3000)):
        assert await opening(store, slug, port) == ()


async def test_a_custom_domain_carries_the_rules(world: World, store: Store, issuers: TrustedIssuers) -> None:
    """The record of a name changes with that of its resource."""
    tenant = await world.tenant()
    made = await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    await world.domain(made, "www.example.com")
    heard = list[str]()
    store.after_commit(heard.extend)
    await issuers.create(tenant.id, **RULE)
    assert {"slug:shop", "name:www.example.com"} <= set(heard)


async def test_a_narrow_rule_opens_one_place(world: World, store: Store, issuers: TrustedIssuers) -> None:
    """That workspace or that project, wherever the project is moved."""
    tenant = await world.tenant()
    workspace, _ = await world.workspaces.create(tenant.id, name="clinic")
    project = await world.projects.create(tenant.id, workspace_id=workspace.id, name="app")
    inside = await world.sandbox(tenant, "inside", visibility=Visibility.TENANT, project_id=project.id)
    await world.sandbox(tenant, "beside", visibility=Visibility.TENANT, workspace_id=workspace.id)
    await world.sandbox(tenant, "outside", visibility=Visibility.TENANT)
    of_workspace = await issuers.create(tenant.id, **RULE, workspace_id=workspace.id)
    of_project = await issuers.create(tenant.id, **RULE, project_id=project.id)
    assert set(await opening(store, "inside")) == set(shown(of_workspace, of_project))
    assert await opening(store, "beside") == shown(of_workspace)
    assert await opening(store, "outside") == ()
    elsewhere = await world.workspaces.default(tenant.id)
    await world.projects.move(inside.project_id, elsewhere.id)
    assert await opening(store, "inside") == shown(of_project)


Change = Callable[[TrustedIssuers, TrustedIssuer], Awaitable[object]]


def changed(**values: Any) -> Change:
    return lambda issuers, rule: issuers.update(rule.tenant_id, rule.id, **values)


@pytest.mark.parametrize(
    ("change", "still"),
    [
        (changed(audience="other"), True),
        (changed(claims={"repository": "acme/other"}), True),
        (changed(issuer="https://gitlab.com", claims={"project_path": "acme/shop"}), True),
        (changed(enabled=False), False),
        (lambda issuers, rule: issuers.delete(rule.tenant_id, rule.id), False),
    ],
    ids=["audience", "claims", "issuer", "disabled", "deleted"],
)
async def test_a_changed_rule_is_another_one(
    world: World, store: Store, issuers: TrustedIssuers, change: Change, still: bool
) -> None:
    """Caches hear of it, and who came in by what it was is not let in by what it is."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    rule = await issuers.create(tenant.id, **RULE)
    heard = list[str]()
    store.after_commit(heard.extend)
    await change(issuers, rule)
    after = await opening(store, "shop")
    assert bool(after) is still
    assert not set(after) & set(shown(rule))
    assert "slug:shop" in heard


async def test_a_new_name_ends_nothing(world: World, store: Store, issuers: TrustedIssuers) -> None:
    """Nor does a change that changes nothing."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    rule = await issuers.create(tenant.id, **RULE)
    renamed = await issuers.update(tenant.id, rule.id, name="nightly")
    same = await issuers.update(tenant.id, rule.id, claims=RULE["claims"], enabled=True)
    assert await opening(store, "shop") == shown(rule) == shown(renamed) == shown(same)
    assert (await issuers.get(tenant.id, rule.id)).name == "nightly"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": " "}),
        ("name", {"name": "x" * 121}),
        ("audience", {"audience": ""}),
        ("audience", {"audience": "x" * 256}),
        ("issuer", {"issuer": ""}),
        ("issuer", {"issuer": "http://ci.example.com"}),
        ("issuer", {"issuer": "https://10.0.0.1"}),
        ("issuer", {"issuer": "https://localhost"}),
        ("issuer", {"issuer": "https://user@ci.example.com"}),
        ("issuer", {"issuer": "https://ci.example.com?a=b"}),
        ("issuer", {"issuer": "https://ci.example.com#x"}),
        ("issuer", {"issuer": "https://ci.example.com/" + "x" * 500}),
        ("claims", {"claims": {}}),
        ("claims", {"claims": {f"c{number}": "x" for number in range(21)}, "issuer": "https://ci.example.com"}),
        ("claims", {"claims": {"repository": ""}}),
        ("claims", {"claims": {"repository": "acme/" + "x" * 255}}),
        ("claims", {"claims": {"x" * 101: "x"}}),
        ("claims", {"claims": {"": "x"}}),
        ("claims", {"claims": {"aud": "x", "repository": "acme/shop"}}),
        ("claims", {"claims": {"repository": "acme/\x00"}}),
        ("claims", {"claims": {"repository": "*"}}),
        ("claims", {"claims": {"repository": "acme*"}}),
        ("claims", {"claims": {"ref": "refs/heads/main"}}),
        ("workspace_id", {"workspace_id": "nowhere"}),
        ("project_id", {"project_id": "nowhere"}),
        ("workspace_id", {"workspace_id": "here", "project_id": "here"}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_rules_that_are_refused(
    world: World, issuers: TrustedIssuers, field: str, change: Mapping[str, Any]
) -> None:
    """By the field that is wrong; the same where a rule is changed."""
    tenant = await world.tenant()
    workspace = await world.workspaces.default(tenant.id)
    project = await world.projects.create(workspace.tenant_id, workspace_id=workspace.id, name="app")
    here = {"workspace_id": workspace.id, "project_id": project.id}
    values = {name: here.get(name) if value == "here" else value for name, value in change.items()}
    error = await refusal(issuers.create(tenant.id, **{**RULE, **values}))
    assert error.problem is VALIDATION_FAILED
    assert list(error.fields) == [field]
    rule = await issuers.create(tenant.id, **RULE)
    error = await refusal(issuers.update(tenant.id, rule.id, **values))  # type: ignore[arg-type]
    assert list(error.fields) == [field]
    assert await issuers.get(tenant.id, rule.id) == rule


async def test_places_of_another_tenant_do_not_exist(world: World, issuers: TrustedIssuers) -> None:
    """Nobody can have a rule about another's workspace or project."""
    tenant, other = await world.tenant("Acme"), await world.tenant("Other")
    workspace = await world.workspaces.default(other.id)
    project = await world.projects.create(workspace.tenant_id, workspace_id=workspace.id, name="app")
    for place in ({"workspace_id": workspace.id}, {"project_id": project.id}):
        error = await refusal(issuers.create(tenant.id, **RULE, **place))
        assert list(error.fields) == list(place)


async def test_a_tenant_has_twenty_at_most(world: World, issuers: TrustedIssuers) -> None:
    """Also where several are made at the same time."""
    tenant = await world.tenant()
    for _ in range(MAX_ISSUERS - 1):
        await issuers.create(tenant.id, **RULE)
    made = await asyncio.gather(*(issuers.create(tenant.id, **RULE) for _ in range(4)), return_exceptions=True)
    assert sorted(isinstance(one, TrustedIssuer) for one in made) == [False, False, False, True]
    assert {one.problem for one in made if isinstance(one, RouterError)} == {CONFLICT}
    assert (await issuers.list(tenant.id)).total == MAX_ISSUERS


async def test_rules_of_another_tenant_do_not_exist(world: World, issuers: TrustedIssuers) -> None:
    """They can be neither read nor changed nor deleted, and are in no list."""
    tenant, other = await world.tenant("Acme"), await world.tenant("Other")
    rule = await issuers.create(tenant.id, **RULE)
    for call in (
        issuers.get(other.id, rule.id),
        issuers.update(other.id, rule.id, name="x"),
        issuers.delete(other.id, rule.id),
    ):
        assert (await refusal(call)).problem is NOT_FOUND
    assert (await issuers.list(other.id)).items == ()
    assert await issuers.of_issuer(other.id, GITHUB) == []


async def test_the_rules_of_an_issuer(world: World, issuers: TrustedIssuers, clock: ManualClock) -> None:
    """Of that issuer to the letter, and only those that are enabled."""
    tenant: Tenant = await world.tenant()
    first = await issuers.create(tenant.id, **RULE)
    clock.advance(1)
    second = await issuers.create(tenant.id, **RULE)
    await issuers.create(tenant.id, **RULE, enabled=False)
    await issuers.create(tenant.id, **{**RULE, "issuer": f"{GITHUB}/acme"})
    assert await issuers.of_issuer(tenant.id, GITHUB) == [first, second]


async def test_last_use(world: World, store: Store, issuers: TrustedIssuers, clock: ManualClock) -> None:
    """The later instant stays, no record changes by it, and a change of the rule keeps it."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop", visibility=Visibility.PRIVATE)
    rule = await issuers.create(tenant.id, **RULE)
    heard = list[str]()
    store.after_commit(heard.extend)
    now = clock.now()
    await issuers.note_uses({rule.id: now, "unknown": now})
    await issuers.note_uses({rule.id: now - timedelta(minutes=1)})
    assert heard == []
    await issuers.update(tenant.id, rule.id, name="nightly")
    assert (await issuers.get(tenant.id, rule.id)).last_used_at == now


async def test_private_networks_allow_plain_http(world: World, store: Store, clock: ManualClock) -> None:
    """Where an operator has allowed them, for a CI system of their own and for tests."""
    here = Destinations(private=(ipaddress.ip_network("127.0.0.0/8"),))
    tenant = await world.tenant()
    rule = {**RULE, "issuer": "http://127.0.0.1:8443"}
    assert await TrustedIssuers(store, clock, destinations=here).create(tenant.id, **rule)
    public = await refusal(
        TrustedIssuers(store, clock, destinations=here).create(tenant.id, **{**RULE, "issuer": "http://192.0.2.1"})
    )
    assert list(public.fields) == ["issuer"]


async def test_what_happened_to_a_rule_is_an_event(issuers: TrustedIssuers, world: World) -> None:
    """One for each change, none for the same again: who comes in by it is for the tenant to know."""
    tenant = await world.tenant("Acme")
    made = await issuers.create(tenant.id, **RULE)
    await issuers.update(tenant.id, made.id, enabled=False)
    await issuers.update(tenant.id, made.id, enabled=False)
    await issuers.delete(tenant.id, made.id)
    found = (await world.events.list(EventFilter(tenant_id=tenant.id))).items
    assert sorted((event.type, event.data["enabled"]) for event in found) == [
        ("tenant.trusted_issuer_created", True),
        ("tenant.trusted_issuer_deleted", False),
        ("tenant.trusted_issuer_updated", False),
    ]
    assert {(event.data["trusted_issuer_id"], event.data["issuer"]) for event in found} == {(made.id, GITHUB)}

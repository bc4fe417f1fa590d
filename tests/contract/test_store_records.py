"""What SQL alone decides about records: ownership, inheritance, versions, which endpoint counts."""

from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.routes.policies import AccessPolicy, Cors, Visibility
from router.routes.records import DomainStatus, Kind, NameRecord, ResourceRecord, Scope, State, ZoneRecord
from router.settings import Database
from router.store import Store
from router.store.deployment_tables import deployment_versions, deployments
from router.store.engine import parsed, writing_engine
from router.tenancy.blocks import BlockKind
from router.tenancy.endpoints import EndpointChange
from router.tenancy.previews import Previews
from tests.support.database import execute
from tests.support.world import World

pytestmark = pytest.mark.asyncio


async def _resource(store: Store, slug: str) -> ResourceRecord:
    record = (await store.records.fetch([f"slug:{slug}"]))[f"slug:{slug}"]
    assert isinstance(record, ResourceRecord)
    return record


async def _name(store: Store, fqdn: str) -> NameRecord:
    record = (await store.records.fetch([f"name:{fqdn}"]))[f"name:{fqdn}"]
    assert isinstance(record, NameRecord)
    return record


async def _zone(store: Store, domain: str) -> ZoneRecord | None:
    record = (await store.records.fetch([f"zone:{domain}"]))[f"zone:{domain}"]
    assert record is None or isinstance(record, ZoneRecord)
    return record


async def test_auto_expose_makes_every_port_routable(world: World, store: Store) -> None:
    """With the tenant's auto_expose the record has no list of ports; switching it is seen at once."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop", exposed_ports=frozenset({5173}))
    assert (await _resource(store, "shop")).exposed_ports == frozenset({5173})
    await world.tenants.update(tenant.id, auto_expose=True)
    assert (await _resource(store, "shop")).exposed_ports is None


async def test_a_suspended_tenant_suspends_all_it_has(world: World, store: Store) -> None:
    """Its resources and its names are suspended, and come back when it does."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop")
    await world.domain(resource, "www.example.com")
    await world.block(BlockKind.TENANT, tenant.id)
    assert (await _resource(store, "shop")).suspended
    assert (await _name(store, "www.example.com")).suspended
    await world.block(BlockKind.TENANT, tenant.id, False)
    assert not (await _resource(store, "shop")).suspended


async def test_host_modes_and_first_byte_reach_the_record(world: World, store: Store) -> None:
    """What the platform set per port and resource is in the record; `auto` is the absence of a mode on a machine."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop", host_modes={3000: "localhost", 5173: "preserve", 80: "auto"}, first_byte=2.5)
    record = await _resource(store, "shop")
    assert record.host_modes == {3000: "localhost", 5173: "preserve"}
    assert record.first_byte == 2.5


async def test_schemes_reach_the_record(world: World, store: Store) -> None:
    """Of the resource and of its previews, which say more; `http` is the absence of a scheme."""
    tenant = await world.tenant()
    made = await world.sandbox(tenant, "shop", schemes={3000: "https", 5173: "http", 8080: "https"})
    await Previews(store, ManualClock()).put(made.id, 8080, scheme="http")
    await Previews(store, ManualClock()).put(made.id, 8443, scheme="https")
    assert (await _resource(store, "shop")).schemes == {3000: "https", 8443: "https"}


async def test_protocols_reach_the_record(world: World, store: Store) -> None:
    """As schemes do; `http1` is the absence of a protocol."""
    tenant = await world.tenant()
    made = await world.sandbox(tenant, "shop", protocols={3000: "h2c", 5173: "http1", 8080: "h2c"})
    await Previews(store, ManualClock()).put(made.id, 8080, protocol="http1")
    await Previews(store, ManualClock()).put(made.id, 50051, protocol="h2c")
    assert (await _resource(store, "shop")).protocols == {3000: "h2c", 50051: "h2c"}


async def test_ports_of_an_endpoint_are_numbers_again(world: World, store: Store) -> None:
    """JSON keeps names as text; the record maps numbers to numbers."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop", running=False)
    await world.place(resource, ports={5173: 40001})
    endpoint = (await _resource(store, "shop")).endpoint
    assert endpoint is not None
    assert endpoint.port(5173) == 40001
    assert endpoint.port(3000) == 3000


async def test_a_new_registration_hides_the_removed_one(world: World, store: Store) -> None:
    """Where another domain has the name now, the removed one is not returned."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop")
    first = await world.domain(resource, "www.example.com")
    await world.domains.remove(first.id)
    await world.domain(resource, "www.example.com", verified=False)
    assert (await _name(store, "www.example.com")).status is DomainStatus.PENDING


async def test_a_redirect_policy_is_in_the_record(world: World, store: Store) -> None:
    """The host that visitors are sent to, and the status, are decided from the policy."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop")
    await world.domain(resource, "www.example.com", redirect_policy="www_to_apex", redirect_status=301)
    record = await _name(store, "www.example.com")
    assert (record.redirect_to, record.redirect_status) == ("example.com", 301)


async def test_a_zone_of_several_scopes_is_one_record(world: World, store: Store) -> None:
    """Scopes of one tenant may share a domain; the record holds each of their claims."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    await world.zone(Scope.TENANT, tenant.id, "example.org")
    await world.zone(Scope.WORKSPACE, workspace.id, "example.org", verified=False)
    zone = await _zone(store, "example.org")
    assert zone is not None
    assert {(claim.scope, claim.verified) for claim in zone.claims} == {(Scope.TENANT, True), (Scope.WORKSPACE, False)}
    await world.previews.clear(Scope.TENANT, tenant.id)
    zone = await _zone(store, "example.org")
    assert zone is not None
    assert [claim.scope for claim in zone.claims] == [Scope.WORKSPACE]
    await world.previews.clear(Scope.WORKSPACE, workspace.id)
    assert await _zone(store, "example.org") is None


async def test_a_slug_used_again_hides_its_tombstone(world: World, store: Store) -> None:
    """Only the same tenant may have the slug again; then it is the new resource's."""
    tenant = await world.tenant()
    old = await world.sandbox(tenant, "shop")
    await world.resources.delete(old.id)
    assert (await _resource(store, "shop")).state is State.DESTROYED
    new = await world.sandbox(tenant, "shop")
    record = await _resource(store, "shop")
    assert (record.id, record.state) == (new.id, State.RUNNING)


async def test_a_deployment_answers_where_its_active_version_listens(
    world: World, store: Store, database: str, clock: ManualClock
) -> None:
    """The active version's endpoint wins; without one the deployment's own counts."""
    tenant = await world.tenant()
    deployment = await world.sandbox(tenant, "site", kind=Kind.DEPLOYMENT)
    version = new_id()
    engine = writing_engine(parsed(database, create=False), Database())
    async with engine.begin() as connection:
        await connection.execute(
            deployment_versions.insert().values(
                id=version,
                resource_id=deployment.id,
                number=1,
                kind="dynamic",
                state="ready",
                environment="production",
                metadata={},
                created_at=clock.now(),
                updated_at=clock.now(),
            )
        )
        await connection.execute(
            deployments.insert().values(resource_id=deployment.id, active_version_id=version, auto_deploy=False)
        )
    await engine.dispose()
    own = (await _resource(store, "site")).endpoint
    assert own is not None
    assert own.generation == "boot-1"
    change = EndpointChange(resource_id=deployment.id, version_id=version, address="10.0.0.9", generation="v1")
    await world.resources.endpoints.put(change)
    active = (await _resource(store, "site")).endpoint
    assert active is not None
    assert (active.address, active.generation) == ("10.0.0.9", "v1")
    await world.resources.endpoints.delete(deployment.id, version)
    assert (await _resource(store, "site")).endpoint == own


async def test_versions_of_absent_records_are_known(world: World, store: Store) -> None:
    """A key that nothing ever touched has version 0; one whose record is gone keeps counting."""
    tenant = await world.tenant()
    await world.zone(Scope.TENANT, tenant.id, "example.org")
    await world.previews.clear(Scope.TENANT, tenant.id)
    found = await store.records.fetch_versioned(["zone:example.org", "zone:never.example.org"])
    assert found["zone:example.org"] == (3, None)
    assert found["zone:never.example.org"] == (0, None)


async def test_a_public_resource_has_no_policies(world: World, store: Store) -> None:
    """Visitors of what everybody may open pay for none; a preview that says `public` is as good as one that says nothing."""
    made = await world.sandbox(await world.tenant(), "shop")
    await Previews(store, ManualClock()).put(made.id, 8080, visibility=Visibility.PUBLIC, hide=True)
    assert (await _resource(store, "shop")).policies == {}


@pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.TENANT, Visibility.KEY])
async def test_whose_visibility_counts(world: World, store: Store, visibility: Visibility) -> None:
    """A preview's own, else its resource's, else its tenant's; each is in the record when the change returns."""
    tenant = await world.tenant()
    made = await world.sandbox(tenant, "shop")
    previews = Previews(store, ManualClock())
    await previews.put(made.id, 5173)
    await previews.put(made.id, 8080, visibility=Visibility.PUBLIC)
    await previews.put(made.id, 8443, visibility=visibility)

    async def seen() -> dict[int, Visibility | None]:
        record = await _resource(store, "shop")
        found = {port: record.policy(port) for port in (3000, 5173, 8080, 8443)}
        return {port: policy and policy.visibility for port, policy in found.items()}

    only_its_own = {3000: None, 5173: None, 8080: None, 8443: visibility}
    all_but_the_public_one = {3000: visibility, 5173: visibility, 8080: None, 8443: visibility}
    assert await seen() == only_its_own
    await world.tenants.update(tenant.id, default_visibility=visibility)
    assert await seen() == all_but_the_public_one
    await world.resources.update(made.id, visibility=Visibility.PUBLIC)
    assert await seen() == only_its_own
    await world.tenants.update(tenant.id, default_visibility=Visibility.PUBLIC)
    await world.resources.update(made.id, visibility=visibility)
    assert await seen() == all_but_the_public_one
    await world.resources.update(made.id, visibility=None)
    assert await seen() == only_its_own


async def test_how_a_preview_is_closed_reaches_the_record(world: World, store: Store, clock: ManualClock) -> None:
    """Its expiry to the microsecond, its networks as networks, its list of origins, whether it hides, whose tenant it is."""
    tenant = await world.tenant("Acme")
    made = await world.sandbox(tenant, "shop")
    expires_at = clock.now() + timedelta(days=1, microseconds=123_456)
    await Previews(store, clock).put(
        made.id,
        8080,
        visibility=Visibility.PRIVATE,
        expires_at=expires_at,
        hide=True,
        networks=("203.0.113.0/24", "2001:db8::7"),
        cors=Cors.ALLOWLIST,
        cors_origins=("https://app.example.com",),
    )
    assert (await _resource(store, "shop")).policies == {
        8080: AccessPolicy(
            Visibility.PRIVATE,
            tenant="acme",
            networks=("203.0.113.0/24", "2001:db8::7/128"),
            until=expires_at.timestamp(),
            hide=True,
            cors=Cors.ALLOWLIST,
            origins=("https://app.example.com",),
        )
    }


async def test_whose_word_on_identity_counts(world: World, store: Store) -> None:
    """A preview's own, else its resource's: also where everybody may come in."""
    made = await world.sandbox(await world.tenant(), "shop")
    previews = Previews(store, ManualClock())
    await previews.put(made.id, 5173)
    await previews.put(made.id, 8080, identity=False)
    await previews.put(made.id, 8443, identity=True)

    async def told() -> list[int]:
        record = await _resource(store, "shop")
        policies = {port: record.policy(port) for port in (3000, 5173, 8080, 8443)}
        return [port for port, policy in policies.items() if policy is not None and policy.identity]

    assert await told() == [8443]
    await world.resources.update(made.id, identity=True)
    assert await told() == [3000, 5173, 8443]
    await world.resources.update(made.id, visibility=Visibility.PRIVATE)
    assert await told() == [3000, 5173, 8443]
    await world.resources.update(made.id, identity=False)
    assert await told() == [8443]


async def test_a_custom_domain_carries_the_policies(world: World, store: Store) -> None:
    """The record of a name has those of the resource that it leads to, and changes with them."""
    made = await world.sandbox(await world.tenant(), "shop")
    await world.domain(made, "www.example.com")
    await world.resources.update(made.id, visibility=Visibility.PRIVATE)
    name = await _name(store, "www.example.com")
    assert name.resource is not None
    assert name.resource.policy(3000) == AccessPolicy(Visibility.PRIVATE, tenant="acme")


async def test_a_deleted_resource_protects_nothing(world: World, store: Store) -> None:
    """It answers that it is gone, as all deleted ones do."""
    made = await world.sandbox(await world.tenant(), "shop", visibility=Visibility.PRIVATE)
    await Previews(store, ManualClock()).put(made.id, 8080, visibility=Visibility.KEY)
    await world.resources.delete(made.id)
    record = await _resource(store, "shop")
    assert (record.state, record.policies) == (State.DESTROYED, {})


@pytest.mark.parametrize(
    ("stored", "seen"),
    [("public", None), ("private", "private"), ("tenant", "tenant"), ("key", "key"), ("sso", "private")],
)
async def test_what_another_version_of_ours_stored(
    world: World, store: Store, database: str, stored: str, seen: str | None
) -> None:
    """An older one, which writes previews without the newer columns, means what it says; what a newer one has that we don't
    know is closed to strangers."""
    made = await world.sandbox(await world.tenant(), "shop")
    columns = "id, resource_id, port, visibility, host_mode, metadata, created_at, updated_at"
    values = f"'{new_id()}', id, 8080, '{stored}', 'auto', '{{}}', created_at, updated_at"
    await execute(database, f"INSERT INTO previews ({columns}) SELECT {values} FROM resources")  # noqa: S608  # our own words
    policy = (await _resource(store, made.slug)).policy(8080)
    assert (policy and policy.visibility) == seen

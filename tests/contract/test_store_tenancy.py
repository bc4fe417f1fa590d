"""Tenants, keys, workspaces and projects on a real store: what is unique, what is found, what goes with what."""

import pytest

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.base.paging import Window
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, Problem, RouterError
from router.routes.records import Scope
from router.store import Store
from router.tenancy.projects import ProjectFilter
from router.tenancy.workspaces import WorkspaceNameExistsError
from tests.support.world import World

pytestmark = pytest.mark.asyncio


def refused(error: pytest.ExceptionInfo[RouterError], problem: Problem, *fields: str) -> None:
    """That it was this problem, and about these fields."""
    assert error.value.problem is problem
    assert set(error.value.fields) == set(fields)


async def test_a_tenant_starts_with_a_workspace_and_a_project(world: World) -> None:
    """Both are called `default` and are where resources go that name no other."""
    tenant = await world.tenant("Acme Inc")
    assert tenant.slug == "acme-inc"
    workspace = await world.workspaces.default(tenant.id)
    assert (workspace.name, workspace.slug, workspace.is_default) == ("default", "default", True)
    (project,) = (await world.projects.list(ProjectFilter(tenant_id=tenant.id))).items
    assert (project.slug, project.workspace_id) == ("default", workspace.id)


async def test_tenants_of_one_name_have_different_slugs(world: World) -> None:
    """A slug that is asked for is refused when taken; one that is made up gives way."""
    slugs = [(await world.tenant("Acme")).slug for _ in range(7)]
    assert slugs[:3] == ["acme", "acme-2", "acme-3"]
    assert len(set(slugs)) == 7
    with pytest.raises(RouterError) as caught:
        await world.tenant("Other", slug="acme")
    refused(caught, VALIDATION_FAILED, "slug")


async def test_a_tenant_is_found_by_id_and_by_slug(world: World) -> None:
    """People at a command line have the slug, programs the id."""
    tenant = await world.tenant("Acme")
    assert await world.tenants.find("acme") == tenant
    assert await world.tenants.find(tenant.id) == tenant
    with pytest.raises(RouterError) as caught:
        await world.tenants.find("nobody")
    refused(caught, NOT_FOUND)


async def test_branding_is_kept_as_it_was_sent(world: World) -> None:
    """A JSON object goes in and the same comes out."""
    tenant = await world.tenant()
    branding = {"product_name": "Clinic ☤", "colors": ["#fff", None], "nested": {"a": 1.5, "b": True}}
    await world.tenants.update(tenant.id, branding=branding)
    assert (await world.tenants.get(tenant.id)).branding == branding


async def test_lists_come_in_pages(world: World, clock: ManualClock) -> None:
    """A window shows its part and says how many there are; past the end there are none."""
    for name in "abcde":
        await world.tenant(name)
        clock.advance(1)
    listing = await world.tenants.list(Window(offset=2, limit=2))
    assert ([tenant.name for tenant in listing.items], listing.total) == (["c", "d"], 5)
    assert await world.tenants.list(Window(offset=9, limit=2)) == type(listing)((), 5)


async def test_a_key_is_shown_once_and_opens_its_scope(world: World, store: Store) -> None:
    """What is stored does not contain it; who has it is its scope, with the workspace of a project beside it."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    key, plain = await world.keys.create(tenant.id, scope=KeyScope.PROJECT, scope_id=project.id, name="ci")
    assert plain.startswith("msk_live_")
    assert plain.startswith(key.prefix)
    async with store.read() as tx:
        stored = await tx.keys.get(key.id)
    assert plain.removeprefix(key.prefix) not in repr(stored)
    principal = await world.keys.authenticate(plain)
    assert principal is not None
    assert (principal.key_id, principal.tenant_id, principal.scope) == (key.id, tenant.id, KeyScope.PROJECT)
    assert (principal.workspace_id, principal.project_id) == (workspace.id, project.id)


@pytest.mark.parametrize("change", ["", "x", "msk_live_", "msk_live_nothing", "Bearer"])
async def test_what_is_no_key_opens_nothing(world: World, change: str) -> None:
    """Neither nonsense nor what is almost right."""
    tenant = await world.tenant()
    _, plain = await world.keys.create(tenant.id)
    assert await world.keys.authenticate(change) is None
    assert await world.keys.authenticate(plain[:-1]) is None
    assert await world.keys.authenticate(plain + "x") is None


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    """From the moment on that it is revoked, and revoking again is no error."""
    tenant = await world.tenant()
    key, plain = await world.keys.create(tenant.id)
    revoked = await world.keys.revoke(key.id)
    assert revoked.revoked_at is not None
    assert await world.keys.revoke(key.id) == revoked
    assert await world.keys.authenticate(plain) is None


async def test_a_key_goes_with_its_scope(world: World) -> None:
    """A deleted project's key is revoked, so that a later project can't be meant by it."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    _, of_project = await world.keys.create(tenant.id, scope=KeyScope.PROJECT, scope_id=project.id)
    _, of_workspace = await world.keys.create(tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    await world.projects.delete(project.id)
    assert await world.keys.authenticate(of_project) is None
    await world.workspaces.delete(workspace.id)
    assert await world.keys.authenticate(of_workspace) is None


async def test_a_key_can_t_reach_into_another_tenant(world: World) -> None:
    """A scope is the tenant's own workspace or project."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    workspace = await world.workspaces.default(theirs.id)
    for scope_id in (workspace.id, None, "nonsense"):
        with pytest.raises(RouterError) as caught:
            await world.keys.create(ours.id, scope=KeyScope.WORKSPACE, scope_id=scope_id)
        refused(caught, VALIDATION_FAILED, "scope_id")


async def test_use_of_a_key_is_noted_now_and_then(world: World, clock: ManualClock) -> None:
    """The first use is noted, and then one a minute: reading must not become writing."""
    tenant = await world.tenant()
    key, plain = await world.keys.create(tenant.id)
    await world.keys.authenticate(plain)
    first = (await world.keys.get(key.id)).last_used_at
    clock.advance(30)
    await world.keys.authenticate(plain)
    assert (await world.keys.get(key.id)).last_used_at == first == clock.now().replace(second=0)
    clock.advance(40)
    await world.keys.authenticate(plain)
    assert (await world.keys.get(key.id)).last_used_at == clock.now()


async def test_an_external_id_names_one_workspace(world: World) -> None:
    """Creating it again gives the one that exists; another tenant may use the same id."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    first, made = await world.workspaces.create(ours.id, name="Clinic", external_workspace_id="clinic_123")
    again, _ = await world.workspaces.create(ours.id, name="Whatever", external_workspace_id="clinic_123")
    assert (first.id, made) == (again.id, False)
    other, _ = await world.workspaces.create(theirs.id, name="Clinic", external_workspace_id="clinic_123")
    assert other.id != first.id


async def test_names_and_slugs_of_workspaces(world: World) -> None:
    """A slug is unique in the tenant; a name is, unless a second one is meant."""
    tenant = await world.tenant()
    clinic = await world.workspace(tenant, "Clinic")
    with pytest.raises(WorkspaceNameExistsError) as named:
        await world.workspaces.create(tenant.id, name="Clinic")
    assert named.value.existing == clinic
    second, _ = await world.workspaces.create(tenant.id, name="Clinic", allow_duplicate_name=True)
    assert second.slug == "clinic-2"
    with pytest.raises(RouterError) as caught:
        await world.workspaces.create(tenant.id, name="Third", slug="clinic")
    refused(caught, VALIDATION_FAILED, "slug")
    with pytest.raises(RouterError) as caught:
        await world.workspaces.create(tenant.id, name="", slug="-Bad")
    refused(caught, VALIDATION_FAILED, "name", "slug")


async def test_a_workspace_that_is_in_use_stays(world: World) -> None:
    """Projects and resources keep it; its own empty default project goes with it, and then its slug is free."""
    tenant = await world.tenant()
    clinic = await world.workspace(tenant, "Clinic")
    shop = await world.sandbox(tenant, "shop", workspace_id=clinic.id)
    with pytest.raises(RouterError) as caught:
        await world.workspaces.delete(clinic.id)
    refused(caught, CONFLICT)
    await world.resources.delete(shop.id)
    await world.zone(Scope.WORKSPACE, clinic.id, "example.org")
    await world.workspaces.delete(clinic.id)
    with pytest.raises(RouterError) as caught:
        await world.workspaces.get(clinic.id)
    refused(caught, NOT_FOUND)
    assert (await world.workspace(tenant, "Clinic")).slug == "clinic"
    assert not await world.previews.of_tenant(tenant.id)
    with pytest.raises(RouterError) as caught:
        await world.workspaces.delete((await world.workspaces.default(tenant.id)).id)
    refused(caught, CONFLICT)


async def test_projects_are_unique_in_their_workspace(world: World) -> None:
    """The same slug may be used in another workspace; moving there is refused where it would clash."""
    tenant = await world.tenant()
    one, two = await world.workspace(tenant, "One"), await world.workspace(tenant, "Two")
    first, second = await world.project(one, "Site"), await world.project(two, "Site")
    assert (first.slug, second.slug) == ("site", "site")
    with pytest.raises(RouterError) as caught:
        await world.projects.move(first.id, two.id)
    refused(caught, VALIDATION_FAILED, "slug")
    await world.projects.update(first.id, slug="other")
    assert (await world.projects.move(first.id, two.id)).workspace_id == two.id
    with pytest.raises(RouterError) as caught:
        await world.projects.update(first.id, slug="site")
    refused(caught, VALIDATION_FAILED, "slug")


async def test_a_project_stays_in_its_tenant(world: World) -> None:
    """Another tenant's workspace is as good as none."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    project = await world.project(await world.workspace(ours, "One"), "Site")
    with pytest.raises(RouterError, match="WORKSPACE_NOT_FOUND"):
        await world.projects.move(project.id, (await world.workspaces.default(theirs.id)).id)
    with pytest.raises(RouterError, match="WORKSPACE_NOT_FOUND"):
        await world.projects.create(ours.id, name="X", workspace_id=(await world.workspaces.default(theirs.id)).id)
    with pytest.raises(RouterError, match="WORKSPACE_REQUIRED"):
        await world.projects.create(ours.id, name="X")

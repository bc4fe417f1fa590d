"""The ownership fields of a create, on a store: which workspace and project they mean, and what is inherited."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.errors import FORBIDDEN, NOT_FOUND, VALIDATION_FAILED, WORKSPACE_NOT_FOUND, Problem, RouterError
from router.routes.records import Kind
from router.tenancy.ownership import Bounds, Ownership
from router.tenancy.projects import Project
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant
from router.tenancy.workspaces import Workspace
from tests.support.world import World

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant("Acme")


@pytest_asyncio.fixture
async def clinic(world: World, tenant: Tenant) -> Workspace:
    """A workspace that is attributed to a customer and a user."""
    made, _ = await world.workspaces.create(
        tenant.id, name="Clinic", external_workspace_id="clinic_123", external_user_id="dr-smith-456"
    )
    return made


@pytest_asyncio.fixture
async def site(world: World, clinic: Workspace) -> Project:
    """A project in it, attributed to a project of the customer's."""
    return await world.projects.create(
        clinic.tenant_id, name="Site", workspace_id=clinic.id, external_project_id="project_789"
    )


async def create(world: World, tenant: Tenant, **selectors: Any) -> Resource:
    return await world.resources.create(Kind.SANDBOX, tenant.id, ownership=Ownership(**selectors))


async def refused(world: World, tenant: Tenant, **selectors: Any) -> tuple[Problem, dict[str, list[str]]]:
    with pytest.raises(RouterError) as raised:
        await create(world, tenant, **selectors)
    return raised.value.problem, raised.value.fields


async def places(world: World, tenant: Tenant) -> tuple[int, int]:
    """How many workspaces and projects there are."""
    held = await world.tenants.holdings(tenant.id)
    return held.workspaces, held.projects


async def test_nothing_given(world: World, tenant: Tenant) -> None:
    """The tenant's default workspace and its default project, and no attribution."""
    default = await world.workspaces.default(tenant.id)
    made = await create(world, tenant)
    assert made.workspace_id == default.id
    assert (await world.projects.get(made.project_id)).is_default
    assert (made.external_workspace_id, made.external_user_id, made.external_project_id) == (None, None, None)
    assert await places(world, tenant) == (1, 1)


async def test_by_id(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """A project's id is enough; a workspace's alone means its default project, which is made when first needed."""
    made = await create(world, tenant, project_id=site.id)
    assert (made.workspace_id, made.project_id) == (clinic.id, site.id)
    first = await create(world, tenant, workspace_id=clinic.id)
    again = await create(world, tenant, workspace_id=clinic.id)
    assert first.project_id == again.project_id != site.id
    assert (await world.projects.get(first.project_id)).is_default


async def test_by_slug(world: World, tenant: Tenant) -> None:
    """Slugs that do not exist are made with the names beside them, once; then they are found."""
    wanted = {
        "workspace_slug": "dr-smith-clinic",
        "workspace_name": "Dr. Smith Clinic",
        "project_slug": "lead-magnet",
        "project_name": "Lead Magnet",
        "external_workspace_id": "clinic_9",
        "external_project_id": "project_9",
    }
    first = await create(world, tenant, **wanted)
    assert await places(world, tenant) == (2, 2)
    workspace = await world.workspaces.get(first.workspace_id)
    project = await world.projects.get(first.project_id)
    assert (workspace.slug, workspace.name, workspace.external_workspace_id) == (
        "dr-smith-clinic",
        "Dr. Smith Clinic",
        "clinic_9",
    )
    assert (project.slug, project.name, project.external_project_id) == ("lead-magnet", "Lead Magnet", "project_9")
    again = await create(world, tenant, **wanted)
    assert (again.workspace_id, again.project_id) == (first.workspace_id, first.project_id)
    assert await places(world, tenant) == (2, 2)


@pytest.mark.parametrize(
    ("selectors", "slug", "name"),
    [({"workspace_slug": "a-b"}, "a-b", "a-b"), ({"workspace_name": "A & B"}, "a-b", "A & B")],
)
async def test_slug_or_name_alone(
    world: World, tenant: Tenant, selectors: dict[str, str], slug: str, name: str
) -> None:
    """A slug alone is its own name; a name alone suggests its slug."""
    made = await world.workspaces.get((await create(world, tenant, **selectors)).workspace_id)
    assert (made.slug, made.name) == (slug, name)


async def test_many_at_once_make_one(world: World, tenant: Tenant) -> None:
    """Creates that name the same new workspace at the same time all land in one."""
    made = await asyncio.gather(*(create(world, tenant, workspace_slug="new", project_slug="p") for _ in range(5)))
    assert len({(one.workspace_id, one.project_id) for one in made}) == 1


async def test_by_external_id(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """External ids find what has them; a project's own, where no workspace is named, finds its workspace too."""
    made = await create(world, tenant, external_workspace_id="clinic_123", external_project_id="project_789")
    assert (made.workspace_id, made.project_id) == (clinic.id, site.id)
    made = await create(world, tenant, external_project_id="project_789")
    assert (made.workspace_id, made.project_id) == (clinic.id, site.id)
    made = await create(world, tenant, external_workspace_id="clinic_123")
    assert made.workspace_id == clinic.id


async def test_external_ids_that_nobody_has(world: World, tenant: Tenant, site: Project) -> None:
    """They are kept as attribution, in the default place: a project of another customer is never found by chance."""
    default = await world.workspaces.default(tenant.id)
    made = await create(
        world, tenant, external_workspace_id="clinic_999", external_project_id="project_789", external_user_id="u"
    )
    assert made.workspace_id == default.id
    assert (made.external_workspace_id, made.external_user_id, made.external_project_id) == (
        "clinic_999",
        "u",
        "project_789",
    )


async def test_what_is_not_given_is_inherited(world: World, tenant: Tenant, site: Project) -> None:
    """From the project, then from its workspace; what is given counts."""
    made = await create(world, tenant, project_id=site.id)
    assert (made.external_workspace_id, made.external_user_id, made.external_project_id) == (
        "clinic_123",
        "dr-smith-456",
        "project_789",
    )
    made = await create(world, tenant, project_id=site.id, external_user_id="nurse")
    assert (made.external_workspace_id, made.external_user_id) == ("clinic_123", "nurse")


async def test_selectors_that_agree(world: World, tenant: Tenant, clinic: Workspace) -> None:
    """All that are given name the same workspace; an external id that none has is attribution alone."""
    made = await create(
        world, tenant, workspace_id=clinic.id, workspace_slug=clinic.slug, external_workspace_id="clinic_123"
    )
    assert made.workspace_id == clinic.id
    made = await create(world, tenant, workspace_slug="default", external_workspace_id="nobodys")
    default = await world.workspaces.default(tenant.id)
    assert (made.workspace_id, made.external_workspace_id) == (default.id, "nobodys")
    for contradiction, field in (
        ({"workspace_id": clinic.id, "workspace_slug": "other"}, "workspace_slug"),
        ({"workspace_slug": "default", "external_workspace_id": "clinic_123"}, "external_workspace_id"),
    ):
        problem, fields = await refused(world, tenant, **contradiction)
        assert (problem, set(fields)) == (VALIDATION_FAILED, {field})


async def test_what_can_not_be(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """Ids that mean nothing, contradictions, and slugs that are none; and nothing is left of the attempt."""
    before = await places(world, tenant)
    default = await world.workspaces.default(tenant.id)
    wanted: list[tuple[dict[str, Any], Problem, set[str]]] = [
        ({"workspace_id": new_id()}, WORKSPACE_NOT_FOUND, set()),
        ({"project_id": new_id()}, NOT_FOUND, set()),
        ({"workspace_slug": "new", "project_id": new_id()}, NOT_FOUND, set()),
        ({"workspace_id": default.id, "project_id": site.id}, VALIDATION_FAILED, {"project_id"}),
        ({"workspace_slug": "default", "project_id": site.id}, VALIDATION_FAILED, {"project_id"}),
        (
            {"workspace_slug": "new", "external_workspace_id": "clinic_123"},
            VALIDATION_FAILED,
            {"external_workspace_id"},
        ),
        ({"workspace_slug": "No", "project_slug": "-"}, VALIDATION_FAILED, {"workspace_slug", "project_slug"}),
    ]
    for selectors, problem, fields in wanted:
        got = await refused(world, tenant, **selectors)
        assert (got[0], set(got[1])) == (problem, fields), selectors
    assert await places(world, tenant) == before


async def test_other_tenants_are_not_there(world: World, clinic: Workspace, site: Project) -> None:
    """Another tenant's ids are unknown, its slugs and external ids are free."""
    globex = await world.tenant("Globex")
    assert (await refused(world, globex, workspace_id=clinic.id))[0] is WORKSPACE_NOT_FOUND
    assert (await refused(world, globex, project_id=site.id))[0] is NOT_FOUND
    made = await create(world, globex, workspace_slug=clinic.slug, external_workspace_id="clinic_123")
    assert made.workspace_id != clinic.id
    assert (await world.workspaces.get(made.workspace_id)).tenant_id == globex.id


async def test_within_a_workspace(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """A workspace's key creates there without saying so, may make projects in it, and can name no other place."""
    within = Bounds(workspace_id=clinic.id)
    default = await world.workspaces.default(tenant.id)
    elsewhere = await create(world, tenant)
    for selectors in (
        {},
        {"workspace_id": clinic.id},
        {"workspace_slug": clinic.slug},
        {"external_workspace_id": "clinic_123"},
        {"external_workspace_id": "somebody"},
        {"workspace_name": "Another"},
        {"project_id": site.id},
        {"project_slug": "new"},
    ):
        assert (await create(world, tenant, bounds=within, **selectors)).workspace_id == clinic.id, selectors
    await world.workspaces.create(tenant.id, name="Other", external_workspace_id="other_1")
    before = await places(world, tenant)
    for selectors in (
        {"workspace_id": default.id},
        {"workspace_id": new_id()},
        {"workspace_slug": "default"},
        {"workspace_slug": "brand-new"},
        {"external_workspace_id": "other_1"},
        {"project_id": elsewhere.project_id},
    ):
        assert (await refused(world, tenant, bounds=within, **selectors))[0] is FORBIDDEN, selectors
    assert await places(world, tenant) == before


async def test_within_a_project(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """A project's key creates in that one only, and makes no other."""
    within = Bounds(workspace_id=clinic.id, project_id=site.id)
    other = await world.projects.create(
        tenant.id, name="Other", workspace_id=clinic.id, external_project_id="project_2"
    )
    for selectors in (
        {},
        {"project_id": site.id},
        {"project_slug": site.slug},
        {"external_project_id": "project_789"},
        {"external_project_id": "whatever"},
        {"workspace_slug": clinic.slug},
        {"project_name": "Another"},
    ):
        assert (await create(world, tenant, bounds=within, **selectors)).project_id == site.id, selectors
    before = await places(world, tenant)
    for selectors in (
        {"project_id": other.id},
        {"project_slug": other.slug},
        {"project_slug": "brand-new"},
        {"external_project_id": "project_2"},
        {"workspace_slug": "default"},
    ):
        assert (await refused(world, tenant, bounds=within, **selectors))[0] is FORBIDDEN, selectors
    assert await places(world, tenant) == before


async def test_move_stays_within(world: World, tenant: Tenant, clinic: Workspace, site: Project) -> None:
    """A resource can't be moved out of where its mover must stay."""
    made = await create(world, tenant, project_id=site.id)
    default = await world.workspaces.default(tenant.id)
    with pytest.raises(RouterError, match="forbidden"):
        await world.resources.move(made.id, Ownership(workspace_id=default.id, bounds=Bounds(workspace_id=clinic.id)))
    moved = await world.resources.move(made.id, Ownership(workspace_id=default.id))
    assert moved.workspace_id == default.id

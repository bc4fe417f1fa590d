"""Who stands behind a credential: keys and tokens against a real store."""

from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from router.access.token_verifier import TokenVerifier
from router.api.auth import Credentials
from router.api.principal import PLATFORM, Access, Principal
from router.audit.entry import Actor, ActorType
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.settings import Jwt
from router.tenancy.sessions import Sessions
from tests.support.world import World

pytestmark = pytest.mark.asyncio

SECRET = "a secret of more than thirty-two bytes"
INTERNAL = "internal-token"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def credentials(world: World, clock: ManualClock) -> Credentials:
    return Credentials(
        keys=world.keys,
        tokens=TokenVerifier(Jwt(secret=SECRET), clock),
        tenants=world.tenants,
        workspaces=world.workspaces,
        projects=world.projects,
        sessions=Sessions(world.store, clock),
        internal_token=INTERNAL,
    )


def token(clock: ManualClock, claims: Mapping[str, Any]) -> str:
    return "Bearer " + jwt.encode({"exp": clock.now().timestamp() + 600, "sub": "ada", **claims}, SECRET, "HS256")


async def test_key_of_each_scope(world: World, credentials: Credentials) -> None:
    """A key reaches as far as its scope; a project's key knows its workspace."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    expected = {
        (KeyScope.PLATFORM, None): (Access.PLATFORM, None, None),
        (KeyScope.TENANT, None): (Access.TENANT, None, None),
        (KeyScope.WORKSPACE, workspace.id): (Access.WORKSPACE, workspace.id, None),
        (KeyScope.PROJECT, project.id): (Access.PROJECT, workspace.id, project.id),
    }
    for (scope, scope_id), (reach, workspace_id, project_id) in expected.items():
        key, plain = await world.keys.create(tenant.id, scope=scope, scope_id=scope_id)
        principal = Principal(f"key:{key.id}", reach, tenant.id, workspace_id, project_id)
        assert await credentials.tenant(f"Bearer {plain}") == principal
        assert await credentials.tenant(f"bearer   {plain} ") == principal, "the scheme has no case"


async def test_how_the_audit_log_calls_them(world: World, clock: ManualClock, credentials: Credentials) -> None:
    """A key by its id and name, also where it works for another tenant; a token by its subject; the platform by its token."""
    tenant, other = await world.tenant(), await world.tenant("Globex")
    key, plain = await world.keys.create(tenant.id, scope=KeyScope.PLATFORM, name="deploy bot")
    principal = await credentials.tenant(f"Bearer {plain}")
    assert principal is not None
    named = Actor(type=ActorType.API_KEY, id=key.id, name="deploy bot", scope="platform")
    assert (principal.actor, (await credentials.acting_for(principal, other.slug)).actor) == (named, named)
    holder = await credentials.tenant(token(clock, {"tenant": tenant.id}))
    assert holder is not None
    assert holder.actor == Actor(type=ActorType.JWT, id="ada", scope="tenant")
    assert PLATFORM.actor == Actor(type=ActorType.PLATFORM, id="internal", scope="platform")


async def test_revoked_key(world: World, credentials: Credentials) -> None:
    """A revoked key is no credential from the moment on."""
    key, plain = await world.keys.create((await world.tenant()).id)
    assert await credentials.tenant(f"Bearer {plain}") is not None
    await world.keys.revoke(key.id)
    assert await credentials.tenant(f"Bearer {plain}") is None


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic bXNrOg==",
        "Bearer msk_live_nobody",
        "Bearer é",
        "Bearer a.b.c",
        "Bearer " + "x" * 100_000,
        f"Bearer {INTERNAL}",
    ],
)
async def test_what_is_no_credential(credentials: Credentials, authorization: str) -> None:
    """Anything else is no credential of a tenant, the internal token included."""
    assert await credentials.tenant(authorization) is None


async def test_token_of_each_scope(world: World, credentials: Credentials, clock: ManualClock) -> None:
    """A token names its tenant by id or slug, and reaches as far as its scope says, its tenant by default."""
    tenant = await world.tenant("Acme")
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    expected: list[tuple[dict[str, str], tuple[Access, str | None, str | None]]] = [
        ({"tenant": tenant.id}, (Access.TENANT, None, None)),
        ({"tenant": "acme", "scope": "tenant"}, (Access.TENANT, None, None)),
        ({"tenant": "acme", "scope": "platform"}, (Access.PLATFORM, None, None)),
        ({"tenant": "acme", "scope": f"workspace:{workspace.id}"}, (Access.WORKSPACE, workspace.id, None)),
        ({"tenant": "acme", "scope": f"project:{project.id}"}, (Access.PROJECT, workspace.id, project.id)),
    ]
    for claims, (reach, workspace_id, project_id) in expected:
        found = await credentials.tenant(token(clock, claims))
        assert found is not None
        assert (found.access, found.tenant_id) == (reach, tenant.id)
        assert (found.workspace_id, found.project_id) == (workspace_id, project_id)
        assert len(found.id) <= 100


async def test_tokens_of_others_are_other_principals(
    world: World, credentials: Credentials, clock: ManualClock
) -> None:
    """Subject and scope tell principals apart, so that none is answered with what another one did."""
    await world.tenant("Acme")
    claims: list[dict[str, str]] = [{}, {"sub": "bob"}, {"scope": "platform"}, {"sub": "x" * 10_000}]
    found = [await credentials.tenant(token(clock, {"tenant": "acme", **claim})) for claim in claims]
    assert len({principal.id for principal in found if principal is not None}) == 4


async def test_tokens_for_what_is_not_there(world: World, credentials: Credentials, clock: ManualClock) -> None:
    """A tenant, workspace or project that does not exist, or is another tenant's, makes a token worthless."""
    await world.tenant("Acme")
    foreign = await world.workspace(await world.tenant("Other"), "Theirs")
    project = await world.project(foreign, "Theirs")
    for claims in (
        {"tenant": "nobody"},
        {"tenant": NOBODY},
        {"tenant": "acme", "scope": ""},
        {"tenant": "acme", "scope": "root"},
        {"tenant": "acme", "scope": "workspace"},
        {"tenant": "acme", "scope": "workspace:7"},
        {"tenant": "acme", "scope": f"tenant:{foreign.tenant_id}"},
        {"tenant": "acme", "scope": f"workspace:{NOBODY}"},
        {"tenant": "acme", "scope": f"workspace:{foreign.id}"},
        {"tenant": "acme", "scope": f"project:{project.id}"},
    ):
        assert await credentials.tenant(token(clock, claims)) is None, claims


async def test_internal_token(credentials: Credentials) -> None:
    """The platform is told by its token, whole and exact."""
    assert credentials.internal_is_on
    assert credentials.internal(f"Bearer {INTERNAL}") is PLATFORM
    for wrong in ("", "Bearer ", f"Bearer {INTERNAL}x", f"Bearer {INTERNAL[:-1]}", INTERNAL, "Bearer None"):
        assert credentials.internal(wrong) is None

"""/api-keys: a tenant's keys. A key is shown once, when it is made; only its hash is kept."""

from datetime import datetime
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field

from router.api.endpoint import Call, Paged, Rate, Reply, Resource, endpoint
from router.api.models import UUID, Body, Instant, Moment, Name, Out, Paging
from router.api.principal import Principal, Reach
from router.api.scope import tenant_of
from router.errors import FORBIDDEN, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.tenancy.keys import Key, KeyScope, read_scope
from router.unit import Listing, Window


def _scope(value: str) -> str:
    if read_scope(value) is None:
        raise ValueError("must be tenant, workspace:ID or project:ID")
    return value


ScopeText = Annotated[
    str,
    AfterValidator(_scope),
    Field(
        json_schema_extra={"pattern": f"^(tenant|(workspace|project):{UUID.pattern})$"},
        examples=["workspace:550e8400-e29b-41d4-a716-446655440000"],
    ),
]


class CreateKey(Body):
    """`scope` says how far the key reaches; `scopes` is the same as a list of one."""

    name: Name
    scope: ScopeText | None = None
    scopes: Annotated[list[ScopeText] | None, Field(min_length=1, max_length=1)] = None
    expires_at: Annotated[Moment | None, Field(description="From then on it opens nothing.")] = None

    def wanted(self) -> tuple[KeyScope, str | None]:
        """The scope and the id in it. Raises RouterError VALIDATION_FAILED."""
        texts = {text for text in (self.scope, *(self.scopes or ())) if text is not None} or {"tenant"}
        if len(texts) > 1:
            raise RouterError(VALIDATION_FAILED, fields={"scopes": ["must be the same as scope"]})
        read = read_scope(texts.pop())
        if read is None:
            raise RouterError(VALIDATION_FAILED, fields={"scope": ["is invalid"]})
        return read


class KeyOut(Out):
    """`prefix` is how the key begins, for people who look for it."""

    id: str
    tenant_id: str
    name: str
    prefix: str
    scope: str
    scopes: list[str]
    created_at: Instant
    expires_at: Instant | None
    last_used_at: Instant | None
    revoked_at: Instant | None


class NewKeyOut(KeyOut):
    key: Annotated[str | None, Field(description="The key itself, this once; null where the answer is a replayed one.")]


class Keys(Protocol):
    """The verbs that these endpoints need."""

    async def create(
        self, tenant_id: str, *, scope: KeyScope, scope_id: str | None, name: str, expires_at: datetime | None
    ) -> tuple[Key, str]: ...

    async def get(self, key_id: str) -> Key: ...

    async def list(self, window: Window, *, tenant_id: str | None, without: KeyScope | None) -> Listing[Key]: ...

    async def revoke(self, key_id: str) -> Key: ...


class ApiKeysApi(Resource):
    tag = "API keys"
    prefix = "/api/v1/api-keys"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    @endpoint("GET", "", "List API keys", reach=Reach.TENANT)
    async def list(self, call: Call[None, Paging]) -> Paged[KeyOut]:
        """The oldest first, revoked ones included; never the keys themselves."""
        listing = await self._keys.list(
            call.query.window, tenant_id=tenant_of(call.principal), without=_hidden(call.principal)
        )
        return Paged([KeyOut(**_fields(key)) for key in listing.items], listing.total)

    @endpoint("POST", "", "Create an API key", status=201, reach=Reach.TENANT, rate=Rate.AUTH)
    async def create(self, call: Call[CreateKey]) -> Reply[NewKeyOut]:
        """The answer is the only time that the key is shown. Without a scope it reaches the whole tenant."""
        scope, scope_id = call.body.wanted()
        if scope is KeyScope.PLATFORM and call.principal.reach < Reach.PLATFORM:
            raise RouterError(FORBIDDEN)
        key, plain = await self._keys.create(
            tenant_of(call.principal),
            scope=scope,
            scope_id=scope_id,
            name=call.body.name,
            expires_at=call.body.expires_at,
        )
        fields = _fields(key)
        return Reply(NewKeyOut(**fields, key=plain), kept=NewKeyOut(**fields, key=None))

    @endpoint("GET", "/{id}", "Get an API key", reach=Reach.TENANT)
    async def get(self, call: Call) -> Reply[KeyOut]:
        return Reply(KeyOut(**_fields(await self._reached(call.principal, call.ids["id"]))))

    @endpoint("DELETE", "/{id}", "Revoke an API key", reach=Reach.TENANT)
    async def revoke(self, call: Call) -> Reply[KeyOut]:
        """From now on it opens nothing. Revoking it again changes nothing."""
        await self._reached(call.principal, call.ids["id"])
        return Reply(KeyOut(**_fields(await self._keys.revoke(call.ids["id"]))))

    async def _reached(self, principal: Principal, key_id: str) -> Key:
        key = await self._keys.get(key_id)
        if not principal.covers(key.tenant_id) or key.scope is _hidden(principal):
            raise RouterError(NOT_FOUND, "key not found")
        return key


def _fields(key: Key) -> dict[str, Any]:
    own = ("id", "tenant_id", "name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at")
    return {**{name: getattr(key, name) for name in own}, "scope": key.scope_text, "scopes": [key.scope_text]}


def _hidden(principal: Principal) -> KeyScope | None:
    """The scope of the keys that the caller may not know of: the platform's operators use theirs in any tenant."""
    return KeyScope.PLATFORM if principal.reach < Reach.PLATFORM else None

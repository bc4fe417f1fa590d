"""/api-keys: a tenant's keys. A key is shown once, when it is made; only its hash is kept."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from router.api.authorization import tenant_of
from router.api.models import UUID, Exact, Instant, Moment, Name, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, Rate, operation
from router.api.principal import Access, Principal
from router.base.key_scopes import KeyScope, read_scope
from router.errors import CONFLICT, FORBIDDEN, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.tenancy.keys import Key, Keys


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


class CreateKey(Exact):
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


class PatchKey(Exact):
    """Its scope is what it is: make another key for another scope."""

    name: Name = Field(default_factory=str)


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


class ApiKeysApi(Handlers):
    tag = "API keys"
    prefix = "/api/v1/api-keys"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    @operation("GET", "", "List API keys", access=Access.TENANT)
    async def list(self, call: Call[None, Paging]) -> Paged[KeyOut]:
        """The oldest first, revoked ones included; never the keys themselves."""
        listing = await self._keys.list(
            call.query.window, tenant_id=tenant_of(call.principal), without=_hidden(call.principal)
        )
        return Paged([KeyOut(**_fields(key)) for key in listing.items], listing.total)

    @operation("POST", "", "Create an API key", status=201, access=Access.TENANT, rate=Rate.AUTH)
    async def create(self, call: Call[CreateKey]) -> Data[NewKeyOut]:
        """The answer is the only time that the key is shown. Without a scope it reaches the whole tenant."""
        scope, scope_id = call.body.wanted()
        if scope is KeyScope.PLATFORM and call.principal.access < Access.PLATFORM:
            raise RouterError(FORBIDDEN)
        key, plain = await self._keys.create(
            tenant_of(call.principal),
            scope=scope,
            scope_id=scope_id,
            name=call.body.name,
            expires_at=call.body.expires_at,
        )
        return _once(key, plain)

    @operation("GET", "/{id}", "Get an API key", access=Access.TENANT)
    async def get(self, call: Call) -> Data[KeyOut]:
        return Data(KeyOut(**_fields(await self._authorized(call.principal, call.ids["id"]))))

    @operation("PATCH", "/{id}", "Rename an API key", access=Access.TENANT)
    async def update(self, call: Call[PatchKey]) -> Data[KeyOut]:
        key = await self._authorized(call.principal, call.ids["id"])
        if call.body.name:
            key = await self._keys.rename(key.id, call.body.name)
        return Data(KeyOut(**_fields(key)))

    @operation(
        "POST", "/{id}/rotate", "Make an API key anew", access=Access.TENANT, rate=Rate.AUTH, problems=(CONFLICT,)
    )
    async def rotate(self, call: Call) -> Data[NewKeyOut]:
        """The answer is the only time that the new key is shown. The one before opens nothing from now on."""
        await self._authorized(call.principal, call.ids["id"])
        return _once(*await self._keys.rotate(call.ids["id"]))

    @operation("DELETE", "/{id}", "Revoke an API key", access=Access.TENANT)
    async def revoke(self, call: Call) -> Data[KeyOut]:
        """From now on it opens nothing. Revoking it again changes nothing."""
        await self._authorized(call.principal, call.ids["id"])
        return Data(KeyOut(**_fields(await self._keys.revoke(call.ids["id"]))))

    async def _authorized(self, principal: Principal, key_id: str) -> Key:
        key = await self._keys.get(key_id)
        if not principal.covers(key.tenant_id) or key.scope is _hidden(principal):
            raise RouterError(NOT_FOUND, "key not found")
        return key


def _once(key: Key, plain: str) -> Data[NewKeyOut]:
    fields = _fields(key)
    return Data(NewKeyOut(**fields, key=plain), kept=NewKeyOut(**fields, key=None))


def _fields(key: Key) -> dict[str, Any]:
    own = ("id", "tenant_id", "name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at")
    return {**{name: getattr(key, name) for name in own}, "scope": key.scope_text, "scopes": [key.scope_text]}


def _hidden(principal: Principal) -> KeyScope | None:
    """The scope of the keys that the caller may not know of: the platform's operators use theirs in any tenant."""
    return KeyScope.PLATFORM if principal.access < Access.PLATFORM else None

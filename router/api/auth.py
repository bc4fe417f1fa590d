"""Authentication: the principal of an Authorization header: an API key, a JSON Web Token, the token of somebody who is signed in to the
console, or the platform with its internal token.

A token's tenant, workspace and project must exist: a token outlives what it was made for, and a mutation in the name
of a deleted record would fail only in the store.
"""

import hashlib
import hmac

import structlog

from router import errors
from router.access.token_verifier import TokenVerifier
from router.access.tokens import Claims, InvalidTokenError
from router.api.principal import PLATFORM, Access, Principal
from router.audit.entry import Actor, ActorType
from router.base.key_scopes import KeyScope, read_scope
from router.errors import RouterError
from router.tenancy.keys import Keys
from router.tenancy.logins import ConsoleRole
from router.tenancy.projects import Project, Projects
from router.tenancy.sessions import CONSOLE_PREFIX, Sessions
from router.tenancy.tenants import Tenant, Tenants
from router.tenancy.workspaces import Workspace, Workspaces

_ACCESS = {
    KeyScope.PLATFORM: Access.PLATFORM,
    KeyScope.TENANT: Access.TENANT,
    KeyScope.WORKSPACE: Access.WORKSPACE,
    KeyScope.PROJECT: Access.PROJECT,
}

_log = structlog.get_logger("router.api")


class Credentials:
    """Finds principals by their credentials. `internal` and `tenant` return None for a credential that is not valid."""

    def __init__(
        self,
        *,
        keys: Keys,
        tokens: TokenVerifier,
        tenants: Tenants,
        workspaces: Workspaces,
        projects: Projects,
        sessions: Sessions,
        internal_token: str | None,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._tenants = tenants
        self._workspaces = workspaces
        self._projects = projects
        self._sessions = sessions
        self._internal = _digest(internal_token) if internal_token is not None else None

    @property
    def internal_is_on(self) -> bool:
        """Whether there is an internal token at all."""
        return self._internal is not None

    def internal(self, authorization: str) -> Principal | None:
        """The platform. Compared in constant time, by hash, so that the time does not reveal even the length."""
        presented = _bearer(authorization)
        if presented is None or self._internal is None or not hmac.compare_digest(_digest(presented), self._internal):
            return None
        return PLATFORM

    async def tenant(self, authorization: str) -> Principal | None:
        """The holder of a key or a token. Raises StoreUnavailableError."""
        presented = _bearer(authorization)
        if presented is None:
            return None
        if presented.count(".") == 2:
            return await self._by_token(presented)
        if presented.startswith(CONSOLE_PREFIX):
            return await self._by_session(presented)
        holder = await self._keys.authenticate(presented)
        if holder is None:
            return None
        return Principal(
            id=f"key:{holder.key_id}",
            access=_ACCESS[holder.scope],
            tenant_id=holder.tenant_id,
            workspace_id=holder.workspace_id,
            project_id=holder.project_id,
            actor=Actor(type=ActorType.API_KEY, id=holder.key_id, name=holder.name, scope=holder.scope_text),
        )

    async def acting_for(self, principal: Principal, tenant: str) -> Principal:
        """The principal, working for the tenant with that id or slug, as a client's `with_tenant` asks.

        A key of the platform becomes one of that tenant: it reaches nothing else. Any other key names its own or is
        refused, in the same way whether the other exists. Raises RouterError: FORBIDDEN, TENANT_NOT_FOUND;
        StoreUnavailableError.
        """
        if principal.access < Access.PLATFORM and tenant == principal.tenant_id:
            return principal
        try:
            found = await self._tenants.find(tenant)
        except RouterError as error:
            if error.problem is not errors.NOT_FOUND:
                raise
            found = None
        if principal.access < Access.PLATFORM:
            if found is None or found.id != principal.tenant_id:
                raise RouterError(errors.FORBIDDEN, "X-MIOSA-Tenant names another organization than this key's.")
            return principal
        if found is None:
            raise RouterError(errors.TENANT_NOT_FOUND)
        return Principal(f"{principal.id}@{found.id}", Access.TENANT, found.id, actor=principal.actor)

    async def _by_session(self, token: str) -> Principal | None:
        session = await self._sessions.by_console_token(token)
        if session is None or session.console_role is None:
            return None
        role = session.console_role
        person = Actor(type=ActorType.PERSON, id=session.subject, name=session.email, scope=f"tenant ({role})")
        return Principal(
            f"session:{session.id}",
            Access.TENANT,
            session.tenant_id,
            actor=person,
            only_reads=role is not ConsoleRole.WRITE,
            until=session.expires_at,
        )

    async def _by_token(self, token: str) -> Principal | None:
        try:
            claims = self._tokens.verify(token)
            return await self._holder(claims)
        except InvalidTokenError as error:
            _log.info("token refused", reason=str(error))
            return None

    async def _holder(self, claims: Claims) -> Principal:
        read = read_scope(claims.scope)
        if read is None:
            raise InvalidTokenError("scope is not platform, tenant, workspace:ID or project:ID")
        scope, scope_id = read
        workspace_id = project_id = None
        owner: Tenant | Workspace | Project
        try:
            tenant = await self._tenants.find(claims.tenant)
            if scope is KeyScope.WORKSPACE and scope_id is not None:
                owner = await self._workspaces.get(scope_id)
                workspace_id, tenant_id = owner.id, owner.tenant_id
            elif scope_id is not None:
                owner = await self._projects.get(scope_id)
                workspace_id, project_id, tenant_id = owner.workspace_id, owner.id, owner.tenant_id
            else:
                tenant_id = tenant.id
        except RouterError as error:
            if error.problem is not errors.NOT_FOUND:
                raise
            raise InvalidTokenError(error.message) from None
        if tenant_id != tenant.id:
            raise InvalidTokenError("the scope is another tenant's")
        # Another subject or scope is another principal; hashed, because `sub` may be any text.
        who = hashlib.sha256(f"{claims.scope} {claims.subject}".encode()).hexdigest()[:32]
        actor = Actor(type=ActorType.JWT, id=claims.subject, name=self._tokens.issuer, scope=claims.scope)
        return Principal(f"jwt:{tenant.id}:{who}", _ACCESS[scope], tenant.id, workspace_id, project_id, actor)


def _bearer(authorization: str) -> str | None:
    # The scheme is case-insensitive (RFC 9110 §11.1).
    scheme, _, presented = authorization.partition(" ")
    presented = presented.strip(" ")
    return presented if scheme.lower() == "bearer" and presented and presented.isascii() else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

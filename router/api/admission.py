"""Who calls the API (401), how often (429), and with what access (403)."""

import re
from collections.abc import Mapping
from typing import Protocol

from router import errors
from router.api.operations import Auth, Operation, Rate
from router.api.principal import ANYBODY, Access, Principal
from router.api.rates import RateLimiter
from router.api.request_state import RequestState
from router.api.table import Served
from router.audit.act import Act
from router.audit.entry import MAX_USER_AGENT, Actor, ActorType, Via
from router.audit.safe_fields import cut
from router.errors import RouterError
from router.settings import Rates

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")  # an id or a slug


class Authenticator(Protocol):
    """Finds the principal of a credential."""

    async def tenant(self, authorization: str) -> Principal | None:
        """The principal of an Authorization header with a key or a token; None where it is not valid."""

    async def acting_for(self, principal: Principal, tenant: str) -> Principal:
        """The principal, working for the tenant with that id or slug. Raises RouterError: FORBIDDEN, TENANT_NOT_FOUND."""

    def internal(self, authorization: str) -> Principal | None:
        """The platform, where the header carries the internal token."""

    @property
    def internal_is_on(self) -> bool:
        """Whether there is an internal token at all."""


class Admission:
    """Lets requests in. A mutation becomes an act of the audit log once it is known who makes it: a refused one is one too."""

    def __init__(self, authenticator: Authenticator, limiter: RateLimiter, rates: Rates) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._rates = rates

    @property
    def internal_is_on(self) -> bool:
        """Whether the platform's own operations are served: there is an internal token."""
        return self._authenticator.internal_is_on

    async def admit(self, state: RequestState, served: Served, places: Mapping[str, str]) -> Principal:
        """Who calls: known, within the rate, and with enough access. Raises RouterError."""
        row = served.operation
        principal: Principal | None = ANYBODY
        headers = state.request.headers.getall("Authorization", ())
        if row.auth is Auth.INTERNAL:
            principal = self._authenticator.internal(headers[0]) if len(headers) == 1 else None
        elif row.auth is Auth.KEY:
            principal = await self._authenticator.tenant(headers[0]) if len(headers) == 1 else None
        if principal is None:
            await self.count_visit(state)
            state.headers["WWW-Authenticate"] = "Bearer"
            raise RouterError(errors.UNAUTHORIZED)
        if row.auth is not Auth.INTERNAL and row.rate is not Rate.NONE:
            await self._count(state, *self._bucket(state, principal, row.rate))
        state.act = _act_of(state, principal, served, places)
        named = await self._for_tenant(state, principal, row)
        if named is not principal:
            principal = named
            state.act = _act_of(state, principal, served, places)
        if principal.access < row.access:
            raise RouterError(errors.FORBIDDEN)
        if principal.only_reads and row.mutates and not row.for_readers:
            raise RouterError(errors.FORBIDDEN, "You may only read in the console: your organization's login says so.")
        return principal

    async def still_admits(self, state: RequestState, row: Operation) -> bool:
        """Whether a request's credential still stands for the same principal."""
        now = await self._authenticator.tenant(state.request.headers["Authorization"])
        return now is not None and await self._for_tenant(state, now, row) == state.principal

    async def count_visit(self, state: RequestState) -> None:
        """Count a request without a valid credential against the rate of its address. Raises RouterError: RATE_LIMITED."""
        await self._count(state, f"address:{state.address}", self._rates.anonymous)

    async def _for_tenant(self, state: RequestState, principal: Principal, row: Operation) -> Principal:
        """The principal, working for the tenant that X-MIOSA-Tenant names, where it is there."""
        named = state.request.headers.getall("X-MIOSA-Tenant", ())
        if not named or row.auth is Auth.NONE:
            return principal
        if len(named) > 1 or _TENANT.fullmatch(named[0]) is None or row.auth is Auth.INTERNAL:
            raise RouterError(errors.INVALID_TENANT)
        return await self._authenticator.acting_for(principal, named[0].lower())

    def _bucket(self, state: RequestState, principal: Principal, rate: Rate) -> tuple[str, int]:
        if rate is Rate.AUTH:
            who = state.address if principal is ANYBODY else principal.id
            return f"auth:{who}", self._rates.auth
        if principal is ANYBODY:
            return f"address:{state.address}", self._rates.anonymous
        if rate is Rate.METRICS:
            return f"metrics:{principal.workspace_id or principal.tenant_id}", self._rates.metrics
        return f"owner:{principal.workspace_id or principal.tenant_id}", self._rates.workspace

    async def _count(self, state: RequestState, bucket: str, limit: int) -> None:
        allowance = await self._limiter.take(bucket, limit)
        state.headers.update(allowance.headers())
        if not allowance.allowed:
            raise RouterError(errors.RATE_LIMITED)


def _act_of(state: RequestState, principal: Principal, served: Served, places: Mapping[str, str]) -> Act | None:
    """The act that a request is; None where it only reads."""
    action = served.action
    if action is None:
        return None
    thing = principal.tenant_id if action.of_tenant else places.get(action.id_place or "")
    agent = state.request.headers.get("User-Agent")
    return Act(
        actor=principal.actor or Actor(type=ActorType.SYSTEM, id=principal.id),
        via=Via.API,
        action=action.action,
        resource_id=thing,
        resource_name=places.get(action.name_place or ""),
        tenant_id=principal.tenant_id,
        workspace_id=principal.workspace_id,
        project_id=principal.project_id,
        bound=principal.access < Access.PLATFORM,
        status=served.operation.status,
        address=state.address,
        request_id=cut(state.request_id, 128),
        user_agent=None if agent is None else cut(agent, MAX_USER_AGENT),
    )

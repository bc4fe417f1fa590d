"""What the process that has the store does for visitors of previews, its own and its workers'."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from router.access.ci_tokens import CiVerdict
from router.access.login import HandedOver, LoginRequest, LoginResponse
from router.access.visitors import PasswordCheck
from router.api.rates import SharedCounts
from router.base.clock import Clock
from router.base.secret_box import SecretBox
from router.node.login_flow import LoginFlow
from router.node.password_checks import PasswordChecks
from router.node.services import destinations_of, open_lookup
from router.observe.metrics import Metrics
from router.outbound.ci_tokens import CiTokens
from router.outbound.identity_providers import Providers
from router.outbound.provider_http import ProviderHttp
from router.outbound.sign_in import SignIn
from router.settings import Settings
from router.store import Store
from router.tenancy.hand_overs import HandOvers
from router.tenancy.logins import Logins
from router.tenancy.preview_secrets import PreviewSecrets
from router.tenancy.sessions import Sessions
from router.tenancy.trusted_issuers import TrustedIssuers


class StoreVisitors:
    """access.visitors.Visitors, on an open store."""

    def __init__(
        self, store: Store, clock: Clock, *, login: LoginFlow, ci_tokens: CiTokens, passwords: PasswordChecks
    ) -> None:
        self._secrets = PreviewSecrets(store, clock)
        self._login = login
        self._ci_tokens = ci_tokens
        self._passwords = passwords

    async def use_up(self, secret_id: str) -> bool:
        return await self._secrets.use_up(secret_id)

    async def check_password(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        return await self._passwords.check(secret_id, password, client)

    async def login(self, request: LoginRequest) -> LoginResponse:
        return await self._login.answer(request)

    async def take_hand_over(self, code: str, host: str, binding: str) -> HandedOver | None:
        return await self._login.take_hand_over(code, host, binding)

    async def end_session(self, session_id: str) -> None:
        await self._login.end_session(session_id)

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        return await self._ci_tokens.verify(tenant_id, token)


@asynccontextmanager
async def open_visitors(
    store: Store,
    settings: Settings,
    clock: Clock,
    own_listeners: Collection[tuple[str, int]],
    counts: SharedCounts | None,
    metrics: Metrics,
) -> AsyncIterator[StoreVisitors]:
    """`own_listeners` may still grow: no provider is asked at one of them."""
    box = SecretBox(settings.secret_keys())
    async with open_lookup(settings, clock) as lookup:
        destinations = destinations_of(settings, own_listeners)
        http = ProviderHttp(lookup, destinations, clock)
        providers = Providers(http, clock)
        login = LoginFlow(
            settings=settings,
            clock=clock,
            logins=Logins(store, clock, box=box, destinations=destinations),
            sessions=Sessions(store, clock),
            hand_overs=HandOvers(store, clock),
            sign_in=SignIn(http, providers),
            box=box,
            metrics=metrics,
            counts=counts,
        )
        issuers = TrustedIssuers(store, clock, destinations=destinations)
        ci_tokens = CiTokens(issuers, providers, clock)
        try:
            passwords = PasswordChecks(store, clock, counts)
            yield StoreVisitors(store, clock, login=login, ci_tokens=ci_tokens, passwords=passwords)
        finally:
            await providers.close()

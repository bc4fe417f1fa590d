"""What the login host does in the process that has the store: the steps of `access/login.py`.

What is to be known again between the start and the callback goes along in a cookie of the login host, sealed with the
fleet's key of secrets, so that strangers who start store nothing here. There is one for each sign-in under way, which is
named after its state: several tabs don't disturb each other. It is good for ten minutes, for one callback, for one tenant, and
only as long as that tenant's login is the same. Another node that is given the same cookie once more has the
provider's word alone that a code works once.
"""

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog
from cachetools import TTLCache

from router import errors
from router.access.login import COOKIE_TIME, HandedOver, LoginRequest, LoginResponse, LoginStep, is_binding
from router.access.reserved import ARRIVE, LOGIN
from router.api.rates import RateLimiter, SharedCounts
from router.base.addresses import subscriber
from router.base.clock import Clock
from router.base.secret_box import NoSecretsKeyError, SecretBox, SecretLostError
from router.errors import Problem
from router.observe.metrics import Metrics
from router.outbound.provider_http import ProviderUnavailableError
from router.outbound.sign_in import Client, Proofs, SignIn, SignInFailedError, new_proofs
from router.settings import Settings
from router.tenancy.hand_overs import HandOvers
from router.tenancy.logins import Login, Logins
from router.tenancy.sessions import Session, Sessions

_PURPOSE: Final = "sign-in"
_FLOW: Final = "__Host-miosa-flow-"
_SESSION: Final = "__Host-miosa-session-"  # of one tenant, by its id
_ANEW: Final = "__Host-miosa-anew"  # the provider is to ask who it is, although it knows
_MAX_FLOWS: Final = 4  # that one browser may have under way: a request's head has only so much room
_MAX_USED: Final = 50_000  # sign-ins whose callback has come
_CONCURRENCY: Final = 64  # visitors for whom a provider is asked
_MAX_OF_TENANT: Final = 16  # of them: half of what one worker has under way, however slow a tenant's provider is
_TIME: Final = 9.0  # seconds for one step: a worker waits ten
_PER_MINUTE: Final = 60  # steps of one address
_MAX_SLUG: Final = 80  # characters
_MAX_CODE: Final = 4096  # characters

_RESULTS: Final = {
    errors.LOGIN_FAILED.code: "failed",
    errors.LOGIN_NOT_ALLOWED.code: "not_allowed",
    errors.IDENTITY_PROVIDER_UNAVAILABLE.code: "unavailable",
}

_log = structlog.get_logger("router.login")


class _BusyError(Exception):
    """As many of the tenant's people as may be are under way."""


class LoginFlow:
    """Raises StoreUnavailableError where the store is away."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        logins: Logins,
        sessions: Sessions,
        hand_overs: HandOvers,
        sign_in: SignIn,
        box: SecretBox,
        metrics: Metrics,
        counts: SharedCounts | None = None,
    ) -> None:
        """`counts` are those that all nodes share; without them, or while they can't be had, this node counts alone."""
        self._clock = clock
        self._metrics = metrics
        self._logins = logins
        self._sessions = sessions
        self._hand_overs = hand_overs
        self._sign_in = sign_in
        self._box = box
        self._base = (settings.public_scheme, "" if settings.public_port is None else f":{settings.public_port}")
        self._redirect_uri = settings.redirect_uri
        self._console = settings.console.sign_in
        self._rates = RateLimiter(clock, counts)
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._under_way: Counter[str] = Counter()  # steps, by tenant
        self._used: TTLCache[str, None] = TTLCache(_MAX_USED, COOKIE_TIME, timer=clock.monotonic)

    async def answer(self, request: LoginRequest) -> LoginResponse:
        """One step."""
        allowance = await self._rates.take(f"logins from {subscriber(request.client)}", _PER_MINUTE)
        if not allowance.allowed:
            return _refused(errors.TOO_MANY_LOGINS)
        try:
            async with asyncio.timeout(_TIME):
                if request.step is LoginStep.LOG_OUT:
                    return await self._log_out(request)
                if request.step is LoginStep.CONSOLE:
                    return await self._enter_console(request)
                with self._share(request.tenant_id):
                    async with self._slots:
                        if request.step is LoginStep.START:
                            return await self._start(request)
                        response = await self._finish(request)
            self._metrics.count("logins", _RESULTS.get(response.problem, "ok"))
            return response
        except _BusyError:
            return _refused(errors.OVERLOADED)
        except TimeoutError:
            if request.step is LoginStep.CALLBACK:
                self._metrics.count("logins", "unavailable")
            _log.warning("login took too long", step=request.step, tenant=request.tenant_id)
            return _refused(errors.IDENTITY_PROVIDER_UNAVAILABLE)

    async def take_hand_over(self, code: str, host: str, binding: str) -> HandedOver | None:
        """The session that a code is for, at its host and for its browser; once."""
        session = await self._hand_overs.take(code, host=host, binding=binding)
        if session is None or session.console_role is not None:
            return None
        return HandedOver(session.id, session.tenant_id, session.expires_at.timestamp())

    async def end_session(self, session_id: str) -> None:
        """Everywhere."""
        await self._sessions.end(session_id)

    @contextmanager
    def _share(self, tenant_id: str) -> Iterator[None]:
        """A place among those of one tenant. Raises _BusyError."""
        if self._under_way[tenant_id] >= _MAX_OF_TENANT:
            raise _BusyError
        self._under_way[tenant_id] += 1
        try:
            yield
        finally:
            self._under_way[tenant_id] -= 1
            if not self._under_way[tenant_id]:
                del self._under_way[tenant_id]

    async def _start(self, request: LoginRequest) -> LoginResponse:
        host, path, binding = (request.parameters[name] for name in ("host", "next", "binding"))
        secret = request.cookies.get(_SESSION + request.tenant_id, "")
        session = await self._sessions.by_secret(secret) if secret else None
        if session is not None and session.tenant_id == request.tenant_id:
            return await self._hand_over(session, host, path, binding, ())
        login = await self._logins.find(request.tenant_id)
        if login is None:
            return _refused(errors.LOGIN_FAILED)
        return await self._to_provider(login, request.cookies, {"host": host, "next": path, "binding": binding})

    async def _enter_console(self, request: LoginRequest) -> LoginResponse:
        """Always by the provider, whoever has a session already: it says anew in which groups they are. An organization that does not
        exist is refused as one is whose people may not."""
        slug, binding = (request.parameters.get(name, "") for name in ("organization", "binding"))
        if self._console is None or not 0 < len(slug) <= _MAX_SLUG or not is_binding(binding):
            return _refused(errors.LOGIN_FAILED)
        login = await self._logins.for_console(slug.lower())
        if login is None:
            return _refused(errors.LOGIN_FAILED)
        with self._share(login.tenant_id):
            async with self._slots:
                flow = {"host": self._console, "next": slug, "binding": binding, "console": True}
                return await self._to_provider(login, request.cookies, flow)

    async def _to_provider(
        self, login: Login, cookies: Mapping[str, str], wanted: Mapping[str, object]
    ) -> LoginResponse:
        """Send a browser there. `wanted` is what becomes of it afterwards."""
        client = self._client(login)
        if client is None:
            return _refused(errors.LOGIN_FAILED)
        proofs = new_proofs()
        try:
            location = await self._sign_in.begin(client, proofs, anew=_ANEW in cookies)
        except ProviderUnavailableError as error:
            _log_unavailable(login, error)
            return _refused(errors.IDENTITY_PROVIDER_UNAVAILABLE)
        flow = {
            "state": proofs.state,
            "nonce": proofs.nonce,
            "verifier": proofs.verifier,
            **wanted,
            "tenant": login.tenant_id,
            "login": login.id,
            "until": self._clock.now().timestamp() + COOKIE_TIME,
        }
        try:
            sealed = self._box.seal(json.dumps(flow), purpose=_PURPOSE)
        except NoSecretsKeyError:
            _log.error("no key to seal a login with", tenant=login.tenant_id)
            return _refused(errors.IDENTITY_PROVIDER_UNAVAILABLE)
        kept = _set(_flow_name(proofs.state), sealed, COOKIE_TIME)
        return LoginResponse(location=location, cookies=(kept, *self._too_many(cookies)))

    async def _finish(self, request: LoginRequest) -> LoginResponse:
        given = request.parameters
        state = given.get("state", "")
        name = _flow_name(state)
        flow = self._open(request.cookies.get(name, ""))
        over = _clear(name)
        if flow is None or not hmac.compare_digest(flow["state"].encode(), state.encode("utf-8", "replace")):
            return _refused(errors.LOGIN_FAILED)
        if flow["tenant"] != request.tenant_id:  # the code is of another tenant's provider, and not for this one's eyes
            return _refused(errors.LOGIN_FAILED, over)
        if self._clock.now().timestamp() >= flow["until"] or name in self._used:
            return _refused(errors.LOGIN_FAILED, over)
        self._used[name] = None
        console = flow.get("console") is True
        if console and flow["host"] != self._console:  # which has moved meanwhile
            return _refused(errors.LOGIN_FAILED, over)
        back = (
            f"{self._console}/console/?{urlencode({'organization': flow['next']}, quote_via=quote)}"
            if console
            else f"{self._url(flow['host'])}{LOGIN.decode('ascii')}?{urlencode({'next': flow['next']}, quote_via=quote)}"
        )

        def again(problem: Problem, *cookies: str) -> LoginResponse:
            return LoginResponse(problem=problem.code, location=back, cookies=(over, *cookies))

        login = await self._logins.find(flow["tenant"])
        client = None if login is None or login.id != flow["login"] else self._client(login)
        if login is None or client is None:
            return again(errors.LOGIN_FAILED)
        code = given.get("code", "")
        if "error" in given or not 0 < len(code) <= _MAX_CODE:
            _log.info("login failed", tenant=login.tenant_id, why=_error_word(given))
            return again(errors.LOGIN_FAILED)
        proofs = Proofs(state=flow["state"], nonce=flow["nonce"], verifier=flow["verifier"])
        try:
            identity = await self._sign_in.finish(client, proofs, code, issuer=given.get("iss"))
        except SignInFailedError as error:
            _log.info("login failed", tenant=login.tenant_id, why=str(error))
            return again(errors.LOGIN_FAILED)
        except ProviderUnavailableError as error:
            _log_unavailable(login, error)
            return again(errors.IDENTITY_PROVIDER_UNAVAILABLE)
        role = login.role_of(identity.email, identity.groups) if console else None
        if not login.admits(identity.email, identity.groups) or (console and role is None):
            _log.info("login not allowed", tenant=login.tenant_id, verified=identity.email is not None, console=console)
            return again(errors.LOGIN_NOT_ALLOWED, _set(_ANEW, "1", COOKIE_TIME))
        started = await self._sessions.start(
            login, subject=identity.subject, email=identity.email, groups=identity.groups, console_role=role
        )
        if started is None:
            return again(errors.LOGIN_FAILED)
        session, secret = started
        if console:
            handed = await self._hand_overs.make(session, host=flow["host"], binding=flow["binding"])
            return LoginResponse(location=f"{self._console}/console/#code={handed}", cookies=(over, _clear(_ANEW)))
        left = int((session.expires_at - self._clock.now()).total_seconds())
        cookies = (over, _clear(_ANEW), _set(_SESSION + login.tenant_id, secret, left))
        return await self._hand_over(session, flow["host"], flow["next"], flow["binding"], cookies)

    async def _log_out(self, request: LoginRequest) -> LoginResponse:
        """End the sessions of this browser, of all tenants. Whoever signs in next is asked who they are."""
        names = [name for name in request.cookies if name.startswith(_SESSION)]
        for name in names:
            session = await self._sessions.by_secret(request.cookies[name])
            if session is not None:
                await self._sessions.end(session.id)
        return LoginResponse(cookies=(*map(_clear, names), _set(_ANEW, "1", COOKIE_TIME)))

    async def _hand_over(
        self, session: Session, host: str, path: str, binding: str, cookies: tuple[str, ...]
    ) -> LoginResponse:
        code = await self._hand_overs.make(session, host=host, binding=binding)
        query = urlencode({"code": code, "next": path}, quote_via=quote)
        return LoginResponse(location=f"{self._url(host)}{ARRIVE.decode('ascii')}?{query}", cookies=cookies)

    def _client(self, login: Login) -> Client | None:
        """None where its secret can't be opened."""
        try:
            secret = self._logins.open(login)
        except SecretLostError as error:
            _log.error("the secret of a login can't be opened", tenant=login.tenant_id, why=str(error))
            return None
        return Client(
            issuer=login.issuer,
            client_id=login.client_id,
            secret=secret,
            groups_claim=login.groups_claim if login.groups or login.console_groups else "",
            redirect_uri=self._redirect_uri(login.tenant_id),
        )

    def _open(self, sealed: str) -> dict[str, Any] | None:
        """What a cookie of ours says about a sign-in under way; None where it is none of ours."""
        try:
            flow = json.loads(self._box.open(sealed, purpose=_PURPOSE))
        except (SecretLostError, ValueError):
            return None
        return flow if isinstance(flow, dict) else None

    def _too_many(self, cookies: Mapping[str, str]) -> tuple[str, ...]:
        """Clears the oldest sign-ins under way of a browser, so that it has at most `_MAX_FLOWS` with one more."""
        until: dict[str, float] = {}
        for name, value in cookies.items():
            if name.startswith(_FLOW):
                flow = self._open(value)
                until[name] = 0.0 if flow is None else flow["until"]
        ended = sorted(until, key=until.__getitem__)[: max(0, len(until) - _MAX_FLOWS + 1)]
        return tuple(map(_clear, ended))

    def _url(self, host: str) -> str:
        scheme, port = self._base
        return f"{scheme}://{host}{port}"


def _flow_name(state: str) -> str:
    return _FLOW + hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:16]


def _set(name: str, value: str, seconds: int) -> str:
    """`Lax`: providers send browsers here by a link, and no page of others may send them with it by a form."""
    return f"{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"


def _clear(name: str) -> str:
    return _set(name, "", 0)


def _refused(problem: Problem, *cookies: str) -> LoginResponse:
    return LoginResponse(problem=problem.reason or problem.code, cookies=cookies)


def _log_unavailable(login: Login, error: ProviderUnavailableError) -> None:
    _log.warning("identity provider unavailable", tenant=login.tenant_id, issuer=login.issuer, why=str(error))


def _error_word(given: Mapping[str, str]) -> str:
    """Why a callback has no code that counts, for the log; of what it says only words that are known."""
    word = given.get("error", "no code")
    known = ("access_denied", "login_required", "consent_required", "invalid_scope", "server_error", "no code")
    return word if word in known else "the provider said that it failed"

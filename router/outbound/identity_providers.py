"""Identity providers (OpenID Connect Discovery 1.0): what they say of themselves, their keys, and the tokens they sign.

    metadata(issuer)                  where its endpoints are
    verify(issuer, token, audiences)  what a token says that it has signed for one of these audiences

What was fetched is used for as long as the provider allows, within `_FRESHNESS`. One fetch at a time goes to an issuer, a
failed one is remembered for some seconds, and a token with an unknown key has the keys fetched again once a minute at most: so
nobody makes us ask a provider often. While a provider is down its last keys are used for an hour longer, since what they
signed does not become wrong; after that, and at once where it answers something that must not be believed, nothing
is accepted. All of it is remembered for a bounded number of issuers.

Only the control process has one: workers ask it.
"""

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import structlog
from cachetools import LRUCache, TTLCache

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.outbound.provider_http import ProviderHttp, ProviderResponse, ProviderUnavailableError
from router.outbound.provider_keys import ALGORITHMS, ProviderKey, key_for, read_keys

LEEWAY: Final = 60.0  # seconds that a provider's clock may differ from ours
RETRY_AFTER: Final = 10.0  # seconds for which a failed fetch is remembered
_FRESHNESS: Final = (300.0, 3600.0)  # seconds: the shortest and the longest that keys are used without asking again
_OUTAGE: Final = 3600.0  # seconds that they are used beyond that while the provider is down
_UNKNOWN_KEY: Final = 60.0  # seconds between two fetches for keys that we don't know
_MAX_ISSUERS: Final = 256
_MAX_FETCHES: Final = 16  # at once
_FETCH_TIME: Final = 7.0  # seconds for the two requests of a fetch, and the wait for its turn
_MAX_TOKEN: Final = 16 * 1024
_LATEST: Final = 253_402_300_799  # the last second of the year 9999
_DISCOVERY: Final = "/.well-known/openid-configuration"
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.IGNORECASE)
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint")
_MAX_METHODS: Final = 20

_log = structlog.get_logger("router.outbound")


class WrongTokenError(Exception):
    """A token that the provider has not signed for us, or that is not valid now. `str()` says why, for the log."""


class ExpiredIdentityTokenError(WrongTokenError):
    """A token that was good until it expired. `claims` are what it said."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        super().__init__("expired")
        self.claims = claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a provider says of itself. `endpoints` has those of the four known ones that it names, by their names in the
    discovery document; each is a URL that may be visited. `token_auth_methods` is empty where it says nothing.
    `names_itself`: it says in each response to a browser who it is (RFC 9207)."""

    issuer: str
    endpoints: Mapping[str, str]
    token_auth_methods: tuple[str, ...]
    names_itself: bool


class _Provider:
    """What was fetched of one provider; times are of the monotonic clock."""

    __slots__ = ("fetched_at", "fresh_until", "keys", "metadata")

    def __init__(
        self, metadata: Metadata, keys: tuple[ProviderKey, ...], fetched_at: float, fresh_until: float
    ) -> None:
        self.metadata = metadata
        self.keys = keys
        self.fetched_at = fetched_at
        self.fresh_until = fresh_until


class Providers:
    """See the module. Close it when nobody asks any more."""

    def __init__(self, http: ProviderHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._tasks = Tasks("identity providers")
        self._slots = asyncio.Semaphore(_MAX_FETCHES)
        self._known: LRUCache[str, _Provider] = LRUCache(_MAX_ISSUERS)
        self._failed: TTLCache[str, ProviderUnavailableError] = TTLCache(
            _MAX_ISSUERS, ttl=RETRY_AFTER, timer=clock.monotonic
        )
        self._fetches: dict[str, asyncio.Task[_Provider | ProviderUnavailableError]] = {}

    async def close(self) -> None:
        """End the fetches under way."""
        await self._tasks.close()

    async def metadata(self, issuer: str) -> Metadata:
        """Raises ProviderUnavailableError."""
        return (await self._provider(issuer)).metadata

    async def verify(self, issuer: str, token: str, audiences: Collection[str]) -> Mapping[str, Any]:
        """The claims of a token that the issuer has signed for one of the audiences, and that is valid now.

        Raises WrongTokenError, as ExpiredIdentityTokenError where it was valid once, and ProviderUnavailableError.
        """
        header = _header(token)
        key = await self._key(issuer, header.get("kid"), header["alg"])
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                issuer=issuer,
                audience=list(audiences),
                # Times are compared below, by our clock.
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise WrongTokenError(str(error)) from None
        now = self._clock.now().timestamp()
        for claim in ("nbf", "iat"):
            if claim in claims and now < instant(claims, claim) - LEEWAY:
                raise WrongTokenError(f"{claim} lies ahead")
        if now >= instant(claims, "exp") + LEEWAY:
            raise ExpiredIdentityTokenError(claims)
        return claims

    async def _key(self, issuer: str, kid: str | None, algorithm: str) -> ProviderKey:
        provider = await self._provider(issuer)
        key = key_for(provider.keys, kid, algorithm)
        if key is None and self._clock.monotonic() >= provider.fetched_at + _UNKNOWN_KEY:
            provider = await self._fetched(issuer)
            key = key_for(provider.keys, kid, algorithm)
        if key is None:
            raise WrongTokenError("no key of the provider is for it")
        return key

    async def _provider(self, issuer: str) -> _Provider:
        known = self._known.get(issuer)
        if known is not None and self._clock.monotonic() < known.fresh_until:
            return known
        try:
            return await self._fetched(issuer)
        except ProviderUnavailableError as error:
            if known is None or error.lies or self._clock.monotonic() >= known.fresh_until + _OUTAGE:
                raise
            return known

    async def _fetched(self, issuer: str) -> _Provider:
        """From the provider, unless that failed a moment ago."""
        failed = self._failed.get(issuer)
        if failed is not None:
            raise ProviderUnavailableError(str(failed), lies=failed.lies)
        fetch = self._fetches.get(issuer)
        if fetch is None:
            fetch = self._fetches[issuer] = self._tasks.start("ask a provider", self._fetch(issuer))
        result = await asyncio.shield(fetch)  # who waits may go away while others still wait
        if isinstance(result, ProviderUnavailableError):
            raise ProviderUnavailableError(str(result), lies=result.lies)
        return result

    async def _fetch(self, issuer: str) -> _Provider | ProviderUnavailableError:
        try:
            async with asyncio.timeout(_FETCH_TIME), self._slots:
                provider = await self._ask(issuer)
        except TimeoutError:
            return self._note_failure(issuer, ProviderUnavailableError(f"it gave no answer within {_FETCH_TIME:g} s"))
        except ProviderUnavailableError as error:
            return self._note_failure(issuer, error)
        finally:
            del self._fetches[issuer]
        self._failed.pop(issuer, None)
        self._known[issuer] = provider
        return provider

    def _note_failure(self, issuer: str, error: ProviderUnavailableError) -> ProviderUnavailableError:
        _log.warning("identity provider can't be used", issuer=issuer, reason=str(error))
        self._failed[issuer] = error
        return error

    async def _ask(self, issuer: str) -> _Provider:
        document = _object(await self._http.get(issuer.rstrip("/") + _DISCOVERY), "discovery document")
        # One that speaks for another issuer would have its keys believed for the other's tokens.
        if document.get("issuer") != issuer:
            raise ProviderUnavailableError("its discovery document is of another issuer", lies=True)
        keys_url = document.get("jwks_uri")
        if not isinstance(keys_url, str):
            raise ProviderUnavailableError("its discovery document names no jwks_uri", lies=True)
        response = await self._http.get(keys_url)
        keys = read_keys(_object(response, "key set"))
        if keys is None:
            raise ProviderUnavailableError("its key set can't be used", lies=True)
        now = self._clock.monotonic()
        return _Provider(self._metadata(issuer, document), keys, now, now + _freshness(response))

    def _metadata(self, issuer: str, document: Mapping[str, Any]) -> Metadata:
        endpoints = {}
        for name in _ENDPOINTS:
            url = document.get(name)
            if isinstance(url, str) and self._http.refusal_of(url) is None:
                endpoints[name] = url
        methods = document.get("token_endpoint_auth_methods_supported")
        known = methods[:_MAX_METHODS] if isinstance(methods, list) else []
        return Metadata(
            issuer=issuer,
            endpoints=endpoints,
            token_auth_methods=tuple(one for one in known if isinstance(one, str)),
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )


def instant(claims: Mapping[str, Any], claim: str) -> float:
    """A time that a token states, in seconds of the epoch. Raises WrongTokenError."""
    value = claims.get(claim)
    # Python's JSON reads NaN and Infinity, and every comparison with NaN is false: such a token would never expire.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise WrongTokenError(f"{claim} is not a time")
    return float(value)


def _header(token: str) -> dict[str, Any]:
    """Of what it says only the algorithm and the key's name count: never where a key is to be had, or the key itself."""
    if len(token) > _MAX_TOKEN:
        raise WrongTokenError("too long")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError, ValueError) as error:
        raise WrongTokenError(str(error)) from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise WrongTokenError("an algorithm that is not accepted")
    if not isinstance(header.get("kid"), str | None):
        raise WrongTokenError("kid is not a text")
    if "crit" in header or "b64" in header:
        raise WrongTokenError("it asks for what we don't know")
    return header


def _object(response: ProviderResponse, what: str) -> Mapping[str, Any]:
    """A response's JSON object. Raises ProviderUnavailableError."""
    if response.status != 200:
        raise ProviderUnavailableError(f"it answered with status {response.status} instead of its {what}")
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProviderUnavailableError(f"its {what} is not a JSON object", lies=True)
    return document


def _freshness(response: ProviderResponse) -> float:
    """How long keys may be used, in seconds; the shortest time where the provider says nothing."""
    shortest, longest = _FRESHNESS
    stated = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    return shortest if stated is None else min(max(float(stated[1]), shortest), longest)

"""Puts together what a worker knows of the keys that visitors bring."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from router.access.tokens import VerifiedTokens
from router.access.visitors import Visitors
from router.base.clock import Clock
from router.proxy.identity import IdentityKeys
from router.proxy.record_cache import RecordCache
from router.proxy.secret_uses import SecretUses
from router.proxy.signing_key_cache import SigningKeyCache
from router.proxy.worker_keys import WorkerKeys
from router.routes.batches import RecordSource
from router.routes.records import (
    COOKIES,
    IDENTITY,
    KeyRecord,
    SessionRecord,
    SigningKeysRecord,
    api_key_key,
    session_key,
)
from router.settings import Jwt, Settings

if TYPE_CHECKING:
    from router.access.identity_signer import IdentitySigner


def open_keys(source: RecordSource, settings: Settings, clock: Clock, *, visitors: Visitors) -> WorkerKeys:
    """As the settings say. Raises SettingsError for keys of JSON Web Tokens that cannot be used."""
    limits = settings.cache
    return WorkerKeys(
        api_keys=RecordCache(source, KeyRecord, prefix=api_key_key(""), limits=limits, clock=clock),
        sessions=RecordCache(source, SessionRecord, prefix=session_key(""), limits=limits, clock=clock),
        signing_keys=SigningKeyCache(source, COOKIES, limits=limits, clock=clock),
        identity_keys=IdentityKeys(
            SigningKeyCache(source, IDENTITY, limits=limits, clock=clock),
            partial(_load_signer, _issuer(settings)),
        ),
        tokens=_tokens(settings.jwt, clock),
        uses=SecretUses(clock),
        visitors=visitors,
        clock=clock,
    )


def _tokens(jwt: Jwt, clock: Clock) -> VerifiedTokens | None:
    if jwt.secret is None and jwt.jwks_file is None:
        return None
    from router.access.token_verifier import TokenVerifier  # noqa: PLC0415 - its libraries take 14 MB in each worker

    return VerifiedTokens(TokenVerifier(jwt, clock).verify, clock)


def _issuer(settings: Settings) -> str:
    return (settings.identity_issuer or f"https://{settings.platform_domain}").rstrip("/")


def _load_signer(issuer: str) -> "Callable[[SigningKeysRecord], IdentitySigner]":
    from router.access.identity_signer import IdentitySigner  # noqa: PLC0415 - as above

    return partial(IdentitySigner, issuer=issuer)

"""JSON Web Tokens as credentials of the API, and of previews that are not public (RFC 7519, with RFC 8725's advice).

The algorithm is decided by our key, never by the token: a shared secret verifies HS256 only, a public key of the JWKS
file RS256 or ES256 as its type says. Claims: `exp` and `tenant` are required, `iss` and `aud` where the settings name
them, `scope` says how far it reaches, in the words of `keys create --scope`:

    platform | tenant | workspace:<id> | project:<id>        absent: tenant

Times are compared by our clock with a leeway of 30 seconds, so that tests can move it.
"""

import json
from pathlib import Path
from typing import Any

import jwt

from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError, InvalidTokenError
from router.base.clock import Clock
from router.base.text import is_storable
from router.settings import Jwt, SettingsError

LEEWAY = 30.0  # seconds
_MAX_TOKEN = 16 * 1024
_LATEST = 253_402_300_799  # the last second of the year 9999
_PUBLIC_KEY_ALGORITHMS = frozenset({"RS256", "ES256"})


class TokenVerifier:
    """Verifies tokens with the keys that the settings name. Raises SettingsError for keys that cannot be used."""

    def __init__(self, settings: Jwt, clock: Clock) -> None:
        self._issuer = settings.issuer
        self._audience = settings.audience
        self._clock = clock
        self._secret = settings.secret.get_secret_value() if settings.secret else None
        self._keys = _load(settings.jwks_file) if settings.jwks_file else []

    @property
    def issuer(self) -> str | None:
        """Who has issued each token that is valid, where the settings say it."""
        return self._issuer

    def verify(self, token: str) -> Claims:
        """The claims of a valid token. Raises InvalidTokenError."""
        if len(token) > _MAX_TOKEN:
            raise InvalidTokenError("too long")
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = self._key(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                         "verify_aud": self._audience is not None, "verify_iss": self._issuer is not None},
            )  # fmt: skip
        except (jwt.PyJWTError, RecursionError) as error:  # the header is read before the signature, however deep it is
            raise InvalidTokenError(str(error)) from None
        now = self._clock.now().timestamp()
        for claim in ("nbf", "iat"):
            if claim in claims and now < _instant(claims, claim) - LEEWAY:
                raise EarlyTokenError("not valid yet")
        accepted = Claims(
            subject=_text(claims, "sub", ""),
            tenant=_text(claims, "tenant", None),
            scope=_text(claims, "scope", "tenant"),
            until=_instant(claims, "exp") + LEEWAY,
        )
        if now >= accepted.until:
            raise ExpiredTokenError(accepted)
        return accepted

    def _key(self, header: dict[str, Any]) -> tuple[Any, str]:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret is not None:
            return self._secret, "HS256"
        wanted = header.get("kid")
        fitting = [
            key for key in self._keys if key.algorithm_name == algorithm and (wanted is None or key.key_id == wanted)
        ]
        if len(fitting) != 1:
            raise InvalidTokenError("no key for this algorithm and kid" if not fitting else "kid is needed")
        return fitting[0].key, str(algorithm)


def _instant(claims: dict[str, Any], claim: str) -> float:
    value = claims[claim]
    # Python's JSON reads NaN and Infinity, and every comparison with NaN is false: such a token would never expire.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise InvalidTokenError(f"{claim} is not a time")
    return float(value)


def _text(claims: dict[str, Any], claim: str, default: str | None) -> str:
    value = claims.get(claim, default)
    if not isinstance(value, str) or not is_storable(value) or (default is None and not value):
        raise InvalidTokenError(f"{claim} is missing or not a text")
    return value


def _load(file: Path) -> list[jwt.PyJWK]:
    name = "jwt.jwks_file"
    try:
        items = json.loads(file.read_text(encoding="utf-8"))["keys"]
        if any("d" in item for item in items):
            raise SettingsError([(name, f"{file} has a private key; it needs the public ones only")])
        keys = [jwt.PyJWK.from_dict(item) for item in items if item.get("use", "sig") == "sig"]
    except OSError as error:
        raise SettingsError([(name, f"{file} cannot be read: {error.strerror}")]) from error
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise SettingsError([(name, f"{file} is not a JWKS: {error}")]) from error
    usable = [key for key in keys if key.algorithm_name in _PUBLIC_KEY_ALGORITHMS]
    if not usable:
        raise SettingsError([(name, f"{file} has no key for RS256 or ES256")])
    return usable

"""The public keys of an identity provider, out of its key set (RFC 7517), and which of them verifies a token.

A key says itself what it may verify, by its type: a token's algorithm only chooses among the keys that are for it. So no
token can have a public key taken for a shared secret, and `none` is no algorithm here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ALGORITHMS: Final = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
MAX_KEYS: Final = 50  # of one provider
_MAX_KID: Final = 255
_RSA_BITS: Final = range(2048, 8192 + 1)  # weaker ones are no proof, larger ones take too long

# By `kty` and `crv`: how a key is read, and what it may verify.
_KINDS: Final[Mapping[tuple[str, str | None], tuple[Any, frozenset[str]]]] = {
    ("RSA", None): (RSAAlgorithm, frozenset({"RS256", "PS256"})),
    ("EC", "P-256"): (ECAlgorithm, frozenset({"ES256"})),
    ("OKP", "Ed25519"): (OKPAlgorithm, frozenset({"EdDSA"})),
}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One public key. `kid` None where it has no name."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


def read_keys(document: Any) -> tuple[ProviderKey, ...] | None:
    """The keys of a key set that verify tokens: those of other kinds are passed over. None where it is no key set, or has
    more than `MAX_KEYS`."""
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list) or len(items) > MAX_KEYS:
        return None
    return tuple(key for key in map(_read, items) if key is not None)


def key_for(keys: Sequence[ProviderKey], kid: str | None, algorithm: str) -> ProviderKey | None:
    """The key that has to verify a token with this header; None where there is none, or several could."""
    fitting = [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None


def _read(item: Any) -> ProviderKey | None:
    """None where it is not for verifying tokens. A private key in public is one that anybody signs with."""
    if not isinstance(item, dict) or "d" in item or item.get("use", "sig") != "sig":
        return None
    operations = item.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    kty, crv, kid = item.get("kty"), item.get("crv"), item.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= _MAX_KID):
        return None
    if not isinstance(kty, str) or not isinstance(crv, str | None):
        return None
    kind = _KINDS.get((kty, crv if kty != "RSA" else None))
    if kind is None:
        return None
    reader, algorithms = kind
    stated = item.get("alg")
    if stated is not None:
        algorithms = algorithms & {stated} if isinstance(stated, str) else frozenset()
    if not algorithms:
        return None
    try:
        key = reader.from_jwk(item)
    except (jwt.PyJWTError, ValueError, TypeError, LookupError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
        return None
    return ProviderKey(kid, algorithms, key)

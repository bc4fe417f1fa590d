"""Signs who visitors are, with the fleet's keys of that purpose, whose public halves anybody may read.

This module is apart because `router/base/es256.py` takes memory in every worker, which only those need that have a preview
whose program is told.
"""

import json
from collections.abc import Mapping
from typing import Any

from router.access.cookies import current_key
from router.base.es256 import PrivateKey, encoded
from router.routes.records import SigningKeysRecord


class IdentitySigner:
    """Signs with those keys. `issuer` is that of the edge, which the claims name."""

    def __init__(self, keys: SigningKeysRecord, issuer: str) -> None:
        self.keys = keys
        self.issuer = issuer
        self._private: dict[str, PrivateKey] = {}

    def sign(self, claims: Mapping[str, Any], now: float) -> bytes | None:
        """A JSON Web Token of these claims; None where every key is too old to sign one."""
        key = current_key(self.keys, now)
        if key is None:
            return None
        private = self._private.get(key.id)
        if private is None:
            private = self._private[key.id] = PrivateKey(key.secret)
        signed = _json({"alg": "ES256", "kid": key.id, "typ": "JWT"}) + b"." + _json(claims)
        return signed + b"." + encoded(private.sign(signed))


def _json(value: Mapping[str, Any]) -> bytes:
    return encoded(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))

"""The public keys with which programs verify `X-Miosa-Identity`: a JWK Set (RFC 7517), for anybody."""

from typing import Final

from router.api.models import Out
from router.api.operations import Auth, Bare, Call, Handlers, Rate, operation
from router.base.clock import Clock
from router.base.es256 import PrivateKey
from router.tenancy.signing_keys import SigningKeys

MAX_AGE: Final = 300  # seconds for which programs and caches may keep them: a new key is there a day before it signs
# Seconds: whoever asks a thousand times makes us read them once. Where they can't be read after that the answer is 503: programs
# go on with those that they have, and are never told that there are none.
_REMEMBERED: Final = 5.0


class JwkOut(Out):
    """The public half of one key."""

    kty: str
    crv: str
    x: str
    y: str
    use: str
    alg: str
    kid: str


class JwkSetOut(Out):
    keys: list[JwkOut]


class IdentityKeysApi(Handlers):
    tag = "Identity"
    prefix = "/.well-known"
    auth = Auth.NONE

    def __init__(self, signing_keys: SigningKeys, clock: Clock) -> None:
        self._signing_keys = signing_keys
        self._now = clock.monotonic
        self._keys = JwkSetOut(keys=[])
        self._read_again = 0.0

    @operation("GET", "/jwks.json", "List the keys that sign X-Miosa-Identity", rate=Rate.NONE, max_age=MAX_AGE)
    async def list(self, call: Call) -> Bare[JwkSetOut]:  # noqa: ARG002 - every caller gets the same
        """Programs verify the header with them: ES256, by the `kid` of the token. A new key is listed a day before it signs, and
        as long as anything that it has signed is valid. A program that meets a `kid` that it does not know reads them again.
        """
        now = self._now()
        if now >= self._read_again:
            found = [PrivateKey(key.secret).public_jwk(key.id) for key in await self._signing_keys.public()]
            self._keys = JwkSetOut(keys=[JwkOut(**key) for key in found])
            self._read_again = now + _REMEMBERED
        return Bare(self._keys)

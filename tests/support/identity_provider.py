"""An identity provider of our own, over real HTTP on loopback: it can be slow, down, too talkative, or lie."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.backends import Backend, Visit

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: PrivateKey, **more: Any) -> dict[str, Any]:
    """The public half, as a key set has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
    return {**jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}


class IdentityProvider:
    """Serves a discovery document and a key set while it is entered. `host` is the name that it is known by, or the address of
    loopback at which it listens.

    `jwks` are its published keys, `document` what is said beside the usual. `delay` is how long each answer takes, `status`
    what it is answered with, `padding` how many bytes are sent too many, `cache_control` the header of the key set. `asked`
    are the paths that were asked for.
    """

    def __init__(self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._tls = tls
        self._backend = Backend(self._answer, tls=tls)
        if host.startswith("127."):
            self._backend.address = host
        self.jwks: list[Any] = [public_jwk(RSA_KEY, kid="rsa", use="sig", alg="RS256"), public_jwk(EC_KEY, kid="ec")]
        self.document: dict[str, Any] = {}
        self.delay = 0.0
        self.status = b"200 OK"
        self.padding = 0
        self.cache_control = b""
        self.asked: list[str] = []

    @property
    def issuer(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self._backend.port}"

    @property
    def port(self) -> int:
        return self._backend.port

    def listen_at(self, address: str) -> None:
        """Listen there, once it is entered, under the name that it has."""
        self._backend.address = address

    async def __aenter__(self) -> Self:
        await self._backend.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._backend.__aexit__(kind, error, trace)

    def token(
        self,
        claims: Mapping[str, Any],
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        *,
        kid: str | None = "rsa",
        **header: Any,
    ) -> str:
        """A token of this issuer, unless the claims say another."""
        names = {} if kid is None else {"kid": kid}
        return jwt.encode({"iss": self.issuer, **claims}, key, algorithm, headers={**names, **header})

    async def _answer(self, visit: Visit) -> None:
        path = visit.target.decode()
        self.asked.append(path)
        await asyncio.sleep(self.delay)
        if path == "/.well-known/openid-configuration":
            found: Any = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.document}
        else:
            found = {"keys": self.jwks}
        body = json.dumps(found).encode() + b" " * self.padding
        lines = [b"Content-Type: application/json", b"Connection: close"]
        if self.cache_control:
            lines.append(b"Cache-Control: " + self.cache_control)
        await visit.answer(body, self.status, *lines)

"""Policies, secrets and keys for tests of who may open a preview; and the in-memory twin of what knows keys."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jwt

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.cookies import Grant, sign
from router.access.identity_signer import IdentitySigner
from router.access.keys import UNKNOWN, Unknown
from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError
from router.access.visitors import PasswordCheck, Visitors
from router.base.es256 import PrivateKey
from router.base.preview_secrets import LINK, ONCE, PROGRAM, digest
from router.errors import StoreUnavailableError
from router.routes.policies import OTHER_PORTS, AccessIssuer, AccessPolicy, AccessSecret, SecretKind, Visibility
from router.routes.records import KeyRecord, SessionRecord, SigningKey, SigningKeysRecord

_STARTS = {PROGRAM: "mpt_", LINK: "mpl_", ONCE: "mpo_"}
FAR = 4102444800.0  # 2100-01-01
API_KEY = "msk_live_" + "k" * 43


def plain(name: str, kind: str = PROGRAM) -> str:
    """The text of a preview's secret, made of its name; names are short words."""
    return _STARTS[kind] + name.ljust(43, "-")


def secret(name: str, kind: str = PROGRAM, **changes: Any) -> AccessSecret:
    """That secret, as a policy has it; its id is the name."""
    if kind == SecretKind.PASSWORD:
        return AccessSecret(name, SecretKind.PASSWORD, "", **changes)
    return AccessSecret(name, SecretKind(kind), digest(plain(name, kind)), **changes)


def policy(*secrets: AccessSecret, visibility: str = "private", **changes: Any) -> AccessPolicy:
    """A policy of tenant `acme`."""
    return AccessPolicy(Visibility(visibility), tenant="acme-slug", secrets=secrets, **changes)


def policies(*secrets: AccessSecret, **changes: Any) -> dict[int, AccessPolicy]:
    """A resource's policies: one for all ports."""
    return {OTHER_PORTS: policy(*secrets, **changes)}


def signing(*names: str, since: float = 0.0, until: float = FAR) -> SigningKeysRecord:
    """Keys of these names, the newest first."""
    keys = tuple(
        SigningKey(name, name.encode().hex().ljust(64, "0"), since + len(names) - place, until)
        for place, name in enumerate(names)
    )
    return SigningKeysRecord("cookies", keys, 1)


def identity_keys(*names: str, since: float = 0.0, until: float = FAR) -> SigningKeysRecord:
    """Keys of these names that sign who visitors are, the newest first."""
    return replace(signing(*names, since=since, until=until), purpose="identity")


def public_key(key: SigningKey) -> Any:
    """What verifies what that key of those has signed."""
    return jwt.PyJWK(PrivateKey(key.secret).public_jwk(key.id)).key


def grant(name: str = "link", **changes: Any) -> Grant:
    """What the cookie says that `secret(name)` gets, for port 3000 of the resource `shop`."""
    now = time.time()
    values: dict[str, Any] = {
        "resource_id": "id-of-shop",
        "port": 3000,
        "secret_id": name,
        "generation": 0,
        "issued": float(int(now)),
        "until": float(int(now)) + 3600,
    }
    return Grant(**values | changes)


def cookie(given: Grant, keys: SigningKeysRecord, now: float = 1000.0) -> bytes:
    """The line of a request that carries this grant."""
    value = sign(given, keys, now)
    assert value is not None
    return b"Cookie: __Host-miosa-preview=" + value


def api_key(**changes: Any) -> KeyRecord:
    """A key of tenant `acme` that reaches all of it."""
    values: dict[str, Any] = {"id": "key-1", "tenant_id": "acme", "scope": "tenant", "scope_id": "acme", "version": 1}
    return KeyRecord(**values | changes)


def session(name: str = "ses_ada", **changes: Any) -> SessionRecord:
    """A session of tenant `acme`, of somebody whom the provider calls by its id."""
    values: dict[str, Any] = {"id": name, "tenant_id": "acme", "subject": f"sub-{name}", "version": 1, "until": FAR}
    return SessionRecord(**values | {"email": f"{name.removeprefix('ses_')}@example.com"} | changes)


def ci_rule(name: str = "job", **changes: Any) -> AccessIssuer:
    """A rule about tokens of a CI system."""
    values: dict[str, Any] = {"issuer": "https://ci.example.com", "audience": "https://previews", "generation": 1}
    return AccessIssuer(id=name, **values | changes)


def ci_token(name: str, **claims: Any) -> str:
    """A token as a CI system makes them, which nobody has signed; what it is worth is put into `MemoryKeys.ci_tokens`."""
    said = {"iss": "https://ci.example.com", "aud": "https://previews", "sub": name, **claims}
    parts = ({"alg": "RS256", "kid": "1"}, said, "signature")
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)


class MemoryKeys:
    """Keys and sessions that a test puts in. `known` are in the worker's cache, `stored` where it looks them up; `down`: it cannot."""

    def __init__(self, signing_keys: SigningKeysRecord | None = None) -> None:
        self.known: dict[str, KeyRecord | None] = {}
        self.stored: dict[str, KeyRecord] = {}
        self.known_sessions: dict[str, SessionRecord | None] = {}
        self.stored_sessions: dict[str, SessionRecord] = {}
        self.stored_signing = signing_keys or signing("first")
        self.signing: SigningKeysRecord | None = self.stored_signing
        self.stored_identity = IdentitySigner(identity_keys("identity"), "https://edge.example")
        self.identity: IdentitySigner | None = None
        self.used_up: set[str] = set()
        self.passwords: dict[str, str] = {}
        self.tries: list[tuple[str, str, str]] = []
        self.wait = 0
        self.tokens: dict[str, Claims] = {}
        self.expired_tokens: dict[str, Claims] = {}
        self.early_tokens: set[str] = set()
        self.ci_tokens: dict[tuple[str, str], CiVerdict] = {}
        self.verified: dict[tuple[bytes, str], CiVerdict] = {}
        self.uses: list[tuple[str, bool]] = []
        self.looked_up: list[str] = []
        self.down = False
        self._listeners: list[Callable[[str], None]] = []
        self.visitors: Visitors = self

    def put(self, text: str, record: KeyRecord | None, *, known: bool = False) -> None:
        """Store an API key, or take it away, and let the proxy know."""
        key = digest(text)
        self.known.pop(key, None)
        if record is None:
            self.stored.pop(key, None)
        else:
            self.stored[key] = record
            if known:
                self.known[key] = record
        for listener in self._listeners:
            listener(key)

    def put_session(self, record: SessionRecord, *, known: bool = False) -> None:
        """Store a session, in the place of the one with its id, and let the proxy know."""
        self.stored_sessions[record.id] = record
        self.known_sessions.pop(record.id, None)
        if known:
            self.known_sessions[record.id] = record
        for listener in self._listeners:
            listener(record.id)

    def forget_session(self, session_id: str) -> None:
        """Delete a session, and let the proxy know."""
        del self.stored_sessions[session_id]
        self.known_sessions.pop(session_id, None)
        for listener in self._listeners:
            listener(session_id)

    def peek_session(self, session_id: str) -> SessionRecord | Unknown | None:
        return self.known_sessions.get(session_id, UNKNOWN)

    async def resolve_session(self, session_id: str) -> SessionRecord | None:
        self._check()
        self.looked_up.append(session_id)
        self.known_sessions[session_id] = record = self.stored_sessions.get(session_id)
        return record

    def peek(self, digest: str) -> KeyRecord | Unknown | None:
        return self.known.get(digest, UNKNOWN)

    async def resolve(self, digest: str) -> KeyRecord | None:
        self._check()
        self.looked_up.append(digest)
        self.known[digest] = record = self.stored.get(digest)
        return record

    def on_drop(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    async def ready(self) -> SigningKeysRecord:
        self._check()
        self.signing = self.stored_signing
        return self.signing

    async def identity_ready(self) -> None:
        self._check()
        self.identity = self.stored_identity

    async def check_password(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        self._check()
        self.tries.append((secret_id, password, client))
        return PasswordCheck(right=not self.wait and self.passwords.get(secret_id) == password, wait=self.wait)

    async def use_up(self, secret_id: str) -> bool:
        self._check()
        first = secret_id not in self.used_up
        self.used_up.add(secret_id)
        return first

    def verify_jwt(self, token: str) -> Claims | None:
        if token in self.early_tokens:
            raise EarlyTokenError("not valid yet")
        if token in self.expired_tokens:
            raise ExpiredTokenError(self.expired_tokens[token])
        return self.tokens.get(token)

    def peek_ci(self, mark: bytes, token: str) -> CiVerdict | Unknown:
        return self.verified.get((mark, token), UNKNOWN)

    async def verify_ci(self, tenant_id: str, mark: bytes, token: str) -> CiVerdict:
        verdict = await self.verify_ci_token(tenant_id, token)
        if verdict.outcome is not CiOutcome.UNAVAILABLE:
            self.verified[mark, token] = verdict
        return verdict

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        self._check()
        self.looked_up.append(token)
        return self.ci_tokens.get((tenant_id, token), CiVerdict(CiOutcome.WRONG))

    def note_use(self, secret_id: str, *, key: bool) -> None:
        self.uses.append((secret_id, key))

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailableError("switched off")


def verified_by(keys: Mapping[str, Any], token: bytes) -> dict[str, Any]:
    """The claims and the header of a token, by one public key or by those of these ids."""
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWK(keys if "kty" in keys else keys[header["kid"]]).key
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    return {**header, **jwt.decode(token, key, ["ES256"], options=options)}

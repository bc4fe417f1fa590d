"""Requests of ACME (RFC 8555 §6): signed by an account's key, with a nonce, and with nothing of a response believed unread.

Messages, signatures and challenges are those of certbot's library `acme`. Its HTTP client is not used: it blocks, its timeouts
are for one read of a socket, it reads responses of any size, follows redirects, and repeats a request once after a bad nonce.
Here every request ends after `REQUEST_TIMEOUT`, and ending it closes its connection.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from acme import jws
from josepy.errors import DeserializationError
from josepy.json_util import decode_b64jose
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from yarl import URL

from router.base.clock import Clock
from router.certificates.authority import (
    AuthorityError,
    BadAnswerError,
    Problem,
    RateLimitedError,
    RefusedError,
    UnreachableError,
)
from router.outbound.connector import WORDS, Failure, failure_of, open_session
from router.outbound.retry_after import seconds_of

REQUEST_TIMEOUT = 30.0  # seconds for one request, name resolution included
MAX_BODY = 128 * 1024  # bytes of a response; a chain of certificates has about 6 KiB
MAX_RETRY_AFTER = 7 * 86400.0  # seconds; Let's Encrypt's longest limits are of a week
DIRECTORY_AGE = 3600.0  # seconds for which the directory is not read again
_NONCE_TRIES = 8  # times one request is sent where the authority takes no nonce of ours
_MAX_NONCES = 32
_MAX_DETAIL = 500
_MAX_NAMES = 100
UNKNOWN = "unknown"  # what is no problem of ACME
_PREFIX = "urn:ietf:params:acme:error:"
_JSON = "application/json"
_HEADERS = {"User-Agent": "miosa-router", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a request: an account by its address, or a key that has none yet."""

    key: JWKEC
    account: str | None = None

    def sign(self, payload: object, url: str, nonce: bytes | None) -> Any:
        """A JWS (RFC 7515 §7.2.2) of what can be JSON; of nothing for None."""
        data = b"" if payload is None else json.dumps(payload).encode()
        return jws.JWS.sign(data, key=self.key, alg=ES256, nonce=nonce, url=url, kid=self.account).to_json()


@dataclass(frozen=True, slots=True)
class AcmeResponse:
    """A whole response with a status of success."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    retry_after: float | None  # seconds
    links: tuple[tuple[str, str], ...] = ()  # relation and address

    def json(self) -> dict[str, Any]:
        """The object in it. Raises BadAnswerError."""
        found = _object(self.body)
        if found is None:
            raise BadAnswerError("it sent something that is not a JSON object")
        return found


class AcmeHttp:
    """One authority. `directory` is its address, `ca_file` vouches for it in place of the system's certificates.

    Raises OSError or ssl.SSLError where the file can't be used.
    """

    def __init__(self, directory: str, ca_file: str | None, clock: Clock) -> None:
        self.url = directory
        self._origin = URL(directory).origin()
        self._clock = clock
        self._ssl = ssl.create_default_context(cafile=ca_file)
        self._directory: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._nonces: list[bytes] = []

    async def directory(self) -> dict[str, Any]:
        """Its resources by name, as RFC 8555 §7.1.1 has them. Raises AuthorityError."""
        if self._clock.monotonic() - self._read_at > DIRECTORY_AGE:
            found = (await self.get(self.url)).json()
            self._directory, self._read_at = found, self._clock.monotonic()
        return self._directory

    async def resource(self, name: str) -> str:
        """The address of a resource. Raises AuthorityError, also where there is none."""
        return self.check_url((await self.directory()).get(name))

    def check_url(self, value: object) -> str:
        """An address that the authority gave, if it is one of its own. Raises BadAnswerError."""
        if isinstance(value, str) and len(value) <= 2000 and value.isascii() and value.isprintable():
            try:
                url = URL(value)
                if url.origin() == self._origin and url.user is None:
                    return value
            except ValueError:  # no address at all, or a part of one
                pass
        raise BadAnswerError("it sent an address that is not on its own host, or none")

    async def get(self, url: object) -> AcmeResponse:
        """What anybody may read. Raises AuthorityError."""
        return _checked(*await self._send("GET", self.check_url(url), None, _JSON))

    async def post(self, url: object, payload: object, signer: Signer, accept: str | None = None) -> AcmeResponse:
        """POST what can be JSON; None is a POST-as-GET (§6.3). A nonce that is not taken is replaced (§6.5), whatever else goes
        wrong is the caller's. An address of somebody else is not asked. Raises AuthorityError."""
        address = self.check_url(url)
        for _ in range(_NONCE_TRIES):
            signed = json.dumps(signer.sign(payload, address, await self._nonce())).encode()
            response, problem = await self._send("POST", address, signed, accept or _JSON)
            if problem is None or problem.kind != "badNonce":
                return _checked(response, problem)
            del self._nonces[:-1]  # those from before are as old; the last one came with this refusal
        raise RefusedError("badNonce", f"it took none of the {_NONCE_TRIES} nonces that it gave")

    async def _nonce(self) -> bytes:
        if not self._nonces:
            _checked(*await self._send("HEAD", await self.resource("newNonce"), None, _JSON))
        if not self._nonces:
            raise BadAnswerError("it gave no nonce")
        return self._nonces.pop()

    async def _send(
        self, method: str, url: str, data: bytes | None, accept: str
    ) -> tuple[AcmeResponse, Problem | None]:
        headers = (
            _HEADERS | {"Accept": accept} | ({"Content-Type": "application/jose+json"} if data is not None else {})
        )
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT),
                open_session(resolver=aiohttp.ThreadedResolver(), headers=headers) as session,
                session.request(
                    method, URL(url, encoded=True), data=data, ssl=self._ssl, allow_redirects=False
                ) as response,
            ):
                body = b""
                while chunk := await response.content.read(MAX_BODY + 1 - len(body)):
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise BadAnswerError(f"it sent more than {MAX_BODY // 1024} KiB")
                retry_after = seconds_of(response.headers.get("Retry-After", ""), self._clock.now())
                found = AcmeResponse(
                    response.status,
                    response.headers,
                    body,
                    None if retry_after is None else min(max(retry_after, 1.0), MAX_RETRY_AFTER),
                    tuple(_links(response.headers.getall("Link", []))),
                )
        except (OSError, aiohttp.ClientError, ValueError) as error:
            raise UnreachableError(_words(failure_of(error))) from error
        self._keep_nonce(found.headers.get("Replay-Nonce", ""))
        return found, None if 200 <= found.status < 300 else _problem(found)

    def _keep_nonce(self, value: str) -> None:
        """§6.5.1: what is not base64url is to be passed over."""
        if not value or len(value) > 500:
            return
        try:
            self._nonces.append(decode_b64jose(value))
        except (DeserializationError, ValueError):
            return
        del self._nonces[:-_MAX_NONCES]


def problem_of(value: object) -> Problem | None:
    """A problem document (RFC 7807, RFC 8555 §6.7) as far as it may be shown; None where it is none."""
    if not isinstance(value, dict):
        return None
    kind, detail = value.get("type"), value.get("detail")
    parts = [part for part in _list(value.get("subproblems"))[:_MAX_NAMES] if isinstance(part, dict)]
    code = kind.removeprefix(_PREFIX) if isinstance(kind, str) else ""
    if code == "compound" and parts:  # what is wrong stands in the parts, of which the first decides
        first = problem_of({**parts[0], "subproblems": []})
        code, detail = (first.kind, detail or first.detail) if first is not None else (code, detail)
    if not code.isalnum() or len(code) > 50:
        code = UNKNOWN
    text = "".join(one if one.isprintable() else " " for one in detail[:_MAX_DETAIL]) if isinstance(detail, str) else ""
    names = [_name(part) for part in (value, *parts)]
    return Problem(code, text, tuple(dict.fromkeys(name for name in names if name)))


def _name(problem: Mapping[str, Any]) -> str | None:
    identifier = problem.get("identifier")
    name = identifier.get("value") if isinstance(identifier, dict) else None
    return name if isinstance(name, str) and len(name) <= 255 and name.isascii() and name.isprintable() else None


def _problem(response: AcmeResponse) -> Problem:
    found = problem_of(_object(response.body)) if response.body else None
    return found or Problem(UNKNOWN, f"it answered {response.status} without saying why")


def _checked(response: AcmeResponse, problem: Problem | None) -> AcmeResponse:
    """Itself, where it is a success; else what it means is raised."""
    if problem is None:
        return response
    raise _error(response, problem)


def _error(response: AcmeResponse, problem: Problem) -> AuthorityError:
    if problem.kind == "rateLimited" or response.status == 429:
        return RateLimitedError(problem.detail, response.retry_after)
    if response.status == 404:
        return RefusedError("notFound", problem.detail, problem.names)
    # Whoever refuses says why: what says nothing is something else than an authority, such as a proxy in front of it.
    if response.status >= 500 or problem.kind == "serverInternal":
        return UnreachableError(problem.detail)
    if response.status < 400 or problem.kind == UNKNOWN:
        return BadAnswerError(problem.detail)
    return RefusedError(problem.kind, problem.detail, problem.names)


def _links(values: list[str]) -> list[tuple[str, str]]:
    """Relations and addresses of Link headers (RFC 8288), of which ACME uses the plainest form."""
    found = []
    for link in ",".join(values)[:8000].split(","):
        target, _, parameters = link.strip().partition(">")
        relation = parameters.partition('rel="')[2].partition('"')[0]
        if target.startswith("<") and relation:
            found.append((relation, target[1:]))
    return found


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(failure: Failure) -> str:
    if failure is Failure.TIMEOUT:
        return f"it gave no answer within {REQUEST_TIMEOUT:g} s"
    return f"it {WORDS[failure]}"

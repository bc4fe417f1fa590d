"""What stands between a client of ACME and Pebble: it counts, has the faults that real authorities have, and the renewal
information (RFC 9773) that Pebble 2.4 has not.

It passes on what it has nothing to say to, with the Host that the client sent, so that Pebble makes its addresses of this
one's, and takes signatures that are for them.
"""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from cryptography import x509
from yarl import URL

from router.base.clock import iso
from tests.support.certificates import write_certificate
from tests.support.pebble import Pebble

# The resources of RFC 8555 §7.1, by Pebble's paths.
RESOURCES = {
    "dir": "directory",
    "nonce-plz": "newNonce",
    "sign-me-up": "newAccount",
    "order-plz": "newOrder",
    "rollover-account-key": "keyChange",
    "revoke-cert": "revokeCert",
    "my-account": "account",
    "list-orderz": "orders",
    "my-order": "order",
    "finalize-order": "finalize",
    "authZ": "authorization",
    "chalZ": "challenge",
    "certZ": "certificate",
    "renewal-info": "renewalInfo",
}
PROBLEM = "urn:ietf:params:acme:error:"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered in place of the authority."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def problem(status: int, kind: str, detail: str = "so it is", **headers: str) -> Reply:
    """A problem document; `Retry_After` and the like become headers."""
    body = json.dumps({"type": f"{PROBLEM}{kind}", "detail": detail, "status": status}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body, {"Content-Type": "application/problem+json", **named})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `payload` is that of its signature; None where there is none."""

    resource: str
    path: str
    payload: Any


LOST = Reply(0)  # the authority does it, and its answer never arrives
CLOSED = Reply(-1)  # it is not even asked


class Hold:
    """A request that waits. Its two events are for threads: whoever waits for it may be one."""

    def __init__(self, done: bool, skip: int) -> None:
        self.done = done
        self.skip = skip
        self.arrived = threading.Event()
        self.go_on = threading.Event()

    async def wait(self) -> None:
        self.arrived.set()
        while not self.go_on.is_set():
            await asyncio.sleep(0.02)


class AcmeProxy:
    """Listens while it is entered. `asked` is every request, in order; `placed` are the names of the orders that were made."""

    def __init__(
        self,
        pebble: Pebble,
        folder: Path,
        *,
        ari: bool = True,
        profiles: Mapping[str, str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """`delay` is how many seconds each answer takes."""
        self._pebble = pebble
        self.certificate, self._key = write_certificate(folder, "127.0.0.1", stem="acme-proxy")
        self._ari = ari
        self._delay = delay
        self._profiles = profiles
        self._replies: dict[str, list[Reply]] = {}
        self._changes: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._windows: dict[str, tuple[datetime, datetime]] = {}
        self._held: dict[tuple[str, str], Hold] = {}
        self._names: dict[str, list[str]] = {}  # of the order that a path belongs to
        self.retry_after = "21600"  # of renewal information
        self.asked: list[Asked] = []
        self.placed: list[list[str]] = []
        self.port = 0

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def reply(self, resource: str, reply: Reply, times: int = 1) -> None:
        """Answer so the next `times` that this resource is asked for; "" is any."""
        self._replies.setdefault(resource, []).extend([reply] * times)

    def hold(self, resource: str, name: str, *, done: bool = False, skip: int = 0) -> "Hold":
        """Let the next request but `skip` for this resource wait until it is let go, where it belongs to an order that has this
        name; with `done`, the authority has done it by then."""
        hold = self._held[resource, name] = Hold(done, skip)
        return hold

    def mend(self) -> None:
        """No faults any more."""
        self._replies.clear()
        self._changes.clear()

    def change(self, resource: str, how: Callable[[dict[str, Any]], None]) -> None:
        """Change what the authority says of this resource, from now on."""
        self._changes[resource] = how

    def set_window(self, ari_id: str, start: datetime, end: datetime) -> None:
        """When this certificate should be renewed."""
        self._windows[ari_id] = (start, end)

    def count(self, resource: str) -> int:
        """How often it was asked for."""
        return sum(asked.resource == resource for asked in self.asked)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self._key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self._pebble.certificate))),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        first = request.path.split("/")[1]
        body = await request.read()
        asked = Asked(RESOURCES.get(first, first), request.path, _payload(body))
        self.asked.append(asked)
        waiting = self._replies.get(asked.resource) or self._replies.get("") or []
        fault = waiting.pop(0) if waiting else None
        if fault is CLOSED:
            return self._close(request)
        if fault is not None and fault is not LOST:
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        hold = self._hold_of(asked)
        if hold is not None and not hold.done:
            await hold.wait()
            if request.transport is None or request.transport.is_closing():
                return web.Response()  # whoever asked has died, so the authority never hears of it
        await asyncio.sleep(self._delay)
        answer = (
            self._renewal(request.path) if asked.resource == "renewalInfo" else await self._pass(request, body, asked)
        )
        if hold is not None and hold.done:
            await hold.wait()
        return self._close(request) if fault is LOST else answer

    def _hold_of(self, asked: Asked) -> Hold | None:
        names = self._names.get(asked.path, [])
        if asked.resource == "newOrder":
            names = [one["value"] for one in asked.payload["identifiers"]]
        for key in [(asked.resource, name) for name in names]:
            hold = self._held.get(key)
            if hold is not None and hold.skip:
                hold.skip -= 1
            elif hold is not None:
                return self._held.pop(key)
        return None

    def paths_of(self, name: str, resource: str) -> list[str]:
        """Of what belongs to orders with this name."""
        start = next(path for path, found in RESOURCES.items() if found == resource)
        return [path for path, names in self._names.items() if name in names and path.startswith(f"/{start}/")]

    def _learn(self, names: list[str], location: str | None, said: dict[str, Any]) -> None:
        """Which paths belong to an order."""
        urls = [location, said.get("finalize"), said.get("certificate"), *said.get("authorizations", [])]
        urls += [challenge["url"] for challenge in said.get("challenges", [])]
        self._names |= {URL(url).path: names for url in urls if url is not None}

    def _close(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _pass(self, request: web.Request, body: bytes, asked: Asked) -> web.Response:
        url = f"{self._pebble.directory.removesuffix('/dir')}{request.path_qs}"
        headers = {
            name: request.headers[name] for name in ("Host", "Content-Type", "Accept") if name in request.headers
        }
        async with self._session.request(
            request.method, url, data=body or None, headers=headers, allow_redirects=False
        ) as response:
            answer = await response.read()
            if asked.resource == "newOrder" and response.status == 201:
                self.placed.append(sorted(one["value"] for one in asked.payload["identifiers"]))
                self._learn(self.placed[-1], response.headers["Location"], json.loads(answer))
            elif asked.path in self._names and response.content_type == "application/json":
                self._learn(self._names[asked.path], None, json.loads(answer))
            if asked.resource == "certificate" and response.status == 200:
                self._keep_window(answer)
            if asked.resource == "directory":
                answer = self._extend(answer)
            how = self._changes.get(asked.resource)
            if how is not None and response.status < 300:
                said = json.loads(answer)
                how(said)
                answer = json.dumps(said).encode()
            named = ("Content-Type", "Location", "Replay-Nonce", "Retry-After")
            kept = [(name, response.headers[name]) for name in named if name in response.headers]
            kept += [("Link", link) for link in response.headers.getall("Link", [])]
            headers_out: Any = kept
            return web.Response(status=response.status, body=answer, headers=headers_out)

    def _extend(self, answer: bytes) -> bytes:
        directory = json.loads(answer)
        if self._ari:
            directory["renewalInfo"] = f"https://127.0.0.1:{self.port}/renewal-info"
        if self._profiles is not None:
            directory["meta"]["profiles"] = dict(self._profiles)
        return json.dumps(directory).encode()

    def _keep_window(self, chain: bytes) -> None:
        """As Let's Encrypt: when a third of its life is left."""
        leaf = x509.load_pem_x509_certificate(chain)
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        start = leaf.not_valid_before_utc + life * 2 / 3
        self._windows.setdefault(ari_id(leaf), (start, start + max(life / 50, timedelta(seconds=1))))

    def _renewal(self, path: str) -> web.Response:
        window = self._windows.get(path.rpartition("/")[2])
        if window is None:
            return web.json_response({"type": f"{PROBLEM}malformed", "detail": "no such certificate"}, status=404)
        start, end = (iso(one) for one in window)
        return web.json_response(
            {"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://ca.example/why"},
            headers={"Retry-After": self.retry_after},
        )


def ari_id(leaf: x509.Certificate) -> str:
    """RFC 9773 §4.1, written a second time: the router's own must give the same."""
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (authority, serial))


def _payload(body: bytes) -> Any:
    if not body:
        return None
    text = json.loads(body)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else None

"""A DNS provider with Domain Connect, over real HTTPS and DNS: it has the zones of a name server, verifies the signature of a link by the
public key in DNS, and sets the records of our templates. It can be slow, talkative, or lie.

It follows the standard (draft-ietf-dconn-domainconnect), and none of our own code.
"""

import asyncio
import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import dns.asyncquery
import dns.message
import dns.rdatatype
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from router.domains.lookup import RecordType
from tests.support.authority import Authority
from tests.support.backends import Backend, Visit
from tests.support.nameserver import NameServer

SOA = "ns.dns-provider.example hostmaster.dns-provider.example 1 3600 600 86400 60"


class ConnectProvider:
    """Serves while it is entered, under a name whose address the name server knows too. `templates` are those that it has,
    by serviceId.

    `settings` are said beside the usual, where None takes one away; `answers` are what paths answer instead: a status line and a
    body. `location` is where every answer redirects to. `delay` is how long each takes. `asked` are the paths that were asked for,
    `refusals` why links were refused.
    """

    def __init__(
        self,
        name: str,
        dns_server: NameServer,
        templates: Mapping[str, Mapping[str, Any]],
        tls: ssl.SSLContext,
        *,
        address: str = "127.0.0.1",
    ) -> None:
        self._name = name
        self._dns = dns_server
        self._backend = Backend(self._answer, tls=tls)
        self._backend.address = address
        self.templates = dict(templates)
        self.zones: set[str] = set()
        self.settings: dict[str, Any] = {}
        self.answers: dict[str, tuple[bytes, bytes]] = {}
        self.location: bytes | None = None
        self.delay = 0.0
        self.asked: list[str] = []
        self.refusals: list[str] = []

    @property
    def port(self) -> int:
        return self._backend.port

    @property
    def authority(self) -> str:
        return f"{self._name}:{self.port}"

    async def __aenter__(self) -> Self:
        await self._backend.__aenter__()
        self._dns.put(self._name, RecordType.A, self._backend.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._backend.__aexit__(kind, error, trace)

    def host_zone(self, zone: str) -> None:
        """Be the provider of a zone from now on."""
        self.zones.add(zone)
        self._dns.put(zone, RecordType.SOA, SOA)
        self._dns.put(zone, RecordType.NS, "ns.dns-provider.example")
        self._dns.put(f"_domainconnect.{zone}", RecordType.TXT, self.authority)

    async def _answer(self, visit: Visit) -> None:
        target = visit.target.decode()
        path = urlsplit(target).path
        self.asked.append(path)
        await asyncio.sleep(self.delay)
        if self.location is not None:
            await visit.answer(b"", b"302 Found", b"Location: " + self.location, b"Connection: close")
        elif path in self.answers:
            status, body = self.answers[path]
            await visit.answer(body, status, b"Content-Type: application/json", b"Connection: close")
        elif path.endswith("/apply"):
            await self._apply(visit, path, urlsplit(target).query)
        elif path.startswith("/v2/domainTemplates/"):
            known = self._template(path) is not None
            await visit.answer(b"", b"200 OK" if known else b"404 Not Found", b"Connection: close")
        else:
            await self._show_settings(visit, path.split("/")[2])

    async def _show_settings(self, visit: Visit, zone: str) -> None:
        said = {
            "providerId": "dns-provider.example",
            "providerName": "DNS Provider",
            "urlSyncUX": f"https://{self.authority}",
            "urlAPI": f"https://{self.authority}",
            **self.settings,
        }
        body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        status = b"200 OK" if zone in self.zones else b"404 Not Found"
        await visit.answer(body, status, b"Content-Type: application/json", b"Connection: close")

    def _template(self, path: str) -> Mapping[str, Any] | None:
        _, _, _, _, provider, _, service, *_ = path.split("/")
        found = self.templates.get(service)
        return found if found is not None and found["providerId"] == provider else None

    async def _apply(self, visit: Visit, path: str, query: str) -> None:
        """A person who has signed in agrees at once."""
        template, asked_for = self._template(path), dict(parse_qsl(query, keep_blank_values=True))
        refusal = "no such template" if template is None else await self._refusal(template, query, asked_for)
        back = asked_for.get("redirect_uri", "")
        if refusal is not None or template is None:
            self.refusals.append(str(refusal))
            await visit.answer(str(refusal).encode(), b"400 Bad Request", b"Connection: close")
            return
        self._set_records(template, asked_for)
        if urlsplit(back).hostname != template["syncRedirectDomain"]:
            await visit.answer(b"done", b"200 OK", b"Connection: close")
            return
        location = f"{back}?{urlencode({'state': asked_for['state']})}"
        await visit.answer(b"", b"302 Found", b"Location: " + location.encode(), b"Connection: close")

    async def _refusal(self, template: Mapping[str, Any], query: str, asked_for: Mapping[str, str]) -> str | None:
        if asked_for.get("domain") not in self.zones:
            return "not a zone of this account"
        if template.get("hostRequired") and not asked_for.get("host"):
            return "a host is required"
        signed, separator, signature = query.partition("&sig=")
        encoded, _, key = signature.partition("&key=")
        if not separator or not key:
            return "not signed"
        public = await self._public_key(f"{key}.{template['syncPubKeyDomain']}")
        if public is None:
            return "no public key"
        try:
            public.verify(base64.b64decode(unquote(encoded)), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return "wrong signature"
        return None

    async def _public_key(self, name: str) -> rsa.RSAPublicKey | None:
        question = dns.message.make_query(name, dns.rdatatype.TXT)
        answer = await dns.asyncquery.tcp(question, self._dns.address, port=self._dns.port, timeout=5)
        texts = [b"".join(record.strings).decode() for rrset in answer.answer for record in rrset]
        parts = [dict(pair.split("=", 1) for pair in text.split(",")) for text in texts]
        whole = "".join(part["d"] for part in sorted(parts, key=lambda part: int(part["p"])))
        if not whole or any(part.get("a", "RS256") != "RS256" for part in parts):
            return None
        key = serialization.load_der_public_key(base64.b64decode(whole))
        return key if isinstance(key, rsa.RSAPublicKey) else None

    def _set_records(self, template: Mapping[str, Any], asked_for: Mapping[str, str]) -> None:
        applied = ".".join(filter(None, (asked_for.get("host"), asked_for["domain"])))
        values: dict[tuple[str, RecordType], list[str]] = {}
        for record in template["records"]:
            filled = {name: _fill(str(value), asked_for) for name, value in record.items()}
            name = applied if filled["host"] == "@" else f"{filled['host']}.{applied}"
            value = filled["data"] if filled["type"] == "TXT" else filled["pointsTo"]
            values.setdefault((name, RecordType(filled["type"])), []).append(value)
        for (name, kind), said in values.items():
            self._dns.put(name, kind, *said)


def visit(url: str, address: str, authority: Authority) -> tuple[int, str]:
    """What a browser gets at the provider, which is at this address: the status, and where it is sent. Call it in a thread."""
    link = urlsplit(url)
    trusted = ssl.create_default_context(cadata=authority.pem)
    with (
        socket.create_connection((address, link.port or 443), timeout=30) as plain,
        trusted.wrap_socket(plain, server_hostname=link.hostname) as secure,
        closing(http.client.HTTPConnection(link.hostname or "", link.port)) as connection,
    ):
        connection.sock = secure
        connection.request("GET", f"{link.path}?{link.query}")
        with connection.getresponse() as response:
            return response.status, response.getheader("Location", "")


def _fill(text: str, asked_for: Mapping[str, str]) -> str:
    for name, value in asked_for.items():
        text = text.replace(f"%{name}%", value)
    if "%" in text:
        raise AssertionError(f"a variable is missing: {text}")
    return text

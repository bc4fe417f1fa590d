"""The access matrix of `tests/support/access_matrix.py`, row by row over the wire: what each visitor heard, and what the
program saw of them."""

import re
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.tokens import Claims
from router.base.preview_secrets import kind_of
from router.routes.records import KeyRecord, ResourceRecord, SigningKey, SigningKeysRecord
from tests.support.access import (
    FAR,
    MemoryKeys,
    api_key,
    ci_rule,
    ci_token,
    cookie,
    grant,
    identity_keys,
    plain,
    policies,
    public_key,
    secret,
    session,
    signing,
)
from tests.support.access_matrix import KINDS, OPTIONS, VISIBILITIES, Row, rows
from tests.support.edge import FRONT, RunningEdge
from tests.support.records import resource
from tests.support.wire import Backend, End, Ended, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

_SHOWN = 40  # rows in a failure
GENERATION = 3
PAST = 10.0
HOST, UNKNOWN_HOST = b"shop.miosa.app", b"gone.miosa.app"
PROGRAMS_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Program: shop\r\n\r\n"

# The secrets that the preview has, or has had.
SECRETS = (
    secret("ci"),
    secret("ci-past", until=PAST),
    secret("ci-gone", revoked=True),
    secret("mail", "link"),
    secret("mail-past", "link", until=PAST),
    secret("mail-gone", "link", revoked=True),
    secret("once", "once"),
    secret("once-used", "once", used=True),
    secret("once-past", "once", until=PAST),
    secret("once-gone", "once", revoked=True),
    secret("pass", "password"),
    secret("pass-past", "password", until=PAST),
    secret("pass-gone", "password", revoked=True),
)
NOBODYS_SECRETS = {
    "unknown": plain("unknown"),
    "neighbour": plain("neighbour"),  # opens the neighbour's preview
    "neighbour-mail": plain("neighbour-mail", "link"),
    "huge": "mpt_" + "x" * 6000,
    "garbage": "mpt_\xff\xfe'\"<>%00%",
    "empty": "",
}
WORKSPACE, PROJECT, ELSEWHERE = (f"0a4f8d0e-0000-4000-8000-00000000000{place}" for place in range(3))
# `shop` is of tenant `acme`, and of that workspace and project.
API_KEYS: dict[str, dict[str, Any]] = {
    "key-tenant": {},
    "key-workspace": {"scope": "workspace", "scope_id": WORKSPACE},
    "key-project": {"scope": "project", "scope_id": PROJECT},
    "key-platform": {"scope": "platform", "tenant_id": "operator", "scope_id": "operator"},
    "key-other-workspace": {"scope": "workspace", "scope_id": ELSEWHERE},
    "key-other-project": {"scope": "project", "scope_id": ELSEWHERE},
    "key-other-tenant": {"tenant_id": "rival", "scope_id": "rival"},
    "key-twin-project": {"tenant_id": "rival", "scope": "project", "scope_id": PROJECT},
    "key-past": {"until": PAST},
    "key-gone": {"revoked": True},
    "key-other-tenant-gone": {"tenant_id": "rival", "scope_id": "rival", "revoked": True},
    "key-other-tenant-past": {"tenant_id": "rival", "scope_id": "rival", "until": PAST},
}
JWTS = {
    "jwt-tenant": Claims("me", "acme", "tenant", FAR),
    "jwt-slug": Claims("me", "acme-slug", "tenant", FAR),
    "jwt-workspace": Claims("me", "acme", f"workspace:{WORKSPACE}", FAR),
    "jwt-project": Claims("me", "acme", f"project:{PROJECT}", FAR),
    "jwt-platform": Claims("me", "operator", "platform", FAR),
    "jwt-other-workspace": Claims("me", "acme", f"workspace:{ELSEWHERE}", FAR),
    "jwt-other-project": Claims("me", "acme", f"project:{ELSEWHERE}", FAR),
    "jwt-other-tenant": Claims("me", "rival", "tenant", FAR),
    "jwt-garbled-scope": Claims("me", "acme", "everything", FAR),
    "jwt-past": Claims("me", "acme", "tenant", PAST),
    "jwt-other-tenant-past": Claims("me", "rival", "tenant", PAST),
}
# What the tokens of CI systems are worth by the rules of `acme`.
CI_TOKENS = {
    "job": CiVerdict(CiOutcome.ACCEPTED, (("job", 1),), "repo:acme/shop", FAR),
    "job-other-repository": CiVerdict(CiOutcome.WRONG),
    "job-past": CiVerdict(CiOutcome.EXPIRED, (("job", 1),), "repo:acme/shop", PAST),
    "job-other-repository-past": CiVerdict(CiOutcome.EXPIRED, (), "repo:evil/shop", PAST),
    "job-old-rule": CiVerdict(CiOutcome.ACCEPTED, (("job", 0),), "repo:acme/shop", FAR),
    "job-elsewhere": CiVerdict(CiOutcome.ACCEPTED, (("another-project", 1),), "repo:acme/shop", FAR),
    "job-unknown": CiVerdict(CiOutcome.UNAVAILABLE),
}
AUTHORIZATIONS = {
    "job-other-audience": b"Bearer " + ci_token("job", aud="https://another.example").encode(),
    "job-other-issuer": b"Bearer " + ci_token("job", iss="https://ci.example.org").encode(),
    "basic": b"Basic bWU6bXB0Xw==",
    "opaque": b"Bearer 0123-opaque",
    "foreign-jwt": b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl",
}
SIGNING = SigningKeysRecord(
    "cookies",
    (*signing("first", "second").keys, SigningKey("withdrawn", b"withdrawn".hex().ljust(64, "0"), 0.0, PAST)),
    1,
)
COOKIES: dict[str, dict[str, Any]] = {
    "mail": {},
    "past": {"until": PAST},
    "mail-past": {"name": "mail-past"},
    "mail-gone": {"name": "mail-gone"},
    "once-used": {"name": "once-used"},
    "no-secret": {"name": "never-was"},
    "old-generation": {"generation": GENERATION - 1},
    "next-generation": {"generation": GENERATION + 1},
    "other-port": {"port": 5173},
    "other-resource": {"resource_id": "id-of-cart"},
    "other-tenant": {"resource_id": "id-of-rival"},
    "future": {"issued": FAR - 1},
    "pass": {"name": "pass"},
    "pass-past": {"name": "pass-past"},
    "pass-gone": {"name": "pass-gone"},
    "pass-old-generation": {"name": "pass", "generation": GENERATION - 1},
    "session": {"name": "ses_ada"},
    "session-not-known-yet": {"name": "ses_new"},
    "session-past": {"name": "ses_past"},
    "session-cookie-past": {"name": "ses_ada", "until": PAST},
    "session-ended": {"name": "ses_ended"},
    "session-forgotten": {"name": "ses_forgotten"},
    "session-old-generation": {"name": "ses_ada", "generation": GENERATION - 1},
    "session-other-port": {"name": "ses_ada", "port": 5173},
    "session-other-resource": {"name": "ses_ada", "resource_id": "id-of-cart"},
    "session-other-tenant": {"name": "ses_rival"},
}
SESSIONS = (
    session("ses_ada"),
    session("ses_new"),
    session("ses_past", until=PAST),
    session("ses_ended", revoked=True),
    session("ses_rival", tenant_id="rival"),
)
NAVIGATES = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Accept: text/html,*/*;q=0.8")
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: eA==")
SAME, EVIL = b"https://" + HOST, b"https://evil.example"
FORM = (*NAVIGATES, b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 0")

# The headers of each kind of request, as browsers and programs send them.
HEADERS: dict[str, tuple[bytes, ...]] = {
    "navigation": (*NAVIGATES, b"Sec-Fetch-Site: none", b"Sec-Fetch-User: ?1"),
    "navigation-head": (*NAVIGATES, b"Sec-Fetch-Site: cross-site"),
    "old-browser": (b"Accept: text/html,*/*;q=0.8",),
    "curl": (b"User-Agent: curl/8.9", b"Accept: */*"),
    "bot": (b"User-Agent: Slackbot-LinkExpanding 1.0", b"Range: bytes=0-32768"),
    "prefetch": (*NAVIGATES, b"Sec-Purpose: prefetch;prerender", b"Sec-Fetch-Site: cross-site"),
    "early": (*NAVIGATES, b"Early-Data: 1"),
    "frame": (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe", b"Sec-Fetch-Site: cross-site"),
    "script-same-origin": (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Site: same-origin", b"Accept: application/json"),
    "fetch-anonymous": (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Site: cross-site", b"Origin: " + EVIL),
    "fetch-credentials": (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Site: cross-site", b"Origin: null"),
    "image": (b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image", b"Sec-Fetch-Site: cross-site"),
    "event-stream": (b"Accept: text/event-stream", b"Cache-Control: no-cache"),
    "event-stream-cors": (b"Sec-Fetch-Mode: cors", b"Accept: text/event-stream", b"Origin: " + EVIL),
    "form": (*FORM, b"Origin: " + SAME, b"Sec-Fetch-Site: same-origin"),
    "form-cross-site": (*FORM, b"Origin: " + EVIL, b"Sec-Fetch-Site: cross-site"),
    "form-early": (*FORM, b"Origin: " + SAME, b"Early-Data: 1"),
    "post-same-origin": (b"Sec-Fetch-Mode: cors", b"Origin: " + SAME, b"Content-Length: 0"),
    "post-other-port": (b"Sec-Fetch-Mode: cors", b"Origin: https://5173-shop.sandbox.miosa.app", b"Content-Length: 0"),
    "post-cross-site": (
        b"Sec-Fetch-Mode: cors",
        b"Sec-Fetch-Site: cross-site",
        b"Origin: " + EVIL,
        b"Content-Length: 0",
    ),
    "post-neighbour": (
        *(
            b"Sec-Fetch-Mode: cors",
            b"Sec-Fetch-Site: same-site",
            b"Origin: https://rival.miosa.app",
            b"Content-Length: 0",
        ),
    ),
    "delete-no-origin": (b"User-Agent: curl/8.9",),
    "options": (b"Origin: " + EVIL,),
    "websocket": (*UPGRADE, b"Origin: " + SAME, b"Sec-Fetch-Mode: websocket"),
    "websocket-cross": (*UPGRADE, b"Origin: " + EVIL, b"Sec-Fetch-Mode: websocket", b"Sec-Fetch-Site: cross-site"),
    "websocket-program": UPGRADE,
    "grpc": (b"Content-Type: application/grpc", b"TE: trailers", b"Content-Length: 0"),
    "preflight": (
        *(b"Origin: " + EVIL, b"Sec-Fetch-Mode: cors", b"Access-Control-Request-Method: PUT"),
        b"Access-Control-Request-Headers: authorization,x-miosa-preview-token",
    ),
}
FORGED = (b"X-Miosa-Identity: forged", b"X_Miosa_Identity: forged", b"x-miosa.identity: forged")
SCRIPTS_CAN_READ = re.compile(rb"Origin: (.*)")
STATUSES = {
    "token_missing": 401,
    "token_wrong": 403,
    "token_expired": 403,
    "token_revoked": 403,
    "address_not_allowed": 403,
    "origin_not_allowed": 403,
    "preview_expired": 410,
    "too_early": 425,
    "host_not_found": 404,
    "identity_provider_unavailable": 503,
}
GRPC = {401: b"16", 403: b"7"}


def token(thing: str) -> bytes:
    """The text of a thing that is no cookie."""
    for one in SECRETS:
        if one.id == thing:
            return plain(thing, one.kind).encode()
    if thing.split("-", maxsplit=1)[0] == "job":
        return ci_token(thing).encode()
    if thing.startswith("jwt-"):
        return b"eyJhbGciOiJFUzI1NiJ9.%b.c2ln" % thing.encode()
    return NOBODYS_SECRETS[thing].encode("latin-1") if thing in NOBODYS_SECRETS else api_key_text(thing)


def api_key_text(thing: str) -> bytes:
    return b"msk_live_" + thing.encode().ljust(43, b"k")


PUBLIC_KEY = public_key(identity_keys("identity").keys[0])


SESSIONS_OF = {"session": session("ses_ada").subject, "session-not-known-yet": session("ses_new").subject}
GOOD_COOKIES = ("mail", "once-used", "pass", "older-key", *SESSIONS_OF)


def who(row: Row) -> tuple[str, str | None]:
    """How the visitor of a row that is let in comes in, and who that says they are."""
    if row.visibility == "public":
        return "public", None
    things = [thing for place, thing in row.way if place not in ("auth", "cookie")]
    cookies = [thing for place, thing in row.way if place == "cookie" and thing in GOOD_COOKIES]
    thing = (things or cookies)[0].replace("older-key", "mail")
    if thing in SESSIONS_OF:
        return "login", f"login:{SESSIONS_OF[thing]}"
    if thing.startswith("key-"):
        return "api_key", "api_key:key-1"
    if thing.startswith("jwt-"):
        return "jwt", "jwt:me"
    if thing == "job":
        return "ci", "ci:repo:acme/shop"
    how = {"once-used": "once", "mail": "link", "pass": "password"}.get(thing, "token")
    return how, f"{how}:{thing}"


def cookie_value(thing: str, port: int) -> bytes:
    """The value of a cookie of ours for the program's port."""
    values: dict[str, Any] = {"name": "mail", "port": port, "generation": GENERATION}

    def signed(keys: SigningKeysRecord, **changes: Any) -> bytes:
        return cookie(grant(**values | changes), keys).partition(b"=")[2]

    if thing in COOKIES:
        return signed(SIGNING, **COOKIES[thing])
    right = signed(SIGNING)
    return {
        "older-key": signed(signing("second")),
        "withdrawn-key": signed(signing("withdrawn")),
        "foreign-key": signed(signing("elsewhere")),
        "session-foreign-key": signed(signing("elsewhere"), name="ses_ada"),
        "tampered": right.replace(b".mail.", b".once-used."),
        "truncated": right[:-1],
        "quoted": b'"' + right + b'"',
        "huge": right + b"x" * 6000,
        "empty": b"",
    }[thing]


@dataclass
class Sent:
    """A request, and what its program should see of it."""

    raw: bytes
    raw_to_nobody: bytes  # the same to a host that does not exist
    target: bytes
    authorizations: list[bytes]
    origin: bytes | None
    secrets: list[bytes]


def request(row: Row, port: int) -> Sent:
    """The request of a row."""
    query, lines, cookies, passes, secrets = [b"b=1"], [], [b"a=1"], [], []
    for place, thing in row.way:
        if place == "cookie":
            value = cookie_value(thing, port)
            cookies.append(b"__Host-miosa-preview=" + value)
        elif place == "auth":
            value = b""
            passes.append(AUTHORIZATIONS[thing])
            lines.append(b"Authorization: " + AUTHORIZATIONS[thing])
        else:
            value = token(thing)
            if place == "header":
                lines.append(b"X-Miosa-Preview-Token: " + value)
            elif place == "bearer":
                lines.append(b"Authorization: Bearer " + value)
                if row.visibility == "public" and kind_of(value.decode("latin-1")) is None:  # it is the program's
                    passes.append(b"Bearer " + value)
                    continue
            else:
                name = b"miosa_token" if place == "link" else b"X-Miosa-Preview-Token"
                query.append(name + b"=" + value.replace(b"%", b"%25").replace(b"\xff", b"%FF"))
        secrets += [value] if len(value) > 20 else []
    kept = b"/a%2F?" + b"&".join([b"b=1", b"c=%20"])
    target = b"/a%2F?" + b"&".join([*query, b"c=%20"])
    headers = HEADERS[row.kind.name]
    heads = [
        b"\r\n".join(
            [
                b"%b %b HTTP/1.1" % (row.kind.method.encode(), target),
                b"Host: " + host,
                *(b"X-Forwarded-Proto: https", b"X-Forwarded-For: 10.1.2.3", b"X-Other: 1"),
                *headers,
                *lines,
                *FORGED,
                b"Cookie: " + b"; ".join([*cookies, b"b=2"]),
                b"\r\n",
            ]
        )
        for host in (HOST, UNKNOWN_HOST)
    ]
    origins = [line.removeprefix(b"Origin: ") for line in headers if line.startswith(b"Origin: ")]
    return Sent(*heads, kept, passes, origins[0] if origins else None, secrets)


class Matrix:
    """A proxy with one preview, and kept connections to it."""

    def __init__(self, edge: RunningEdge, keys: MemoryKeys, backend: Backend, seen: list[Message]) -> None:
        self.edge = edge
        self.keys = keys
        self.backend = backend
        self.seen = seen
        self._client: End | None = None

    async def send(self, raw: bytes, method: str) -> Message:
        """Its response, over the connection of the request before if that was kept."""
        if self._client is None:
            self._client = await self.edge.client(FRONT)
        await self._client.send(raw)
        got = await self._client.read_response(method.encode())
        if got.get(b"connection") == b"close":
            self._client.close()
            self._client = None
        return got

    async def check(self, row: Row) -> None:
        """Send the row's request; raises AssertionError where what comes of it is not what the tables say."""
        sent = request(row, self.backend.port)
        self.keys.used_up.clear()
        seen = len(self.seen)
        got = await self.send(sent.raw, row.kind.method)
        to_program = self.seen[seen:]
        if row.outcome != "preflight":  # which may say what the request behind it will hear
            assert got.get(b"x-miosa-error") == (row.outcome.encode() if row.outcome in STATUSES else None)
        assert len(to_program) == (row.outcome == "open"), "what the program saw"
        assert self.keys.used_up == ({"once"} if row.outcome == "used-up" else set())
        for value in sent.secrets:
            assert value not in got.raw_head + got.body, "a secret in the response"
        assert b"identity:" not in got.raw_head.lower()
        if row.outcome == "open":
            self._check_open(sent, got, to_program[0])
            self._check_identity(row, to_program[0])
        elif row.outcome == "preflight":
            self._check_preflight(got)
        elif row.outcome == "page":
            self._check_page(row, got)
        elif row.outcome == "host_not_found":
            nobody = await self.send(sent.raw_to_nobody, row.kind.method)
            assert _without_names(got) == _without_names(nobody), "a hidden preview is no preview"
        elif row.outcome in STATUSES:
            self._check_refusal(row, sent, got)
        else:
            self._check_exchanged(row, sent, got)

    def _check_open(self, sent: Sent, got: Message, program: Message) -> None:
        assert (got.status, got.get(b"x-program")) == (200, b"shop")
        assert got.all(b"set-cookie") == []
        assert got.all(b"access-control-allow-origin") == [], "the program has set none"
        assert program.target == sent.target
        assert program.all(b"authorization") == sent.authorizations
        assert program.all(b"cookie") == [b"a=1; b=2"]
        ours = {name for name in program.names() if re.match(rb"x.miosa", name.lower())}
        assert ours <= {b"X-Miosa-Hops", b"X-Miosa-Identity"}
        assert program.all(b"x-other") == [b"1"]
        for value in sent.secrets:
            assert value not in program.raw_head, "a secret in the program's request"

    def _check_identity(self, row: Row, program: Message) -> None:
        """The program is told who it was where its owner wants that, and never otherwise; nobody else can tell it."""
        told = program.all(b"x-miosa-identity")
        if row.option != "told":
            assert told == []
            return
        assert len(told) == 1
        claims = jwt.decode(told[0], PUBLIC_KEY, ["ES256"], audience=HOST.decode())
        assert (claims["how"], claims.get("sub")) == who(row)
        assert (claims["resource"], claims["tenant"], claims["port"]) == ("id-of-shop", "acme", self.backend.port)

    def _check_exchanged(self, row: Row, sent: Sent, got: Message) -> None:
        """By the same address without the link, and with a cookie in its place."""
        assert got.status == 303
        assert got.get(b"location") == b"https://" + HOST + sent.target
        assert (got.get(b"cache-control"), got.get(b"referrer-policy")) == (b"no-store", b"no-referrer")
        if row.outcome == "again":
            assert got.all(b"set-cookie") == [], "they have one"
            return
        pair, *attributes = (got.get(b"set-cookie") or b"").split(b"; ")
        assert re.fullmatch(rb"__Host-miosa-preview=[A-Za-z0-9._-]+", pair)
        ages = [attribute for attribute in attributes if attribute.startswith(b"Max-Age=")]
        assert len(ages) == 1
        assert set(attributes) - set(ages) == {b"Path=/", b"Secure", b"HttpOnly", b"SameSite=None", b"Partitioned"}

    def _check_page(self, row: Row, got: Message) -> None:
        assert (got.status, got.get(b"content-type")) == (200, b"text/html; charset=utf-8")
        assert (got.get(b"cache-control"), got.get(b"referrer-policy")) == (b"no-store", b"no-referrer")
        assert got.all(b"set-cookie") == got.all(b"location") == []
        assert (b' method="post">' in got.body) == (row.kind.method == "GET")

    def _check_preflight(self, got: Message) -> None:
        assert got.status == 204
        assert got.get(b"access-control-allow-origin") == EVIL
        assert got.get(b"access-control-allow-methods") == b"PUT"
        assert got.get(b"access-control-allow-headers") == b"authorization,x-miosa-preview-token"
        assert got.all(b"access-control-allow-credentials") == []
        assert got.all(b"set-cookie") == []

    def _check_refusal(self, row: Row, sent: Sent, got: Message) -> None:
        status = STATUSES[row.outcome]
        if row.kind.name == "grpc":
            assert (got.status, got.get(b"grpc-status")) == (200, GRPC.get(status, b"14"))
        else:
            assert got.status == status
        assert got.all(b"www-authenticate") == ([b'Bearer realm="miosa"'] if status == 401 else [])
        assert got.get(b"cache-control") == b"no-store"
        assert got.all(b"set-cookie") == got.all(b"location") == []
        html = b"Sec-Fetch-Mode: navigate" in HEADERS[row.kind.name] or row.kind.name == "old-browser"
        assert (got.get(b"content-type") == b"text/html; charset=utf-8") == html
        if row.kind.name != "grpc":
            assert got.get(b"access-control-allow-origin") == sent.origin, "a script can read why"
            assert (got.get(b"access-control-allow-credentials") == b"true") == (sent.origin not in (None, b"null"))
            assert (b"X-Miosa-Error" in (got.get(b"access-control-expose-headers") or b"")) == (sent.origin is not None)


def _without_names(got: Message) -> bytes:
    raw = re.sub(rb"req_[0-9a-f]+", b"ID", got.raw_head + got.body)
    return raw.replace(HOST, b"NAME").replace(UNKNOWN_HOST, b"NAME")


def keys_of_the_matrix() -> MemoryKeys:
    keys = MemoryKeys(SIGNING)
    for thing, changes in API_KEYS.items():
        record: KeyRecord = api_key(**changes)
        keys.put(api_key_text(thing).decode(), record, known=thing != "key-workspace")  # one has to be looked up
    for one in SESSIONS:
        keys.put_session(one, known=one.id != "ses_new")
    keys.early_tokens = {token("jwt-early").decode()}
    keys.ci_tokens = {("acme", token(thing).decode()): verdict for thing, verdict in CI_TOKENS.items()}
    for thing, claims in JWTS.items():
        (keys.tokens if claims.until == FAR else keys.expired_tokens)[token(thing).decode()] = claims
    return keys


def preview(edge: RunningEdge, visibility: str, option: str) -> Backend:
    """The shop with that policy, its tenant's other resource, and another tenant's neighbour."""
    values: dict[str, Any] = {
        "visibility": visibility,
        "generation": GENERATION,
        "hide": option.startswith("hide"),
        "login": True,
        "identity": option == "told",
    }
    if option.endswith("expired"):
        values["until"] = PAST
    if option.endswith("inside"):
        values["networks"] = ("10.1.0.0/16",)
    if option.endswith("outside"):
        values["networks"] = ("192.0.2.0/24",)
    rivals: ResourceRecord = resource(
        "rival", tenant_id="rival", policies=policies(secret("neighbour"), secret("neighbour-mail", "link"))
    )
    edge.put(resource("cart", policies=policies(*SECRETS)), rivals)
    return edge.backend(
        "shop", policies=policies(*SECRETS, issuers=(ci_rule(),), **values), workspace_id=WORKSPACE, project_id=PROJECT
    )


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_who_may_open_a_preview(build_edge: BuildEdge, visibility: str, option: str) -> None:
    """Every row of the matrix for one preview: status, code, headers, and what the program saw. Those that differ are shown."""
    keys = keys_of_the_matrix()
    edge = await build_edge(access=keys)
    backend = preview(edge, visibility, option)
    wrong = []
    async with backend.serving(PROGRAMS_RESPONSE) as seen:
        matrix = Matrix(edge, keys, backend, seen)
        for row in rows(visibility, option):
            try:
                await matrix.check(row)
            except (AssertionError, Ended) as error:
                wrong.append(f"{row} → {row.outcome}: {error}")
                matrix._client = None
    assert not wrong, f"{len(wrong)} rows:\n" + "\n".join(wrong[:_SHOWN])


async def test_the_matrix_is_whole() -> None:
    """Every kind of request has its headers, and there are as many rows as were promised."""
    assert HEADERS.keys() == {kind.name for kind in KINDS}
    everything = [row for visibility in VISIBILITIES for option in OPTIONS for row in rows(visibility, option)]
    assert len(everything) > 5000
    assert len({str(row) for row in everything}) == len(everything)
    refusals = {row.outcome for row in everything} - {"open", "exchanged", "page", "used-up", "again", "preflight"}
    assert refusals == STATUSES.keys()

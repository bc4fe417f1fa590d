"""A private preview that asks for a password: the form of our page comes, a cookie goes back, and the program sees nothing of
either."""

import asyncio
from typing import Any

import pytest

from tests.support.access import MemoryKeys, plain, policies, secret
from tests.support.edge import FRONT, RunningEdge
from tests.support.http2_peer import Http2Peer
from tests.support.records import name, resource
from tests.support.wire import Backend, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
PATH = b"/.well-known/miosa/password"
TYPE = b"Content-Type: application/x-www-form-urlencoded"
NAVIGATES = b"Sec-Fetch-Mode: navigate"
SAME = b"Origin: https://shop.miosa.app"
RIGHT = b"password=open%20s%C3%A9same&next=%2Fa%3Fb%3D1"
PASSWORD = "open sésame"


def private(edge: RunningEdge, **changes: Any) -> Backend:
    """The shop, private, with the password."""
    secrets = changes.pop("secrets", (secret("pass", "password"), secret("ci"), secret("mail", "link")))
    return edge.backend("shop", policies=policies(*secrets, **changes))


@pytest.fixture
def keys() -> MemoryKeys:
    made = MemoryKeys()
    made.passwords["pass"] = PASSWORD
    return made


def request(
    *lines: bytes, method: bytes = b"GET", target: bytes = b"/a?b=1", body: bytes = b"", host: bytes = b"shop.miosa.app"
) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: %b\r\nX-Forwarded-Proto: https\r\n%b\r\n%b" % (
        *(method, target, host),
        b"".join(line + b"\r\n" for line in lines),
        body,
    )


def form(body: bytes = RIGHT, *lines: bytes, target: bytes = PATH, typed: bytes = TYPE, **changes: bytes) -> bytes:
    """The form, as a browser sends it."""
    head = (SAME, b"Sec-Fetch-Site: same-origin", NAVIGATES, typed, b"Content-Length: %d" % len(body))
    return request(*(lines or head), method=b"POST", target=target, body=body, **changes)


async def send(edge: RunningEdge, raw: bytes) -> Message:
    """One request over a connection of its own, and its response."""
    client = await edge.client(FRONT)
    await client.send(raw)
    return await client.read_response(raw.partition(b" ")[0])


async def cookie_of(edge: RunningEdge) -> bytes:
    got = await send(edge, form())
    assert got.status == 303
    return b"Cookie: " + (got.get(b"set-cookie") or b"").partition(b";")[0]


# The page.


async def test_the_page_asks_for_it(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """With a form of ours, without a script, that leads to where the visitor was going, without tokens of ours."""
    edge = await build_edge(access=keys)
    private(edge)
    got = await send(edge, request(NAVIGATES, target=b"/a?b=%22%3C&miosa_token=&c=1"))
    assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing")
    assert b'<form class="ask" method="post" action="/.well-known/miosa/password">' in got.body
    assert b'<input type="hidden" name="next" value="/a?b=%22%3C&amp;c=1">' in got.body
    assert b'type="password" autocomplete="current-password" required' in got.body
    assert b'<label for="password">' in got.body
    assert b"<script" not in got.body
    assert b"form-action 'self'" in (got.get(b"content-security-policy") or b"")
    assert got.get(b"referrer-policy") == b"same-origin"  # else a browser would say `Origin: null`
    assert got.get(b"cache-control") == b"no-store"


@pytest.mark.parametrize(
    ("lines", "target"),
    [
        ((b"Accept: application/json",), b"/"),
        ((b"Accept: text/markdown",), b"/"),
        ((b"Sec-Fetch-Mode: cors", b"Accept: text/html"), b"/"),
        ((), b"/"),
    ],
)
async def test_programs_get_no_form(
    build_edge: BuildEdge, keys: MemoryKeys, lines: tuple[bytes, ...], target: bytes
) -> None:
    """They get the code."""
    edge = await build_edge(access=keys)
    private(edge)
    got = await send(edge, request(*lines, target=target))
    assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing")
    assert b"<form" not in got.body


@pytest.mark.parametrize(
    "changes",
    [
        {"visibility": "key"},
        {"hide": True},
        {"secrets": (secret("ci"),)},
        {"secrets": (secret("pass", "password", revoked=True),)},
        {"secrets": (secret("pass", "password", until=5.0),)},
        {"until": 5.0},
        {"networks": ("203.0.113.0/24",)},
    ],
)
async def test_where_no_password_opens_it_none_is_asked_for(
    build_edge: BuildEdge, keys: MemoryKeys, changes: dict[str, Any]
) -> None:
    """Nor is one looked at, and what was typed does not reach the program."""
    edge = await build_edge(access=keys)
    backend = private(edge, **changes)
    page = await send(edge, request(NAVIGATES))
    assert page.status in (401, 403, 404, 410)
    assert b"<form" not in page.body
    got = await send(edge, form())
    assert got.status in (401, 403, 404, 410)
    assert got.all(b"set-cookie") == []
    assert keys.tries == []
    assert not backend.has_visitor()


async def test_a_form_never_reaches_the_program(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """Also where what comes with it would open the preview, and no password is set any more."""
    edge = await build_edge(access=keys)
    backend = private(edge, secrets=(secret("ci"),))
    token = b"X-Miosa-Preview-Token: " + plain("ci").encode()
    got = await send(edge, form(RIGHT, SAME, TYPE, token, b"Content-Length: %d" % len(RIGHT)))
    assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing")
    assert not backend.has_visitor()


async def test_on_a_public_preview_the_path_is_the_program_s(edge: RunningEdge) -> None:
    """As every other."""
    backend = edge.backend("shop")
    async with backend.serving(OK) as seen:
        got = await send(edge, form())
    assert got.status == 200
    assert (seen[0].target, seen[0].body) == (PATH, RIGHT)


# What is typed.


async def test_the_right_one_lets_in(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """With the cookie that links give too, to where the visitor was going. Then that opens it."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    got = await send(edge, form())
    assert (got.status, got.get(b"location")) == (303, b"https://shop.miosa.app/a?b=1")
    assert (got.get(b"cache-control"), got.get(b"referrer-policy")) == (b"no-store", b"no-referrer")
    cookie = got.get(b"set-cookie") or b""
    assert cookie.startswith(b"__Host-miosa-preview=1.")
    assert cookie.endswith(b"; Secure; HttpOnly; SameSite=None; Partitioned")
    assert [one[:2] for one in keys.tries] == [("pass", PASSWORD)]
    assert keys.uses == [("pass", False)]
    async with backend.serving(OK) as seen:
        opened = await send(edge, request(b"Cookie: " + cookie.partition(b";")[0]))
    assert opened.status == 200
    assert [one.target for one in seen] == [b"/a?b=1"]
    assert seen[0].all(b"cookie") == []


async def test_the_wrong_one_is_asked_for_again(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """On a page that says so, and still leads there; programs get the code."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    wrong = b"password=Open+sesame&next=%2Fa%3Fb%3D1"
    got = await send(edge, form(wrong))
    assert (got.status, got.get(b"x-miosa-error"), got.all(b"set-cookie")) == (403, b"password_wrong", [])
    assert b'name="next" value="/a?b=1"' in got.body
    assert b"aria-invalid" in got.body
    assert b"Open sesame" not in got.body
    script = await send(edge, form(wrong, SAME, TYPE, b"Accept: application/json", b"Content-Length: %d" % len(wrong)))
    assert (script.status, script.get(b"x-miosa-error")) == (403, b"password_wrong")
    assert b"<form" not in script.body
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    ("after", "location"),
    [
        (b"", b"/"),
        (b"&next=", b"/"),
        (b"&next=//evil.example", b"/"),
        (b"&next=https://evil.example/", b"/"),
        (b"&next=%2F%5Cevil.example", b"/"),
        (b"&next=%2F%0D%0ASet-Cookie:%20a=b", b"/"),
        (b"&next=/.well-known/miosa/password", b"/"),
        (b"&next=/a?miosa_token=mpl_x%26c", b"/a?c"),
        (b"&next=/" + b"a" * 2047, b"/" + b"a" * 2047),
        (b"&next=/" + b"a" * 2048, b"/"),
    ],
)
async def test_it_leads_to_the_same_host(
    build_edge: BuildEdge, keys: MemoryKeys, after: bytes, location: bytes
) -> None:
    """Whatever the form says."""
    edge = await build_edge(access=keys)
    private(edge)
    got = await send(edge, form(b"password=open+s%C3%A9same" + after))
    assert (got.status, got.get(b"location")) == (303, b"https://shop.miosa.app" + location)
    assert len(got.all(b"set-cookie")) == 1


BAD_FORMS: list[tuple[bytes, bytes, int, bytes]] = [
    (b"", TYPE, 400, b"bad_request"),
    (b"next=/", TYPE, 400, b"bad_request"),
    (b"password=", TYPE, 400, b"bad_request"),
    (b"Password=open", TYPE, 400, b"bad_request"),
    (b"password=a&password=a", TYPE, 400, b"bad_request"),
    (b"password=a&%70assword=b", TYPE, 400, b"bad_request"),
    (b"password=a&next=/&next=/", TYPE, 400, b"bad_request"),
    (b"password=%", TYPE, 400, b"bad_request"),
    (b"password=%4", TYPE, 400, b"bad_request"),
    (b"password=%zz", TYPE, 400, b"bad_request"),
    (b"pass%zzword=a&password=a", TYPE, 400, b"bad_request"),
    (b"password=%ff%fe", TYPE, 400, b"bad_request"),
    (b"password=\xff\xfe", TYPE, 400, b"bad_request"),
    (b"password=%ed%a0%80", TYPE, 400, b"bad_request"),
    (b"&" * 4000, TYPE, 400, b"bad_request"),
    (b'{"password": "open"}', b"Content-Type: application/json", 400, b"bad_request"),
    (RIGHT, b"Content-Type: text/plain", 400, b"bad_request"),
    (RIGHT, b"Content-Type: multipart/form-data; boundary=a", 400, b"bad_request"),
    (RIGHT, b"X-None: 1", 400, b"bad_request"),
    (b"password=" + b"a" * 4088, TYPE, 413, b"payload_too_large"),
    (b"password=" + b"a" * 100_000, TYPE, 413, b"payload_too_large"),
    (b"password=" + b"a" * 4087, TYPE, 403, b"password_wrong"),
    (b"password=\x00", TYPE, 403, b"password_wrong"),
    (b"password=a=b", TYPE, 403, b"password_wrong"),
]


@pytest.mark.parametrize(("body", "typed", "status", "code"), BAD_FORMS)
@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_no_form_of_ours(
    build_edge: BuildEdge, keys: MemoryKeys, body: bytes, typed: bytes, status: int, code: bytes, chunked: bool
) -> None:
    """A clear refusal, nothing is looked at, and the program hears nothing of it."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    lines = (SAME, typed, b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body))
    sent = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n") if chunked else body
    got = await send(edge, request(*lines, method=b"POST", target=PATH, body=sent))
    assert (got.status, got.get(b"x-miosa-error")) == (status, code)
    assert len(keys.tries) == (status == 403)
    assert got.all(b"set-cookie") == []
    assert not backend.has_visitor()


async def test_it_may_come_in_pieces(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """Byte by byte, chunked, after `100 Continue`, or with the next request behind it."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    client = await edge.client(FRONT)
    await client.dribble(form())
    assert (await client.read_response(b"POST")).status == 303
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in RIGHT) + b"0\r\n\r\n"
    await client.dribble(form(b"", SAME, TYPE, b"Transfer-Encoding: chunked") + chunks)
    assert (await client.read_response(b"POST")).status == 303
    await client.send(form(b"", SAME, TYPE, b"Content-Length: %d" % len(RIGHT), b"Expect: 100-continue"))
    assert (await client.read_head()).status == 100
    await client.send(RIGHT)
    assert (await client.read_response(b"POST")).status == 303
    await client.send(form() + form(b"password=no") + request())
    assert [(await client.read_response(b"POST")).status for _ in range(2)] == [303, 403]
    assert (await client.read_response()).status == 401
    assert not backend.has_visitor()


async def test_a_slow_form_is_not_waited_for(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """It has as long as a head has; then the connection is closed."""
    edge = await build_edge(access=keys, head_time=0.2)
    private(edge)
    for lines, body in (
        ((b"Content-Length: 100",), b"password=o"),
        ((b"Transfer-Encoding: chunked",), b"5\r\npassw"),
        ((b"Content-Length: 100",), b""),
    ):
        got = await send(edge, request(SAME, TYPE, *lines, method=b"POST", target=PATH, body=body))
        assert (got.status, got.get(b"x-miosa-error")) == (408, b"request_timeout")
        assert got.get(b"connection") == b"close"
    assert keys.tries == []


async def test_a_client_that_leaves_in_the_middle(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """Nothing is left of it, and nothing is looked at."""
    edge = await build_edge(access=keys)
    private(edge)
    client = await edge.client(FRONT)
    await client.send(request(SAME, TYPE, b"Content-Length: 100", method=b"POST", target=PATH, body=b"password=o"))
    client.reset()
    (ended,) = await edge.ended(1)
    assert ended.ending == "CA"
    assert keys.tries == []


async def test_framing_that_breaks_in_the_middle(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """As everywhere: refused, and closed."""
    edge = await build_edge(access=keys)
    private(edge)
    got = await send(edge, form(b"", SAME, TYPE, b"Transfer-Encoding: chunked") + b"zz\r\n")
    assert (got.status, got.get(b"x-miosa-error")) == (400, b"bad_request")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Origin: null",),
        (b"Origin: https://evil.example", b"Sec-Fetch-Site: cross-site"),
        (b"Origin: https://rival.miosa.app", b"Sec-Fetch-Site: same-site"),
        (b"Origin: http://shop.miosa.app",),
        (b"Sec-Fetch-Site: cross-site",),
    ],
)
async def test_another_site_s_form_is_refused(
    build_edge: BuildEdge, keys: MemoryKeys, lines: tuple[bytes, ...]
) -> None:
    """It would put a visitor where its sender wants them, and use up tries in their name."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    got = await send(edge, form(RIGHT, *lines, TYPE, b"Content-Length: %d" % len(RIGHT)))
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"origin_not_allowed")
    assert (keys.tries, got.all(b"set-cookie")) == ([], [])
    assert not backend.has_visitor()


async def test_too_many_tries(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """429 with the time to wait; who has a cookie comes in meanwhile."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    cookie = await cookie_of(edge)
    keys.wait = 41
    got = await send(edge, form())
    assert (got.status, got.get(b"x-miosa-error"), got.get(b"retry-after")) == (429, b"too_many_tries", b"41")
    assert b'name="next" value="/a?b=1"' in got.body
    assert got.all(b"set-cookie") == []
    async with backend.serving(OK):
        assert (await send(edge, request(cookie))).status == 200


async def test_while_the_store_is_away(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """It is a fault of ours, never a no."""
    edge = await build_edge(access=keys)
    private(edge)
    keys.down = True
    got = await send(edge, form())
    assert (got.status, got.get(b"x-miosa-error")) == (503, b"resolver_unavailable")


async def test_while_no_key_signs_cookies(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """They are looked up, once the password was the right one."""
    edge = await build_edge(access=keys)
    private(edge)
    keys.signing = None
    assert (await send(edge, form())).status == 303


@pytest.mark.parametrize("code", ["pass", "gone"])
async def test_who_came_in_by_an_old_one_is_asked_for_the_new(
    build_edge: BuildEdge, keys: MemoryKeys, code: str
) -> None:
    """Their cookie is refused, on a page with the form: or they could not come in before it ends."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    cookie = await cookie_of(edge)
    old = (secret("pass", "password", revoked=True),) if code == "pass" else ()
    edge.point("shop", backend, policies=policies(*old, secret("new", "password")))
    got = await send(edge, request(NAVIGATES, cookie))
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_revoked")
    assert b'name="next" value="/a?b=1"' in got.body


async def test_unsafe_requests_and_websockets_by_its_cookie(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """Pages of the preview may send them, pages of other sites not."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    cookie = await cookie_of(edge)
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: eA==")
    evil = b"Origin: https://evil.example"
    for lines, method in (((), b"POST"), ((), b"DELETE"), (upgrade, b"GET")):
        refused = await send(edge, request(cookie, *lines, evil, method=method))
        assert (refused.status, refused.get(b"x-miosa-error")) == (403, b"origin_not_allowed")
    assert not backend.has_visitor()
    async with backend.serving(OK):
        assert (await send(edge, request(cookie, SAME, method=b"DELETE"))).status == 200


async def test_over_http2(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """The same form, the same cookie, the same refusals."""
    edge = await build_edge(access=keys)
    backend = private(edge)
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    proto = (b"x-forwarded-proto", b"https")
    fields = ((b"origin", b"https://shop.miosa.app"), (b"content-type", b"application/x-www-form-urlencoded"))

    async def sent(body: bytes) -> int:
        stream = await client.request(proto, *fields, body=body, method=b"POST", path=PATH, authority=b"shop.miosa.app")
        return (await client.whole(stream)).status

    assert await sent(RIGHT) == 303
    assert await sent(b"password=no") == 403
    assert await sent(b"password=%") == 400
    assert await sent(b"password=" + b"a" * 5000) == 413
    assert not backend.has_visitor()


async def test_a_host_that_leads_to_another_sends_on_to_where_it_asks(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """A cookie of it would open nothing there."""
    edge = await build_edge(access=keys)
    shop = resource("shop", policies=policies(secret("pass", "password")))
    edge.put(shop, name("www.example.com", shop, redirect_to="example.com"), name("example.com", shop))
    got = await send(edge, request(NAVIGATES, host=b"www.example.com"))
    assert (got.status, got.get(b"location")) == (308, b"https://example.com/a?b=1")


async def test_of_many_at_once_each_has_its_answer(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """None waits for another's slow body."""
    edge = await build_edge(access=keys)
    private(edge)
    slow = await edge.client(FRONT)
    await slow.send(request(SAME, TYPE, b"Content-Length: 100", method=b"POST", target=PATH, body=b"password=o"))
    answers = await asyncio.gather(*(send(edge, form()) for _ in range(20)))
    assert [one.status for one in answers] == [303] * 20
    slow.close()


async def test_refusals_are_counted_by_their_code(build_edge: BuildEdge, keys: MemoryKeys) -> None:
    """So that guessing can be seen; who is let in is not among them."""
    edge = await build_edge(access=keys)
    private(edge)
    await send(edge, request(NAVIGATES))
    await send(edge, form(b"password=wrong&next=%2F"))
    keys.wait = 30
    await send(edge, form(b"password=wrong&next=%2F"))
    keys.wait = 0
    await cookie_of(edge)
    lines = edge.metrics.render("")[0].decode().splitlines()
    counts = dict(line.split(" ") for line in lines if line.startswith("miosa_router_access_refusals_total{"))
    refused = {name.partition('"')[2].rstrip('"}'): float(count) for name, count in counts.items() if float(count)}
    assert refused == {"token_missing": 1, "password_wrong": 1, "too_many_tries": 1}

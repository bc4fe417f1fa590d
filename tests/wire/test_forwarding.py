"""What the backend sees of a request, and the client of an answer: bytes kept, bytes dropped, bytes added."""

import pytest

from router.gate.evidence import MemoryEvidence
from router.observe.ended_exchange import Finished
from router.observe.trace_context import trace_id_of
from tests.support import records
from tests.support.edge import FRONT, OUTSIDE, RunningEdge
from tests.support.wire import End, Message

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def exchange(
    edge: RunningEdge,
    *,
    lines: bytes = b"",
    first: bytes = b"GET /a HTTP/1.1",
    host: bytes = b"shop.miosa.app",
    answer: bytes = OK,
    source: str = OUTSIDE,
    **changes: object,
) -> tuple[Message, Message]:
    """One request through the proxy: what the backend saw, what the client got."""
    backend = edge.backend("shop", **changes)
    client = await edge.client(source)
    await client.send(first + b"\r\nHost: " + host + b"\r\n" + lines + b"\r\n")
    _, request = await backend.answer(answer)
    return request, await client.read_response(first.partition(b" ")[0])


async def test_answers_keep_order_case_and_duplicates(edge: RunningEdge) -> None:
    """Set-Cookie above all: lines are passed on as they are, in their order."""
    lines = [
        (b"set-cookie", b"a=1; Path=/"),
        (b"X-B", b"2"),
        (b"Set-Cookie", b"b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        (b"x-b", b"\xe9 \"q\", 'r'"),
        (b"Date", b"Sun, 22 Nov 2026 09:00:00 GMT"),
        (b"Server", b"dev"),
        (b"SET-COOKIE", b"a=3"),
        (b"X-Empty", b""),
    ]
    raw = b"".join(b"%b: %b\r\n" % line for line in lines)
    _, answer = await exchange(edge, answer=b"HTTP/1.1 203 Some Reason\r\n" + raw + b"Content-Length: 0\r\n\r\n")
    assert answer.first == b"HTTP/1.1 203 Some Reason"
    assert answer.besides_id() == [*lines, (b"Content-Length", b"0")]


async def test_hop_by_hop_headers_of_an_answer_end_here(edge: RunningEdge) -> None:
    """What Connection names is dropped as well, and never more than it may take out."""
    _, answer = await exchange(
        edge,
        answer=b"HTTP/1.1 200 OK\r\nConnection: X-Hop, set-cookie, content-length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"connection: keep-alive\r\nProxy-Connection: x\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=b\r\n"
        b"Upgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n",
    )
    assert answer.besides_id() == [(b"Set-Cookie", b"a=b"), (b"X-Kept", b"1"), (b"Content-Length", b"0")]


async def test_backends_cannot_say_what_only_we_may(edge: RunningEdge) -> None:
    """An X-Miosa-* header of an answer is the edge's own."""
    _, answer = await exchange(
        edge, answer=b"HTTP/1.1 200 OK\r\nX-Miosa-Error: host_not_found\r\nx-MIOSA-a: b\r\nContent-Length: 0\r\n\r\n"
    )
    assert answer.besides_id() == [(b"Content-Length", b"0")]


FORWARDED = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example.com\r\n"


async def test_forwarding_headers_of_a_trusted_front_are_believed(edge: RunningEdge) -> None:
    """The client's address, scheme, host and id are what the front says; the set is written anew, once."""
    request, _ = await exchange(
        edge,
        source=FRONT,
        lines=FORWARDED % b"198.51.100.7"
        + b"X-Forwarded-Port: 8443\r\nX-Request-ID: abc-123\r\nX-Real-IP: 1.2.3.4\r\n",
    )
    assert request.get(b"x-forwarded-for") == b"198.51.100.7"
    assert request.get(b"x-forwarded-proto") == b"https"
    assert request.get(b"x-forwarded-host") == b"shop.example.com"
    assert request.get(b"x-forwarded-port") == b"8443"
    assert request.get(b"forwarded") == b'for=198.51.100.7;host="shop.example.com";proto=https'
    assert request.get(b"x-request-id") == b"abc-123"
    assert request.get(b"x-real-ip") is None
    (finished,) = edge.finished
    assert (finished.client, finished.scheme, finished.request_id) == ("198.51.100.7", "https", "abc-123")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"198.51.100.7, 127.0.0.1", "198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7, 127.0.0.1,127.0.0.1", "198.51.100.7"),
        (b"unknown", FRONT),
        (b"6.6.6.6, unknown, 127.0.0.1", FRONT),
        (b"6.6.6.6, 198.51.100.7:1234", "198.51.100.7"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"::ffff:198.51.100.7", "198.51.100.7"),
        (b"", FRONT),
        (b",,,", FRONT),
        (b"198.51.100.7\r\nX-Forwarded-For: 198.51.100.8", "198.51.100.8"),
    ],
)
async def test_the_chain_is_walked_from_the_right(edge: RunningEdge, chain: bytes, client: str) -> None:
    """The first address that is no trusted proxy is the client; what stands left of it may be anybody's invention."""
    request, _ = await exchange(edge, source=FRONT, lines=FORWARDED % chain)
    assert request.get(b"x-forwarded-for") == client.encode()
    assert edge.finished[0].client == client


@pytest.mark.parametrize(
    ("said", "client", "proto"),
    [
        (b"for=198.51.100.7;proto=https", "198.51.100.7", b"https"),
        (b'For="[2001:db8::1]:47011";Proto=HTTPS', "2001:db8::1", b"https"),
        (b"for=6.6.6.6, for=198.51.100.7;proto=http", "198.51.100.7", b"http"),
        (b"for=_hidden", FRONT, b"http"),
        (b"nonsense", FRONT, b"http"),
    ],
)
async def test_the_forwarded_header_of_a_front_is_read(
    edge: RunningEdge, said: bytes, client: str, proto: bytes
) -> None:
    """RFC 7239's form says the same, where the older one is missing."""
    request, _ = await exchange(edge, source=FRONT, lines=b"Forwarded: " + said + b"\r\n")
    assert request.get(b"x-forwarded-for") == client.encode()
    assert request.get(b"x-forwarded-proto") == proto


@pytest.mark.parametrize(
    "said",
    [
        b"X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: x\r\n",
        b"X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: a.example, b.example\r\nX-Forwarded-Port: 999999\r\n",
        b"X-Forwarded-Proto:\r\nX-Forwarded-Host:\r\nX-Forwarded-Port:\r\n",
        b'X-Forwarded-Proto: "https"\r\nX-Forwarded-Host: a"b\r\nX-Forwarded-Port: +1\r\n',
    ],
)
async def test_nonsense_of_a_front_is_not_passed_on(edge: RunningEdge, said: bytes) -> None:
    """Each value is one that it can be, or the connection's own."""
    request, _ = await exchange(edge, source=FRONT, lines=said)
    assert request.get(b"x-forwarded-proto") == b"http"
    assert request.get(b"x-forwarded-host") == b"shop.miosa.app"
    assert request.get(b"x-forwarded-port") == b"80"


@pytest.mark.parametrize("id", [b"", b"a b", b"a\xe9", b'a"b', b"a,b", b"x" * 200, b"<script>"])
async def test_an_odd_request_id_is_replaced(edge: RunningEdge, id: bytes) -> None:
    """It ends up in logs, pages and shells: a trusted front's as well has to look like one."""
    request, _ = await exchange(edge, source=FRONT, lines=b"X-Request-ID: " + id + b"\r\n")
    made = request.get(b"x-request-id")
    assert made is not None
    assert made.startswith(b"req_")
    assert edge.finished[0].request_id == made.decode()


async def test_request_ids_are_unique(edge: RunningEdge) -> None:
    """Each request gets its own, on one connection too."""
    backend = edge.backend("shop")
    client = await edge.client()
    ids = set()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n" * 3)
    end = await backend.accept()
    for _ in range(3):
        ids.add((await end.read_request()).get(b"x-request-id"))
        await end.send(OK)
        await client.read_response()
    assert len(ids) == 3


async def test_who_sent_it_is_judged_per_request(edge: RunningEdge) -> None:
    """A front keeps one connection for many clients: nothing of one request's origin is left for the next."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    end = None
    for said, expected in [
        (b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n", (b"198.51.100.7", b"https")),
        (b"X-Forwarded-For: 198.51.100.8\r\n", (b"198.51.100.8", b"http")),
        (b"", (FRONT.encode(), b"http")),
        (b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n", (b"198.51.100.7", b"https")),
    ]:
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + said + b"\r\n")
        end = end or await backend.accept()
        request = await end.read_request()
        await end.send(OK)
        await client.read_response()
        assert (request.get(b"x-forwarded-for"), request.get(b"x-forwarded-proto")) == expected


async def test_traffic_over_https_is_evidence_of_a_certificate(edge: RunningEdge) -> None:
    """The exchange's record carries it to the gate. Only what a trusted proxy says of the scheme counts."""
    evidence = MemoryEvidence(edge.clock)
    backend = edge.backend("shop")
    for source in (OUTSIDE, FRONT):
        client = await edge.client(source)
        await client.send(b"GET / HTTP/1.1\r\nHost: Shop.miosa.app\r\nX-Forwarded-Proto: https\r\n\r\n")
        if not backend.ends:
            await backend.accept()
        await backend.ends[0].read_request()
        await backend.ends[0].send(OK)
        await client.read_response()
        await edge.idle()
        evidence.learn(edge.finished)
        assert evidence.seen("shop.miosa.app") == (source == FRONT)


async def read_and_answer(end: End, client: End) -> Message:
    request = await end.read_request()
    await end.send(OK)
    await client.read_response()
    return request


async def test_each_request_of_a_connection_goes_where_its_host_says(edge: RunningEdge) -> None:
    """A front multiplexes: the route of one request is never used for the next."""
    shop, blog = edge.backend("shop"), edge.backend("blog")
    client = await edge.client()
    for backend, name in [(shop, b"shop"), (blog, b"blog"), (shop, b"shop"), (blog, b"blog")]:
        await client.send(b"GET /%b HTTP/1.1\r\nHost: %b.miosa.app\r\n\r\n" % (name, name))
        end = backend.ends[0] if backend.ends else await backend.accept()
        assert (await read_and_answer(end, client)).target == b"/" + name
    assert not shop.has_visitor()
    assert not blog.has_visitor()


# Host modes.


async def test_a_host_is_preserved(edge: RunningEdge) -> None:
    """By default the program sees the name that was visited."""
    request, _ = await exchange(edge, host=b"Shop.miosa.app:8080", lines=b"Origin: http://Shop.miosa.app:8080\r\n")
    assert request.get(b"host") == b"Shop.miosa.app:8080"
    assert request.get(b"origin") == b"http://Shop.miosa.app:8080"


@pytest.mark.parametrize("mode", ["localhost", "dev.internal:1234"])
async def test_a_host_is_rewritten_with_origin_and_location(edge: RunningEdge, mode: str) -> None:
    """A dev server that allows certain hosts only sees one story, and its redirects come back in the visitor's terms."""
    backend = edge.backend("shop")
    edge.point("shop", backend, host_modes={backend.port: mode})
    says = (f"localhost:{backend.port}" if mode == "localhost" else mode).encode()
    client = await edge.client(FRONT)
    await client.send(
        b"POST /a HTTP/1.1\r\nHost: shop.miosa.app\r\nX-A: b\r\nOrigin: https://shop.miosa.app\r\n"
        b"X-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n"
    )
    end, request = await backend.answer(
        b"HTTP/1.1 302 Found\r\nLocation: http://" + says + b"/login?a=b\r\nContent-Length: 0\r\n\r\n"
    )
    assert request.get(b"host") == says
    assert request.get(b"origin") == b"http://" + says
    assert request.get(b"x-forwarded-host") == says
    assert request.get(b"x-forwarded-proto") == b"http"
    assert request.names()[:3] == [b"Host", b"X-A", b"Origin"]
    assert (await client.read_response()).get(b"location") == b"https://shop.miosa.app/login?a=b"
    # Others' origins and locations are not ours to rewrite.
    for origin, location in [
        (b"https://evil.example", b"https://elsewhere.example/"),
        (b"null", b"/relative"),
        (b"https://shop.miosa.app.evil.example", b"http://" + says + b".evil.example/"),
    ]:
        await client.send(
            b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Forwarded-Proto: https\r\nOrigin: " + origin + b"\r\n\r\n"
        )
        assert (await end.read_request()).get(b"origin") == origin
        await end.send(b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
        assert (await client.read_response()).get(b"location") == location


async def test_an_exact_redirect_of_ours_keeps_path_and_query(edge: RunningEdge) -> None:
    """A domain that only redirects sends visitors to the same place under the other name."""
    edge.put(records.name("old.example", None, redirect_to="new.example", redirect_status=301))
    client = await edge.client(FRONT)
    await client.send(b"GET /a/%2e?b=c HTTP/1.1\r\nHost: OLD.example:443\r\nX-Forwarded-Proto: https\r\n\r\n")
    answer = await client.read_response()
    assert (answer.status, answer.get(b"location")) == (301, b"https://new.example/a/%2e?b=c")
    assert edge.endings == ["--"]


async def test_a_loop_is_broken(edge: RunningEdge) -> None:
    """A preview that proxies to itself gets 508 instead of all the sockets that there are."""
    edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Miosa-Hops: 5\r\n\r\n")
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (508, b"loop_detected")


async def test_hops_are_counted_without_via(edge: RunningEdge) -> None:
    """Servers that see a Via don't compress; what others wrote there stays, and we count in a header of ours."""
    request, _ = await exchange(edge, lines=b"Via: 1.0 fred, 1.1 p.example\r\nX-Miosa-Hops: 3\r\n")
    assert request.all(b"via") == [b"1.0 fred, 1.1 p.example"]
    assert request.all(b"x-miosa-hops") == [b"4"]


async def test_a_preview_that_proxies_to_itself_meets_itself_five_times(edge: RunningEdge) -> None:
    """The program passes on what it gets, as proxies do; the sixth time is refused."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    chain: list[tuple[End, End]] = []
    for number in range(1, 6):
        end = await backend.accept()
        request = await end.read_request()
        assert request.all(b"x-miosa-hops") == [b"%d" % number]
        chain.append((end, client))
        client = await edge.client()
        await client.send(b"\r\n".join([request.first, *[b": ".join(line) for line in request.headers], b"", b""]))
    assert (await client.read_response()).status == 508
    for end, visitor in reversed(chain):
        await end.send(b"HTTP/1.1 508 x\r\nContent-Length: 0\r\n\r\n")
        assert (await visitor.read_response()).status == 508


@pytest.mark.parametrize("source", [OUTSIDE, FRONT])
async def test_the_backend_never_sees_a_dot_behind_the_host(edge: RunningEdge, source: str) -> None:
    """Neither in Host nor in what is said of the visited host, nor in the visitor's Origin."""
    request, answer = await exchange(
        edge,
        host=b"shop.miosa.app.",
        lines=b"X-Forwarded-Host: shop.miosa.app.\r\nOrigin: http://shop.miosa.app.\r\n",
        source=source,
    )
    assert answer.status == 200
    assert request.get(b"host") == request.get(b"x-forwarded-host") == b"shop.miosa.app"
    assert request.get(b"origin") == b"http://shop.miosa.app"
    assert not [value for _, value in request.headers if b"app." in value]


async def test_every_response_says_its_request(edge: RunningEdge) -> None:
    """The id that the backend got and the access line has, unless the backend names one of its own."""
    request, answer = await exchange(edge, source=FRONT, lines=b"X-Request-ID: my-1\r\n")
    assert request.get(b"x-request-id") == answer.get(b"x-request-id") == b"my-1"
    request, answer = await exchange(edge, answer=b"HTTP/1.1 200 OK\r\nx-request-id: own\r\nContent-Length: 0\r\n\r\n")
    assert answer.all(b"x-request-id") == [b"own"]


async def test_the_record_says_what_was_asked_and_answered(edge: RunningEdge) -> None:
    """One record for each exchange, with the facts that the access line needs."""
    await exchange(
        edge,
        first=b"GET /a?b=c HTTP/1.1",
        lines=b"User-Agent: ua/1\r\nReferer: http://r.example/\r\n",
        answer=b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
    )
    finished: Finished = edge.finished[0]
    assert (finished.method, finished.target, finished.host, finished.version) == (
        b"GET",
        b"/a?b=c",
        b"shop.miosa.app",
        1,
    )
    assert (finished.status, finished.received, finished.sent, finished.ending) == (404, 0, 5, "--")
    assert (finished.user_agent, finished.referer) == (b"ua/1", b"http://r.example/")
    assert (finished.tries, finished.reused, finished.looked_up, finished.tunnel) == (1, False, True, False)
    assert finished.started <= finished.first_byte <= finished.ended
    assert finished.client == OUTSIDE
    assert finished.problem is None


_TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("lines", "trace", "believed"),
    [
        ([b"00-" + _TRACE + b"-00f067aa0ba902b7-01"], _TRACE, True),
        ([b"00-" + _TRACE.upper() + b"-00f067aa0ba902b7-01"], b"", True),
        ([b"00-" + _TRACE + b"-00f067aa0ba902b7-01"] * 2, b"", True),
        ([b"00-" + _TRACE + b"-00f067aa0ba902b7-01"], _TRACE, False),
        ([], b"", True),
    ],
    ids=["right", "wrong", "twice", "of a stranger", "none"],
)
async def test_the_trace_context_of_a_request_goes_on_as_it_came(
    edge: RunningEdge, lines: list[bytes], trace: bytes, believed: bool
) -> None:
    """Right or wrong, with its tracestate, and none is added; what is read of it is on the record."""
    headers = [(b"Traceparent", line) for line in lines] + [(b"tracestate", b"congo=t61rcWkgMzE")]
    raw = b"".join(b"%b: %b\r\n" % header for header in headers)
    request, _ = await exchange(edge, lines=raw, source=FRONT if believed else OUTSIDE)
    assert [header for header in request.headers if header[0].lower().startswith(b"trace")] == headers
    (done,) = await edge.ended(1)
    assert trace_id_of(done.traceparent).encode() == trace
    assert done.by_trusted_proxy() is believed
    assert done.resolved_at >= done.started

"""What takes the place of a resource's response, decided without anything being sent."""

from typing import Final

import pytest

from router import errors
from router.errors import EDGE_PROBLEMS, Fault, Problem
from router.http1.local_heads import LocalResponse
from router.observe import endings
from router.pages import Pages
from router.proxy import PlainHttp
from router.proxy.local_responses import HEALTH, ending_of, instead, problem, unasked
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.records import resource
from tests.unit.http1.messages import read

ID: Final = b"req_1"
SHOP: Final = resource("shop")
CHALLENGE: Final = "/.well-known/miosa-challenge/token"


def route(
    reason: str = "served",
    what: Problem | None = None,
    *,
    level: Level = Level.PLATFORM,
    host: str = "a.b",
    **changes: object,
) -> Route:
    """A route of that decision; by default it leads to a resource."""
    decision = Decision(level, reason, what, SHOP if what is None else None, 3000, **changes)  # type: ignore[arg-type]
    return Route(host, decision, keys=(), source="memory", expires=60.0)


SERVED = route()
CUSTOM = route(level=Level.EXACT)
CHALLENGED = route(level=Level.EXACT, challenge=("token", "proof"))
MOVED = route(redirect_to="new.b", redirect_status=308)
ABSENT = route("unknown_host", errors.HOST_NOT_FOUND)
STARTING = route("starting", errors.STARTING)
INVALID = route("invalid_host", errors.INVALID_HOST)
BLOCKED = route("suspended", errors.BLOCKED)

FORBIDDEN = route(level=Level.EXACT, caa_forbidden=True)
ELSEWHERE = route(level=Level.EXACT, not_pointing=True)
MARK: Final = b"X-Miosa-Plain-HTTP: redirect"

SERVE: Final = None
REDIRECT: Final = PlainHttp(lambda host: host == "a.b", fetched=False, port=None)
NO_CERTIFICATES: Final = PlainHttp(lambda _: False, fetched=False, port=8443)
FETCHED: Final = PlainHttp(lambda _: False, fetched=True, port=None)

# (route, first line, header lines, how plain HTTP is served) → what takes its place: a problem, a response's status and
# the first header's value, or None.
DECISIONS = [
    (SERVED, b"GET /", [], SERVE, None),
    (CUSTOM, b"GET /", [], SERVE, None),
    (ABSENT, b"GET /", [], SERVE, errors.HOST_NOT_FOUND),
    (STARTING, b"GET /", [], SERVE, errors.STARTING),
    (BLOCKED, b"GET /", [], SERVE, errors.BLOCKED),
    (MOVED, b"GET /a?b", [], SERVE, (308, b"http://new.b/a?b")),
    # challenges: the proof, whatever else is to be said of the host
    (CHALLENGED, b"GET " + CHALLENGE.encode(), [], SERVE, (200, b"text/plain")),
    (CHALLENGED, b"GET " + CHALLENGE.encode(), [], FETCHED, (200, b"text/plain")),
    (CHALLENGED, b"GET " + CHALLENGE.encode() + b"s", [], SERVE, None),
    # without TLS
    (SERVED, b"GET /a?b", [], REDIRECT, (308, b"https://a.b/a?b")),
    (SERVED, b"GET /a?b", [], NO_CERTIFICATES, (307, b"https://a.b:8443/a?b")),
    (SERVED, b"GET /", [], FETCHED, (307, b"https://a.b/")),  # only custom domains' certificates are fetched
    (CUSTOM, b"GET /", [], FETCHED, errors.CERTIFICATE_PENDING),
    (CUSTOM, b"GET /", [], REDIRECT, (308, b"https://a.b/")),
    (STARTING, b"GET /", [], REDIRECT, (308, b"https://a.b/")),
    (MOVED, b"GET /", [], REDIRECT, (308, b"https://a.b/")),
    (ABSENT, b"GET /", [], REDIRECT, errors.NO_CERTIFICATE),
    (FORBIDDEN, b"GET /", [], FETCHED, errors.CAA_FORBIDDEN),
    (ELSEWHERE, b"GET /", [], FETCHED, errors.NOT_POINTING),
    (FORBIDDEN, b"GET /", [], REDIRECT, (308, b"https://a.b/")),  # it has one
    # at a port of plain HTTP that says so, which hosts have certificates being unknown
    (SERVED, b"GET /a?b", [MARK], SERVE, (308, b"https://a.b/a?b")),
    (SERVED, b"GET /a?b", [MARK + b":8443"], SERVE, (308, b"https://a.b:8443/a?b")),
    (SERVED, b"GET /", [MARK + b":x"], SERVE, (308, b"https://a.b/")),
    (SERVED, b"GET /", [MARK + b":" + b"9" * 5000], SERVE, (308, b"https://a.b/")),
    (CUSTOM, b"GET /", [MARK], SERVE, (308, b"https://a.b/")),
    (STARTING, b"GET /", [MARK], SERVE, (308, b"https://a.b/")),
    (ABSENT, b"GET /", [MARK], SERVE, errors.NO_CERTIFICATE),
    (BLOCKED, b"GET /", [MARK], SERVE, errors.BLOCKED),
    (CHALLENGED, b"GET " + CHALLENGE.encode(), [MARK], SERVE, (200, b"text/plain")),
    (INVALID, b"GET /livez", [b"Host: " + HEALTH, MARK], SERVE, (200, b"no-store")),
    (SERVED, b"GET /", [MARK + b":80"], NO_CERTIFICATES, (307, b"https://a.b:8443/")),  # the setting knows more
    (BLOCKED, b"GET /", [], REDIRECT, errors.BLOCKED),
    # health checks
    (INVALID, b"GET /livez", [b"Host: " + HEALTH], SERVE, (200, b"no-store")),
    (INVALID, b"GET /readyz", [b"Host: " + HEALTH], SERVE, (503, b"no-store")),
    (INVALID, b"GET /", [b"Host: " + HEALTH], SERVE, errors.INVALID_HOST),
    (INVALID, b"GET /livez", [], SERVE, errors.INVALID_HOST),
    # requests that may go no further
    (SERVED, b"TRACE /", [b"Max-Forwards: 0"], SERVE, (200, b"message/http")),
    (
        SERVED,
        b"OPTIONS /",
        [b"Max-Forwards: 0"],
        SERVE,
        (200, b"GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"),
    ),
    (SERVED, b"OPTIONS /", [b"Max-Forwards: 1"], SERVE, None),
    (SERVED, b"OPTIONS /", [b"Max-Forwards: x"], SERVE, errors.BAD_REQUEST),
    (SERVED, b"GET /", [b"Max-Forwards: 0"], SERVE, None),
    (ABSENT, b"TRACE /", [b"Max-Forwards: 0"], SERVE, errors.HOST_NOT_FOUND),
]


@pytest.mark.parametrize(("leads_to", "first", "lines", "plain", "expected"), DECISIONS)
def test_instead(
    leads_to: Route,
    first: bytes,
    lines: list[bytes],
    plain: PlainHttp | None,
    expected: Problem | tuple[int, bytes] | None,
) -> None:
    """What a node that is not ready gives in place of the resource's response, to a request by http."""
    host = None if any(line.startswith(b"Host:") for line in lines) else b"a.b"
    head = read(*lines, first=first + b" HTTP/1.1", host=host)
    given = unasked(head, leads_to, "http", ID, plain=plain, ready=False) or instead(head, leads_to, "http", ID)
    if isinstance(given, LocalResponse):
        assert (given.status, given.headers[0][1]) == expected
        assert (b"X-Request-ID", ID) in given.headers
        assert given.recorded == (head.host != HEALTH)
    else:
        assert given is expected


@pytest.mark.parametrize("plain", [REDIRECT, NO_CERTIFICATES, FETCHED])
def test_over_tls_nothing_is_redirected(plain: PlainHttp) -> None:
    """What came by https goes on."""
    assert unasked(read(host=b"a.b"), CUSTOM, "https", ID, plain=plain, ready=True) is None


REDIRECTS = [
    (b"a.b", "http", b"http://new.b/"),
    (b"a.b:80", "http", b"http://new.b/"),
    (b"a.b:8080", "http", b"http://new.b:8080/"),
    (b"a.b:443", "https", b"https://new.b/"),
    (b"a.b:80", "https", b"https://new.b:80/"),
    (b"[::1]", "http", b"http://new.b/"),
]


@pytest.mark.parametrize(("host", "scheme", "location"), REDIRECTS)
def test_a_redirect_keeps_the_port(host: bytes, scheme: str, location: bytes) -> None:
    """The one that was visited, where it is not the scheme's own."""
    given = instead(read(host=host), MOVED, scheme, ID)
    assert isinstance(given, LocalResponse)
    assert given.headers[0] == (b"Location", location)


def test_endings() -> None:
    """A problem of the backend's is its ending, any other ours; a response that was asked for is a complete exchange."""
    assert ending_of(LocalResponse(200, (), b"")) == endings.COMPLETE
    for what in EDGE_PROBLEMS:
        expected = endings.BACKEND_IN_ADMISSION if what.fault is Fault.BACKEND else endings.EDGE_IN_ADMISSION
        assert ending_of(what) == expected


@pytest.mark.parametrize("what", EDGE_PROBLEMS)
@pytest.mark.parametrize(
    ("line", "kind"), [(b"Accept: text/html", b"text/html"), (b"Accept: */*", b"application/json")]
)
def test_problems(what: Problem, line: bytes, kind: bytes) -> None:
    """Each as a page for people and as JSON for programs, with its code and the request's id."""
    made = problem(Pages("https://docs.miosa.ai/errors"), what, read(line), SERVED, ID)
    headers = dict(made.headers)
    assert (made.status, headers[b"X-Miosa-Error"], headers[b"X-Request-ID"]) == (what.status, what.code.encode(), ID)
    assert headers[b"Content-Type"].startswith(kind)
    assert made.body

"""The responses that the proxy gives by itself: problems, redirects, health, and proofs that a name leads here.

Pure: what is decided depends on the arguments alone, and nothing is sent. `instead` decides whether one of them takes the
place of the resource's response; the other functions make them.
"""

from typing import TYPE_CHECKING, Final

from router import errors
from router.errors import Fault, Problem
from router.http1 import cors
from router.http1.local_heads import OF_OURS, LocalResponse, problem_headers
from router.http1.requests import NO_LIMIT, UNREADABLE, RequestHead
from router.http2.grpc import is_grpc, status_fields
from router.observe import endings
from router.pages import Form, Notice, Pages, Progress, form_of, reconnect_after, why_closed
from router.pages import reference as pages_reference
from router.pages.wording import is_about_a_preview
from router.routes.chain import Level
from router.routes.challenge import proof_for
from router.routes.records import ListeningSocket
from router.routes.route import Route

if TYPE_CHECKING:
    from router.proxy.worker_state import PlainHttp

HEALTH: Final = b"_health"
"""The Host that a load balancer sends in its health checks: not a host name, so it is never looked up."""

# Hosts that get no certificate.
_NEVER_OVER_TLS: Final = frozenset(("suspended", "removed", "invalid_host", "resolver_unavailable"))

_MAX_DIGITS: Final = 5  # of a port

# A problem that says that the request cannot be trusted ends its connection (RFC 9112 §2.2, §11.2).
CLOSING: Final = frozenset((errors.INVALID_HOST, errors.BAD_REQUEST, errors.REQUEST_TIMEOUT))

# Problems in which no program can answer a preflight itself (`http1/cors.py`).
_ABSENT: Final = frozenset(
    (
        *("port_closed", "starting", "stopped", "host_not_found", "resource_deleted", "blocked"),
        *("resolver_unavailable", "draining", "overloaded", "too_many_requests", "certificate_pending"),
        *("preview_expired", "address_not_allowed"),
    )
)

# What a TRACE is shown of itself: nothing that could be a secret (RFC 9110 §9.3.8).
_SHOWN: Final = (b"host", b"via", b"max-forwards", b"user-agent", b"accept", b"accept-encoding", b"accept-language")


def unasked(
    head: RequestHead, route: Route, scheme: str, request_id: bytes, *, plain: "PlainHttp | None", ready: bool
) -> LocalResponse | Problem | None:
    """What everybody is answered, before it is asked who may open the resource; None where that is to be asked next.

    `plain` None serves requests without TLS, except those that Caddy's port of plain HTTP has marked (`X-Miosa-Plain-HTTP:
    redirect`, with `:8443` behind it where links have another port than 443). Whoever else says so is sent on as well: that
    is no privilege. `ready` is whether health checks hear that new traffic is wanted.
    """
    if scheme == "http" and (plain is not None or head.plain_http):
        secure = _instead_without_tls(head, route, request_id, plain)
        if secure is not None:
            return secure
    return _proof_or_health(head, route, request_id, ready=ready) if route.special else None


def instead(head: RequestHead, route: Route, scheme: str, request_id: bytes) -> LocalResponse | Problem | None:
    """What takes the place of the resource's response for those who may open it; None where the request goes on to its
    backend."""
    if route.problem is not None:
        return route.problem
    decision = route.decision
    if decision.redirect_to is not None:
        return redirect(head, scheme, decision.redirect_to, decision.redirect_status, request_id)
    return _instead_of_last_hop(head, request_id) if head.max_forwards != NO_LIMIT else None


def ending_of(response: LocalResponse | Problem) -> str:
    """How an exchange ends that gets this in its admission."""
    if isinstance(response, LocalResponse):
        return endings.COMPLETE
    return endings.BACKEND_IN_ADMISSION if response.fault is Fault.BACKEND else endings.EDGE_IN_ADMISSION


def _instead_without_tls(
    head: RequestHead, route: Route, request_id: bytes, plain: "PlainHttp | None"
) -> LocalResponse | Problem | None:
    """Visitors without TLS are sent on to it, where the host is served and has a certificate or can get one. Elsewhere they
    are told why not: a handshake would fail, and no page can be shown there.

    `plain` None: which hosts have certificates is not known here, so every host that is served is taken to have one.
    """
    decision, policy = route.decision, route.policy
    proven = decision.challenge is not None and proof_for(decision.challenge, head.target) is not None
    hidden = policy is not None and policy.hide  # no secret of its is read off a line that anybody may listen to
    if proven or head.host == HEALTH or (decision.reason in _NEVER_OVER_TLS and not hidden):
        return None
    if route.problem is errors.HOST_NOT_FOUND or hidden:
        return errors.NO_CERTIFICATE
    if plain is None:
        port = head.plain_http.partition(b":")[2]
        return to_https(
            head, int(port) if len(port) <= _MAX_DIGITS and port.isdigit() else None, request_id, permanent=True
        )
    certified = plain.has_certificate(route.host)
    if not certified and plain.fetched and decision.level is Level.EXACT:
        if decision.caa_forbidden:
            return errors.CAA_FORBIDDEN
        return errors.NOT_POINTING if decision.not_pointing else errors.CERTIFICATE_PENDING
    return to_https(head, plain.port, request_id, permanent=certified)


def _proof_or_health(head: RequestHead, route: Route, request_id: bytes, *, ready: bool) -> LocalResponse | None:
    decision = route.decision
    if decision.challenge is not None:
        proof = proof_for(decision.challenge, head.target)
        if proof is not None:
            return challenge(proof, request_id)
    if route.problem is errors.INVALID_HOST and head.host == HEALTH:
        return health(head.target, request_id, ready=ready)
    return None


def _instead_of_last_hop(head: RequestHead, request_id: bytes) -> LocalResponse | Problem | None:
    """A TRACE or OPTIONS whose Max-Forwards says that it may go no further (RFC 9110 §7.6.2)."""
    if head.method not in (b"TRACE", b"OPTIONS"):
        return None
    if head.max_forwards == UNREADABLE:
        return errors.BAD_REQUEST
    if head.max_forwards == 0:
        return trace(head, request_id) if head.method == b"TRACE" else options(request_id)
    return None


def health(path: bytes, request_id: bytes, *, ready: bool) -> LocalResponse | None:
    """For a load balancer: `/livez` says whether this listener answers, `/readyz` whether it also wants new traffic. None
    for any other path. Several a second would be most of the access log, so they leave no record."""
    if path not in (b"/livez", b"/readyz"):
        return None
    headers = ((b"Cache-Control", b"no-store"), (b"X-Request-ID", request_id), (b"Proxy-Status", OF_OURS))
    return LocalResponse(200 if ready or path == b"/livez" else 503, headers, b"", recorded=False)


def problem(
    pages: Pages,
    what: Problem,
    head: RequestHead,
    route: Route | None,
    request_id: bytes,
    *,
    login: bytes = b"",
    after_form: bytes | None = None,
    progress: Progress | None = None,
) -> LocalResponse:
    """A problem, in the form that the client asked for; a preflight that an absent program can't answer. `login` is where on
    this host somebody may sign in. With `after_form` the page asks for a password, and leads there. With `progress` a page for
    people waits, and shows how far it has come."""
    resource = route.resource if route is not None else None
    listening: tuple[ListeningSocket, ...] = ()
    if what is errors.PORT_CLOSED and route is not None and resource is not None and resource.endpoint is not None:
        listening = resource.endpoint.listening or ()
        if route.port is not None:
            what = why_closed(resource.endpoint.port(route.port), listening)
    origin = head.value(b"origin")
    if origin is not None and head.method == b"OPTIONS" and what.code in _ABSENT:
        allowed = cors.preflight(
            origin, head.value(b"access-control-request-method"), head.value(b"access-control-request-headers")
        )
        if allowed:
            kept = problem_headers(what, b"")[1:]  # it has no content
            return LocalResponse(204, (*kept, (b"X-Request-ID", request_id), *allowed), b"")
    if is_grpc(head.value(b"content-type")):
        kept = problem_headers(what, b"application/grpc")
        return LocalResponse(
            200, (*kept, (b"X-Request-ID", request_id), *status_fields(what.message, what.status)), b""
        )
    form = form_of(head.value(b"sec-fetch-mode"), head.value(b"accept"))
    if form is Form.EVENT_STREAM and (head.method != b"GET" or reconnect_after(what) is None):
        form = Form.JSON
    if progress is not None and form is Form.HTML:
        return _waiting(pages, what, head, route, request_id, progress)
    page = pages.render(
        what,
        form=form,
        request_id=request_id.decode("ascii"),
        host=head.host.decode("latin-1"),
        port=route.port if route is not None else None,
        branding=resource.branding if resource is not None else None,
        reload=head.method == b"GET",
        listening=listening,
        login=login,
        after_form=after_form,
    )
    readable = cors.readable(origin, credentials=is_about_a_preview(what))
    headers = (*problem_headers(what, page.content_type), (b"X-Request-ID", request_id), *page.extra, *readable)
    return LocalResponse(page.status, headers, page.body)


def _waiting(
    pages: Pages, what: Problem, head: RequestHead, route: Route | None, request_id: bytes, progress: Progress
) -> LocalResponse:
    page = pages.waiting(
        progress,
        host=head.host.decode("latin-1"),
        branding=route.resource.branding if route is not None and route.resource is not None else None,
        form=head.method not in (b"GET", b"HEAD"),
        request_id=request_id.decode("ascii"),
    )
    headers = (*problem_headers(what, page.content_type), (b"X-Request-ID", request_id), *page.extra)
    return LocalResponse(page.status, headers, page.body)


def confirmation(pages: Pages, head: RequestHead, route: Route, request_id: bytes) -> LocalResponse:
    """The page with a button that a link shows which works once."""
    page = pages.confirmation(
        host=head.host.decode("latin-1"),
        branding=route.resource.branding if route.resource is not None else None,
        request_id=request_id.decode("ascii"),
    )
    headers = (
        (b"Content-Type", page.content_type),
        (b"Cache-Control", b"no-store"),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
        *page.extra,
    )
    return LocalResponse(page.status, headers, page.body)


def notice(
    pages: Pages,
    what: Notice,
    route: Route | None,
    request_id: bytes,
    *,
    status: int = 200,
    cookies: tuple[bytes, ...] = (),
) -> LocalResponse:
    """A page that is no problem, with the marks of the tenant whose preview it is about."""
    resource = route.resource if route is not None else None
    page = pages.notice(
        what, branding=resource.branding if resource is not None else None, request_id=request_id.decode("ascii")
    )
    headers = (
        (b"Content-Type", page.content_type),
        (b"Cache-Control", b"no-store"),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
        *page.extra,
        *((b"Set-Cookie", cookie) for cookie in cookies),
    )
    return LocalResponse(status, headers, page.body)


def with_cookies(response: LocalResponse, cookies: tuple[bytes, ...]) -> LocalResponse:
    """A response that sets cookies too."""
    headers = (*response.headers, *((b"Set-Cookie", cookie) for cookie in cookies))
    return LocalResponse(response.status, headers, response.body, response.recorded)


def reference(request_id: bytes) -> LocalResponse:
    """The page that explains the codes of errors. It is the same for everybody."""
    body, policy = pages_reference.render()
    headers = (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Cache-Control", b"public, max-age=300"),
        (b"Content-Security-Policy", policy.encode("ascii")),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
    )
    return LocalResponse(200, headers, body)


def with_timing(response: LocalResponse, times: bytes) -> LocalResponse:
    """A response that says where the time of its request went."""
    headers = (*response.headers, (b"Server-Timing", times))
    return LocalResponse(response.status, headers, response.body, response.recorded)


def see_other(location: bytes, request_id: bytes, cookies: tuple[bytes, ...]) -> LocalResponse:
    """To another page, of whatever host; nobody on the way may keep it, and nobody there learns where it came from."""
    headers = (
        (b"Location", location),
        (b"Cache-Control", b"no-store"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
        *((b"Set-Cookie", cookie) for cookie in cookies),
    )
    return LocalResponse(303, headers, b"")


def without_link(
    head: RequestHead, target: bytes, scheme: str, request_id: bytes, *, cookie: bytes | None
) -> LocalResponse:
    """To the same address without the token that was in its query; `cookie` takes its place. With its host, since a path may
    begin with `//`, which alone would be read as one."""
    headers = [
        (b"Location", scheme.encode("ascii") + b"://" + head.host + target),
        (b"Cache-Control", b"no-store"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
    ]
    if cookie is not None:
        headers.append((b"Set-Cookie", cookie))
    return LocalResponse(303, tuple(headers), b"")


def preflight(head: RequestHead, request_id: bytes, *, credentials: bool) -> LocalResponse:
    """What a script may send to a preview that strangers must not reach."""
    allowed = cors.preflight(
        head.value(b"origin"),
        head.value(b"access-control-request-method"),
        head.value(b"access-control-request-headers"),
        credentials=credentials,
    )
    headers = (
        (b"Cache-Control", b"no-store"),
        (b"Vary", b"Origin"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
        *allowed,
    )
    return LocalResponse(204, headers, b"")


def redirect(head: RequestHead, scheme: str, host: str, status: int, request_id: bytes) -> LocalResponse:
    """To the same port, path and query on another host."""
    visited = head.host
    port = visited.rpartition(b":")[2] if b":" in visited and not visited.endswith(b"]") else b""
    location = f"{scheme}://{host}".encode("ascii")
    if port not in (b"", b"443" if scheme == "https" else b"80"):
        location += b":" + port
    headers = ((b"Location", location + head.target), (b"X-Request-ID", request_id), (b"Proxy-Status", OF_OURS))
    return LocalResponse(status, headers, b"")


def to_https(head: RequestHead, port: int | None, request_id: bytes, *, permanent: bool) -> LocalResponse:
    """To the same host, path and query over TLS. `permanent`: browsers may remember it, since there is a certificate."""
    host = head.host.partition(b":")[0]
    base = b"https://" + host + (b"" if port is None else b":%d" % port)
    headers = [(b"Location", base + head.target), (b"X-Request-ID", request_id), (b"Proxy-Status", OF_OURS)]
    if not permanent:
        headers.append((b"Cache-Control", b"no-store"))
    return LocalResponse(308 if permanent else 307, tuple(headers), b"")


def challenge(proof: bytes, request_id: bytes) -> LocalResponse:
    """The proof that this name leads to us, for a domain check. No cache on the way may keep it."""
    headers = (
        (b"Content-Type", b"text/plain"),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
    )
    return LocalResponse(200, headers, proof)


def trace(head: RequestHead, request_id: bytes) -> LocalResponse:
    """A TRACE that ends here: what arrived, without the query and all that may say who the client is."""
    shown = [line for line in head.lines if line[: line.find(b":")].lower() in _SHOWN]
    line = b"TRACE %b HTTP/1.%d" % (head.target.partition(b"?")[0], head.version)
    headers = (
        (b"Content-Type", b"message/http"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
    )
    return LocalResponse(200, headers, b"\r\n".join((line, *shown, b"", b"")))


def options(request_id: bytes) -> LocalResponse:
    """An OPTIONS that ends here: which methods pass."""
    headers = (
        (b"Allow", b"GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", OF_OURS),
    )
    return LocalResponse(200, headers, b"")

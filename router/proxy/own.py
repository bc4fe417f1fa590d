"""The answers that the proxy gives by itself: problems, redirects, and proofs that a name leads here."""

from typing import TYPE_CHECKING

from router.errors import Problem
from router.http1.replies import Answer, problem_headers
from router.pages import Pages, wants_html

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange

__all__ = ["Answer", "problem", "proof", "redirect", "to_https"]


def problem(pages: Pages, exchange: "Exchange", what: Problem) -> Answer:
    """A problem, as a page where a person navigates and as JSON elsewhere."""
    head, route = exchange.head, exchange.route
    page = pages.render(
        what,
        html=wants_html(head.value(b"sec-fetch-mode"), head.value(b"accept")),
        request_id=exchange.request_id,
        host=head.host.decode("latin-1"),
        port=route.port if route is not None else None,
        branding=route.resource.branding if route is not None and route.resource is not None else None,
    )
    return Answer(what.status, problem_headers(what, page.content_type, exchange.id) + page.extra, page.body)


def redirect(exchange: "Exchange", host: str, status: int) -> Answer:
    """To the same port, path and query on another host."""
    said = exchange.head.host
    port = said.rpartition(b":")[2] if b":" in said and not said.endswith(b"]") else b""
    if port in (b"", b"443" if exchange.scheme == "https" else b"80"):
        location = f"{exchange.scheme}://{host}".encode("ascii")
    else:
        location = f"{exchange.scheme}://{host}:".encode("ascii") + port
    location += exchange.head.target
    return Answer(status, ((b"Location", location), (b"X-Request-ID", exchange.id)), b"")


def to_https(exchange: "Exchange", port: int | None, *, for_good: bool) -> Answer:
    """To the same host, path and query over TLS. `for_good`: browsers may remember it, since there is a certificate."""
    host = exchange.head.host.partition(b":")[0]
    where = b"https://" + host + (b"" if port is None else b":%d" % port)
    headers = [(b"Location", where + exchange.head.target), (b"X-Request-ID", exchange.id)]
    if not for_good:
        headers.append((b"Cache-Control", b"no-store"))
    return Answer(308 if for_good else 307, tuple(headers), b"")


def proof(exchange: "Exchange", body: bytes) -> Answer:
    """To whoever looks for us under a name: what nobody else could answer. No cache on the way may keep it."""
    headers = ((b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store"), (b"X-Request-ID", exchange.id))
    return Answer(200, headers, body)

"""The answers that the proxy gives by itself: problems, redirects, and proofs that a name leads here."""

from router.errors import Problem
from router.http1.replies import Answer, problem_headers
from router.pages import Pages, wants_html
from router.proxy.facts import Facts

__all__ = ["Answer", "problem", "proof", "redirect", "to_https"]


def problem(pages: Pages, facts: Facts, what: Problem) -> Answer:
    """A problem, as a page where a person navigates and as JSON elsewhere."""
    head, route = facts.head, facts.route
    page = pages.render(
        what,
        html=wants_html(head.value(b"sec-fetch-mode"), head.value(b"accept")),
        request_id=facts.request_id,
        host=head.host.decode("latin-1"),
        port=route.port if route is not None else None,
        branding=route.resource.branding if route is not None and route.resource is not None else None,
    )
    return Answer(what.status, problem_headers(what, page.content_type, facts.id) + page.extra, page.body)


def redirect(facts: Facts, host: str, status: int) -> Answer:
    """To the same port, path and query on another host."""
    said = facts.head.host
    port = said.rpartition(b":")[2] if b":" in said and not said.endswith(b"]") else b""
    if port in (b"", b"443" if facts.scheme == "https" else b"80"):
        location = f"{facts.scheme}://{host}".encode("ascii")
    else:
        location = f"{facts.scheme}://{host}:".encode("ascii") + port
    location += facts.head.target
    return Answer(status, ((b"Location", location), (b"X-Request-ID", facts.id)), b"")


def to_https(facts: Facts, port: int | None, *, for_good: bool) -> Answer:
    """To the same host, path and query over TLS. `for_good`: browsers may remember it, since there is a certificate."""
    host = facts.head.host.partition(b":")[0]
    where = b"https://" + host + (b"" if port is None else b":%d" % port)
    headers = [(b"Location", where + facts.head.target), (b"X-Request-ID", facts.id)]
    if not for_good:
        headers.append((b"Cache-Control", b"no-store"))
    return Answer(308 if for_good else 307, tuple(headers), b"")


def proof(facts: Facts, body: bytes) -> Answer:
    """To whoever looks for us under a name: what nobody else could answer. No cache on the way may keep it."""
    headers = ((b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store"), (b"X-Request-ID", facts.id))
    return Answer(200, headers, body)

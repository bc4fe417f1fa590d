"""The page that people come back to from their DNS provider (Domain Connect): a few words, and no script.

It says nothing that its address does not: whoever comes may have typed it. The records are looked up in any case, since a provider may
have set them and failed afterwards, or not set them and say nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp.web import BaseRequest, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from router.api.responses import HEADERS
from router.domains.domain_connect import DomainConnect

_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address has the state
    "X-Robots-Tag": "noindex",
}


def return_page(connect: DomainConnect) -> Callable[[BaseRequest], Awaitable[Response]]:
    """The page. It may raise StoreUnavailableError."""
    environment = Environment(loader=PackageLoader("router.api", ""), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("connect.html")

    async def show(request: BaseRequest) -> Response:
        states: list[str] = list(request.query.getall("state", []))
        known = request.method == "GET" and len(states) == 1
        name = await connect.returned(states[0]) if known else None
        html = template.render(name=name, failed="error" in request.query)
        status = 200 if name is not None or request.method == "HEAD" else 404
        return Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=_HEADERS)

    return show

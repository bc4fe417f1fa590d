"""The pages beside the table: `/openapi.json`, and `/docs`, which shows it to people with Swagger UI, served by us."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from aiohttp.web import BaseRequest, Response
from jinja2 import Environment, StrictUndefined

from router.api.listener import Page
from router.api.openapi import TITLE
from router.api.responses import HEADERS
from router.pages.reference import render as reference

_JSON = "application/json"
_VIEWER = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")  # what is used of the package's 25 MB
_OWN = ("docs.css", "docs.js")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png"}

# Requests go to us only. Swagger UI's style sheet has its icons as data: images; its scripts set styles through the
# DOM, which needs no 'unsafe-inline'.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# An asset's path has a hash of its bytes: what is at a path never changes.
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def pages(make: Callable[[], Mapping[str, Any]], *, version: str, console: bool = False) -> dict[str, Page]:
    """The pages of the OpenAPI document that `make` makes, by path. `version` is the API's; `console`: whether the
    console is served too."""
    document = cache(make)
    found: dict[str, Page] = {}
    paths: dict[str, str] = {}
    for name, body in _assets().items():
        paths[name] = f"/docs/{hashlib.sha256(body).hexdigest()[:16]}/{name}"
        found[paths[name]] = _page(body, _TYPES[Path(name).suffix], _FOR_EVER)
    template = resources.files("router.api").joinpath("docs.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    html = environment.from_string(template).render(title=TITLE, assets=paths)
    return {
        **found,
        "/": _page(json.dumps(_index(version, console=console), indent=2).encode(), _JSON),
        "/openapi.json": _made_once(lambda: json.dumps(document(), ensure_ascii=False).encode(), _JSON),
        "/docs": _page(html.encode(), "text/html"),
        "/docs/openapi.json": _made_once(
            lambda: json.dumps(_for_people(document()), ensure_ascii=False).encode(), _JSON
        ),
        "/docs/errors": _error_page,
    }


def _error_page(_: object) -> Response:
    """The reference of error codes, which `docs_url` of errors leads to on the login host."""
    body, policy = reference()
    headers = {**HEADERS, "Content-Security-Policy": policy}
    return Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


def _index(version: str, *, console: bool) -> dict[str, Any]:
    """The links at `/` of the API listener."""
    return {
        "name": TITLE,
        "version": version,
        "links": {
            **({"/console/": "the console"} if console else {}),
            "/docs": "the API's documentation",
            "/docs/errors": "what each error code means",
            "/openapi.json": "its description for programs",
        },
    }


def _assets() -> dict[str, bytes]:
    # Located, not imported: the package's modules are adapters to web frameworks.
    viewer = Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))
    own = resources.files("router.api")
    return {
        **{name: (viewer / name).read_bytes() for name in _VIEWER},
        **{name: own.joinpath(name).read_bytes() for name in _OWN},
    }


def _page(body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Page:
    def show(_: object) -> Response:
        sent = {**HEADERS, "Content-Security-Policy": _POLICY, **(headers or {})}
        charset = None if content_type.startswith("image/") else "utf-8"
        return Response(body=body, content_type=content_type, charset=charset, headers=sent)

    return show


def _made_once(make: Callable[[], bytes], content_type: str) -> Page:
    """A page that is made when it is first asked for: the document is a third of what a start would take. In a thread, since
    the proxy may share the event loop."""
    making = asyncio.Lock()
    made: list[Page] = []

    async def show(request: BaseRequest) -> Response:
        async with making:
            if not made:
                made.append(_page(await asyncio.to_thread(make), content_type))
        response = made[0](request)
        return response if isinstance(response, Response) else await response

    return show


def _for_people(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with what `openapi.py` keeps from generators of clients put where a viewer shows it: the choices
    between an object's fields, and the headers that many operations take."""
    shown = deepcopy(dict(document))
    for schema in shown["components"]["schemas"].values():
        for choice in ("anyOf", "oneOf"):
            if f"x-{choice}" in schema:
                schema[choice] = [_titled(alternative) for alternative in schema.pop(f"x-{choice}")]
    for methods in shown["paths"].values():
        for operation in methods.values():
            if "x-idempotency-key" in operation:
                operation["parameters"].append(operation.pop("x-idempotency-key"))
            if {"apiKey": []} in operation["security"]:
                operation["parameters"].append({"$ref": "#/components/parameters/Tenant"})
    return shown


def _titled(alternative: Mapping[str, Any]) -> dict[str, Any]:
    """An alternative under the names of the fields that it requires: a viewer would call it `#0`."""
    return {"title": f"required: {', '.join(alternative['required'])}", **alternative}

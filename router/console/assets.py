"""The console's files over HTTP.

`/console/` is asked for anew each time (ETag). It names all other files below `/console/<hash>/`, where the hash is of all of them together, so
that the modules find each other by relative paths and what is at a path never changes.
"""

import hashlib
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

from aiohttp.web import BaseRequest, Response
from jinja2 import Environment, StrictUndefined

Page = Callable[[BaseRequest], Response]

ROOT: Final = "/console/"
_INDEX: Final = "index.html"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}

# Nothing but our own files and the API is loaded or asked. Trusted Types: a script that would make HTML of a text fails.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "miosa-router",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


def console_pages(*, idle_timeout: float, sign_in: str | None = None) -> dict[str, Page]:
    """What to serve, by path. The console logs out after `idle_timeout` seconds without input. `sign_in` is the origin
    from which people may sign in by their tenant's login; None: they can't."""
    files = dict(_files(resources.files("router.console").joinpath("static")))
    together = hashlib.sha256()
    for name, body in sorted(files.items()):
        together.update(b"%b\0%d\0%b" % (name.encode(), len(body), body))
    folder = f"{ROOT}{together.hexdigest()[:16]}"
    template = files.pop(_INDEX).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    html = environment.from_string(template).render(assets=folder, idle_timeout=round(idle_timeout), sign_in=sign_in)
    return {
        ROOT.rstrip("/"): _moved,
        ROOT: _served(_INDEX, html.encode(), _ASK_AGAIN),
        **{f"{folder}/{name}": _served(name, body, _FOR_EVER) for name, body in files.items()},
    }


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif PurePosixPath(entry.name).suffix in _TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _served(name: str, body: bytes, caching: str) -> Page:
    content_type = _TYPES[PurePosixPath(name).suffix]
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {**_HEADERS, "Cache-Control": caching, "ETag": f'"{tag}"'}

    def show(request: BaseRequest) -> Response:
        known = request.if_none_match or ()
        if any(one.value in {tag, "*"} for one in known):
            return Response(status=304, headers=headers)
        return Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return show


def _moved(_request: BaseRequest) -> Response:
    # Relative: behind a proxy that knows this listener by another name and scheme it leads to the same place.
    return Response(status=308, headers={**_HEADERS, "Cache-Control": _ASK_AGAIN, "Location": "console/"})

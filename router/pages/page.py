"""One problem as a page or as JSON. The problem decides; this only puts it into words and bytes."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import jinja2
from markupsafe import Markup, escape

from router.errors import Fault, Problem
from router.pages import wording
from router.pages.branding import Branding, read_branding, text_on

_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"
_ALWAYS = ((b"X-Content-Type-Options", b"nosniff"), (b"Referrer-Policy", b"no-referrer"))
_JSON_EXTRA = ((b"Content-Security-Policy", b"default-src 'none'"), *_ALWAYS)
_RELOAD = 3  # seconds between the loads of a page that waits for a preview
_KEPT = 256  # rendered pages; rendering takes about 0.1 ms, and scanners ask for the same ones again and again

# Stands for the request's id in a kept page. A NUL can't be in anything else that a page shows.
_REQUEST_ID = "\0"

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("router.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Page:
    """A body, its type, and the headers that go with it."""

    content_type: bytes
    body: bytes
    extra: tuple[tuple[bytes, bytes], ...]


class Pages:
    """Renders problems. `docs_url` is the page that documents the codes, each under its own anchor."""

    def __init__(self, docs_url: str, platform_name: str = "MIOSA") -> None:
        self._docs_url = docs_url
        self._platform_name = platform_name
        self._html = functools.lru_cache(maxsize=_KEPT)(self._render_html)

    def render(
        self,
        problem: Problem,
        *,
        html: bool,
        request_id: str,
        host: str,
        port: int | None,
        branding: Mapping[str, str] | None = None,
        message: str | None = None,
    ) -> Page:
        """The answer's body. `message` replaces the problem's own.

        `host`, `port` and `branding` show on pages about a preview only: every other page is the same, to the byte but
        for the request's id, whatever the host.
        """
        about_a_preview = problem.code in wording.ABOUT_A_PREVIEW
        text = message if message is not None else wording.message(problem, port)
        if not html:
            return self._json(problem, text, request_id)
        head, tail, extra = self._html(
            problem,
            text,
            host if about_a_preview else "",
            port if about_a_preview else None,
            read_branding(branding) if branding and about_a_preview else Branding(),
        )
        return Page(_HTML, head + str(escape(request_id)).encode("utf-8", "replace") + tail, extra)

    def _json(self, problem: Problem, text: str, request_id: str) -> Page:
        error = {
            "code": problem.code,
            "message": text,
            "status": problem.status,
            "retryable": problem.retryable,
            "origin": "edge",
            "request_id": request_id,
            "docs_url": self._docs(problem),
        }
        return Page(_JSON, json.dumps({"error": error}).encode("ascii"), _JSON_EXTRA)

    def _docs(self, problem: Problem) -> str:
        return f"{self._docs_url}#{problem.code}"

    def _render_html(
        self, problem: Problem, text: str, host: str, port: int | None, branding: Branding
    ) -> tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]:
        """What comes before and after the request's id, and the headers."""
        style = _templates.get_template("style.css").render(
            accent=branding.accent_color,
            accent_dark=branding.accent_color_dark or branding.accent_color,
            background=branding.background,
            text_on=text_on,
        )
        page = _templates.get_template("problem.html").render(
            problem=problem,
            heading=wording.heading(problem, port),
            text=text,
            host=host,
            port=port,
            name=branding.name or self._platform_name,
            platform_name=self._platform_name,
            logo=branding.logo,
            support_url=branding.support_url,
            docs_url=self._docs(problem),
            reload=_RELOAD if problem.code in wording.RELOADING else None,
            about_a_preview=problem.code in wording.ABOUT_A_PREVIEW,
            our_fault=problem.fault is Fault.EDGE,
            style=Markup(style),  # noqa: S704 - our own file, with colours that were checked
            request_id=_REQUEST_ID,
        )
        head, _, tail = page.rpartition(_REQUEST_ID)
        policy = f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'"
        if branding.logo:
            policy += "; img-src data:"
        extra = ((b"Content-Security-Policy", policy.encode("ascii")), *_ALWAYS)
        return head.encode("utf-8", "replace"), tail.encode("utf-8", "replace"), extra


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")

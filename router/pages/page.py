"""One problem in the form that was asked for. The problem decides; this only puts it into words and bytes."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

import jinja2
from markupsafe import Markup, escape

from router.errors import STARTING, Fault, Problem
from router.pages import wording
from router.pages.branding import Branding, read_branding, text_on
from router.pages.event_streams import reconnect_after
from router.pages.negotiation import Form
from router.pages.waiting import HEADING, PATH, STEPS, TEXT, TEXT_AFTER_A_FORM, Progress
from router.routes.records import ListeningSocket

_TYPES = {
    Form.HTML: b"text/html; charset=utf-8",
    Form.JSON: b"application/json",
    Form.PROBLEM: b"application/problem+json",
    Form.MARKDOWN: b"text/markdown; charset=utf-8",
    Form.EVENT_STREAM: b"text/event-stream",
}
_ALWAYS = ((b"X-Content-Type-Options", b"nosniff"), (b"Referrer-Policy", b"no-referrer"))
# A form that is sent from a page without a referrer has no origin either, by which we know it for ours (Fetch Standard,
# "append a request Origin header").
_WITH_FORM = ((b"X-Content-Type-Options", b"nosniff"), (b"Referrer-Policy", b"same-origin"))
_DATA_EXTRA = ((b"Content-Security-Policy", b"default-src 'none'"), *_ALWAYS)
_RELOAD = 3  # seconds between the loads of a page that waits for a preview
_KEPT = (
    256  # rendered pages of each kind; rendering takes about 0.1 ms, and scanners ask for the same ones again and again
)

# In the page itself: without an icon browsers would ask the preview for one, which answers with another of these pages.
_ICON = (
    "data:image/svg+xml,%%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%%3E"
    "%%3Ccircle cx='8' cy='8' r='7' fill='%%23%s'/%%3E%%3C/svg%%3E"
)
_ACCENT, _ACCENT_DARK = "#4338ca", "#a5b4fc"

# Stands for the request's id in a kept page. A NUL can't be in anything else that a page shows.
_REQUEST_ID = "\0"
_LOGIN = "\2"  # and this for where somebody signs in
_NEXT = "\1"  # and this for where a form leads

# What a form has is at most 4 KiB. The longest password takes 3 of them, percent-encoded.
_MAX_NEXT = 900

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("router.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_SCRIPT = _templates.get_template("waiting.js").render()


@dataclass(frozen=True, slots=True)
class Page:
    """A body, its type, and the headers that go with it. `status` is the problem's, except an event stream's."""

    content_type: bytes
    body: bytes
    extra: tuple[tuple[bytes, bytes], ...]
    status: int


class Pages:
    """Renders problems. `docs_url` is the page that documents the codes, each under its own anchor."""

    def __init__(self, docs_url: str, platform_name: str = "MIOSA") -> None:
        self._docs_url = docs_url
        self._platform_name = platform_name
        self._html = functools.lru_cache(maxsize=_KEPT)(self._render_html)
        self._data = functools.lru_cache(maxsize=_KEPT)(self._render_data)

    def render(
        self,
        problem: Problem,
        *,
        form: Form,
        request_id: str,
        host: str,
        port: int | None,
        branding: Mapping[str, str] | None = None,
        message: str | None = None,
        reload: bool = True,
        listening: tuple[ListeningSocket, ...] = (),
        login: bytes = b"",
        after_form: bytes | None = None,
    ) -> Page:
        """The answer's body. `login` is where on this host somebody signs in, and comes in by that. `message` replaces the
        problem's own; `reload`: whether a page may load itself again, as it must not where the visitor has sent a form;
        `listening`: what does listen where a port is closed; `after_form`: the page asks for a password, and goes there with
        it.

        `host`, `port` and `branding` show on pages about a preview only: every other page is the same, to the byte but
        for the request's id, whatever the host.
        """
        about_a_preview = wording.is_about_a_preview(problem)
        asks = after_form is not None and form is Form.HTML
        text = wording.message(problem, port)
        if message is not None:
            text = message
        elif form is Form.HTML and (asks or login):
            if problem.code == "token_missing":
                text = wording.asking(password=asks, login=bool(login))
            elif problem.code in ("token_expired", "token_revoked"):
                text = wording.ended(password=asks, login=bool(login))
        content_type = _TYPES[form]
        if form is Form.EVENT_STREAM:
            return Page(content_type, b"retry: %d\n\n" % (reconnect_after(problem) or 0), _ALWAYS, 200)
        if form is not Form.HTML:
            parts = self._data(problem, text, form, port, listening, login.partition(b"?")[0].decode("ascii"))
            shown = json.dumps(request_id)[1:-1].encode("ascii")
            return Page(content_type, shown.join(parts), _DATA_EXTRA, problem.status)
        parts, extra = self._html(
            problem,
            text,
            host if about_a_preview else "",
            port if about_a_preview else None,
            read_branding(branding) if branding and about_a_preview else Branding(),
            reload and (problem.reason or problem.code) in wording.RELOADING,
            listening,
            bool(login),
            asks,
        )
        body = str(escape(request_id)).encode("utf-8", "replace").join(parts)
        if login:
            body = body.replace(_LOGIN.encode("ascii"), str(escape(login.decode("ascii"))).encode("ascii"))
        if asks:
            body = body.replace(_NEXT.encode("ascii"), str(escape(_field(after_form or b""))).encode("ascii"))
        return Page(content_type, body, extra, problem.status)

    def confirmation(self, *, host: str, branding: Mapping[str, str] | None, request_id: str) -> Page:
        """What a link shows that works once: a button. A form without a script, sent to the page's own address: what only looks
        at links, as chats, mail filters and prefetches do, sends none."""
        marks = read_branding(branding) if branding else Branding()
        style = _style(marks)
        page = _templates.get_template("confirm.html").render(
            heading=wording.CONFIRMATION,
            text=wording.CONFIRMATION_TEXT,
            host=host,
            **self._look(marks, style),
            request_id=request_id,
        )
        extra = ((b"Content-Security-Policy", _policy(style, forms="'self'")), *_ALWAYS)
        return Page(_TYPES[Form.HTML], page.encode("utf-8", "replace"), extra, 200)

    def waiting(
        self, progress: Progress, *, host: str, branding: Mapping[str, str] | None, form: bool, request_id: str
    ) -> Page:
        """What waits while the preview is woken. `form`: the visitor has sent something, which is not sent twice unless they
        say so."""
        marks = read_branding(branding) if branding else Branding()
        style = _style(marks)
        names = [name for name, _ in STEPS]
        page = _templates.get_template("waiting.html").render(
            heading=HEADING,
            text=TEXT_AFTER_A_FORM if form else TEXT,
            host=host,
            **self._look(marks, style),
            script=Markup(_SCRIPT),  # noqa: S704 - our own file
            source=PATH,
            steps=STEPS,
            stage=progress.stage.value,
            reached=names.index(progress.stage.value) if progress.stage.value in names else 0,
            progress=progress.text,
            reload=_RELOAD,
            form=form,
            status=STARTING.status,
            code=STARTING.code,
            request_id=request_id,
        )
        policy = (
            _policy(style, forms="'none'") + f"; script-src 'sha256-{_digest(_SCRIPT)}'; connect-src 'self'".encode()
        )
        extra = ((b"Content-Security-Policy", policy), *_ALWAYS)
        return Page(_TYPES[Form.HTML], page.encode("utf-8", "replace"), extra, STARTING.status)

    def notice(self, notice: wording.Notice, *, branding: Mapping[str, str] | None, request_id: str) -> Page:
        """A page that is no problem. Its form has an origin when it is sent, by which we know it for ours."""
        marks = read_branding(branding) if branding else Branding()
        style = _style(marks)
        page = _templates.get_template("notice.html").render(
            heading=notice.heading,
            text=notice.text,
            button=notice.button,
            **self._look(marks, style),
            request_id=request_id,
        )
        forms = "'self'" if notice.button else "'none'"
        extra = (
            (b"Content-Security-Policy", _policy(style, forms=forms) + b"; frame-ancestors 'none'"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"same-origin"),
        )
        return Page(_TYPES[Form.HTML], page.encode("utf-8", "replace"), extra, 200)

    def _render_data(
        self,
        problem: Problem,
        text: str,
        form: Form,
        port: int | None,
        listening: tuple[ListeningSocket, ...],
        login: str,
    ) -> list[bytes]:
        """For programs: the parts between which the request's id stands. A browser has to be sent to `login`, and comes back."""
        if form is Form.MARKDOWN:
            return self._markdown(problem, text, port, listening).encode("utf-8", "replace").split(_REQUEST_ID.encode())
        error = self._problem_details(problem, text, port) if form is Form.PROBLEM else self._error(problem, text)
        if problem.reason is not None:
            error["reason"] = problem.reason
        if login:
            error["login_url"] = login
        if listening:
            error["listening"] = [socket._asdict() for socket in listening]
        document = error if form is Form.PROBLEM else {"error": error}
        return json.dumps(document).encode("ascii").split(json.dumps(_REQUEST_ID)[1:-1].encode("ascii"))

    def _error(self, problem: Problem, text: str) -> dict[str, object]:
        """The error object that the API has too."""
        return {
            "code": problem.code,
            "message": text,
            "status": problem.status,
            "retryable": problem.retryable,
            "origin": "edge",
            "request_id": _REQUEST_ID,
            "docs_url": self._docs(problem),
        }

    def _problem_details(self, problem: Problem, text: str, port: int | None) -> dict[str, object]:
        """RFC 9457: five members of its own, and the error object's under the same names."""
        details: dict[str, object] = {
            "type": self._docs(problem),
            "title": wording.heading(problem, port),
            "status": problem.status,
            "detail": text,
            "instance": f"urn:miosa:request:{_REQUEST_ID}",
            "code": problem.code,
            "retryable": problem.retryable,
            "origin": "edge",
            "request_id": _REQUEST_ID,
        }
        if problem.retry_after is not None:
            details["retry_after"] = problem.retry_after
        return details

    def _markdown(self, problem: Problem, text: str, port: int | None, listening: tuple[ListeningSocket, ...]) -> str:
        """For agents: the page's words without the page."""
        again = "no"
        if problem.retryable:
            again = "yes" if problem.retry_after is None else f"yes, in {problem.retry_after} s"
        cause = "" if problem.reason is None else f"- Reason: `{problem.reason}`\n"
        if listening:
            cause += f"- Listening: {', '.join(f'`{shown}`' for shown in map(wording.socket_text, listening))}\n"
        return (
            f"# {wording.heading(problem, port)}\n\n{text}\n\n"
            f"- Status: {problem.status}\n- Code: `{problem.code}`\n{cause}- Retry: {again}\n"
            f"- Request: `{_REQUEST_ID}`\n- More: <{self._docs(problem)}>\n"
        )

    def _docs(self, problem: Problem) -> str:
        return f"{self._docs_url}#{problem.code}"

    def _look(self, branding: Branding, style: str) -> dict[str, object]:
        """What every page shows of who is behind the preview."""
        return {
            "name": branding.name or self._platform_name,
            "logo": branding.logo,
            "icon": _ICON % (branding.accent_color or _ACCENT).removeprefix("#"),
            "support_url": branding.support_url,
            "style": Markup(style),  # noqa: S704 - our own file, with colours that were checked
        }

    def _render_html(
        self,
        problem: Problem,
        text: str,
        host: str,
        port: int | None,
        branding: Branding,
        reload: bool,
        listening: tuple[ListeningSocket, ...],
        login: bool,
        asks: bool,
    ) -> tuple[list[bytes], tuple[tuple[bytes, bytes], ...]]:
        """For people: the parts between which the request's id stands, and the headers."""
        style = _style(branding)
        page = _templates.get_template("problem.html").render(
            problem=problem,
            heading=wording.heading(problem, port),
            text=text,
            host=host,
            port=port,
            platform_name=self._platform_name,
            state=wording.STATES.get(problem.reason or problem.code),
            docs_url=self._docs(problem),
            reload=_RELOAD if reload else None,
            about_a_preview=wording.is_about_a_preview(problem),
            our_fault=problem.fault is Fault.EDGE,
            **self._look(branding, style),
            request_id=_REQUEST_ID,
            listening=[wording.socket_text(socket) for socket in listening],
            login=_LOGIN if login else "",
            asks=asks,
            next=_NEXT,
        )
        policy = _policy(style, forms="'self'" if asks else "'none'")
        extra = [(b"Content-Security-Policy", policy), *(_WITH_FORM if asks else _ALWAYS)]
        if reload:
            extra.append((b"Refresh", b"%d" % _RELOAD))
        return page.encode("utf-8", "replace").split(_REQUEST_ID.encode()), tuple(extra)


def _field(after: bytes) -> str:
    """The value of a form's `next`: where that is too long for a form, the visitor starts over at the top."""
    text = after.decode("ascii", "replace")
    return text if len(quote_plus(text)) <= _MAX_NEXT else "/"


def _style(branding: Branding) -> str:
    return _templates.get_template("style.css").render(
        accent=branding.accent_color or _ACCENT,
        accent_dark=branding.accent_color_dark or branding.accent_color or _ACCENT_DARK,
        background=branding.background,
        text_on=text_on,
    )


def _policy(style: str, *, forms: str) -> bytes:
    """The Content-Security-Policy of a page with that style; `forms` says where its forms may be sent."""
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; img-src data:; base-uri 'none'; form-action {forms}"
    ).encode("ascii")


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")

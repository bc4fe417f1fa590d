"""Our own answers, as pages and as JSON."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from router import errors
from router.errors import EDGE_PROBLEMS, FORBIDDEN, Fault, Problem
from router.pages import Form, Page, Pages
from router.pages.wording import ABOUT_A_PREVIEW, HEADINGS, RELOADING, STATES, is_about_a_preview
from router.routes.records import ListeningSocket

PAGES = Pages("https://docs.miosa.ai/errors")
LOGO = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
BRANDING = {
    "name": "Acme <Labs>",
    "logo": LOGO,
    "accent_color": "#e11d48",
    "support_url": "https://acme.example/?a=1&b",
}
ALL = pytest.mark.parametrize("problem", EDGE_PROBLEMS, ids=lambda problem: problem.code)


def render(problem: Problem, form: Form = Form.HTML, **changes: object) -> Page:
    """A page of a request for port 5173 of a sandbox."""
    values = {"request_id": "req-1", "host": "5173-shop.sandbox.miosa.app", "port": 5173} | changes
    return PAGES.render(problem, form=form, **values)  # type: ignore[arg-type]


def csp(page: Page) -> dict[str, str]:
    """The policy as directive to value."""
    policy = dict(page.extra)[b"Content-Security-Policy"].decode()
    return dict(directive.strip().split(" ", 1) for directive in policy.split(";"))  # type: ignore[misc]


class Reader(HTMLParser):
    """Checks that tags nest, and collects what may load or run something."""

    VOID = frozenset(("meta", "img", "link", "path", "circle"))

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []
        self.feed(page.body.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "data", "srcset"}:
                self.addresses.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def text_of(page: Page) -> str:
    """What a reader sees, blanks folded."""
    return " ".join(" ".join(Reader(page).text).split())


@ALL
def test_json(problem: Problem) -> None:
    """The shape that programs rely on, to the key."""
    page = render(problem, form=Form.JSON)
    assert page.content_type == b"application/json"
    document = json.loads(page.body)
    assert list(document) == ["error"]
    message = document["error"].pop("message")
    assert message
    assert document["error"] == {
        "code": problem.code,
        "status": problem.status,
        "retryable": problem.retryable,
        "origin": "edge",
        "request_id": "req-1",
        "docs_url": f"https://docs.miosa.ai/errors#{problem.code}",
        **({} if problem.reason is None else {"reason": problem.reason}),
    }
    assert csp(page) == {"default-src": "'none'"}


@ALL
def test_problem_details(problem: Problem) -> None:
    """RFC 9457, with the error object's members beside its own."""
    page = render(problem, Form.PROBLEM, request_id="a/b+c")
    assert page.content_type == b"application/problem+json"
    document = json.loads(page.body)
    assert document.pop("title")
    assert document.pop("detail")
    assert document == {
        "type": f"https://docs.miosa.ai/errors#{problem.code}",
        "status": problem.status,
        "instance": "urn:miosa:request:a/b+c",
        "code": problem.code,
        "retryable": problem.retryable,
        "origin": "edge",
        "request_id": "a/b+c",
        **({} if problem.reason is None else {"reason": problem.reason}),
        **({} if problem.retry_after is None else {"retry_after": problem.retry_after}),
    }


@ALL
def test_markdown(problem: Problem) -> None:
    """A heading, what happened, and what a program would need, as a list."""
    page = render(problem, Form.MARKDOWN)
    assert page.content_type == b"text/markdown; charset=utf-8"
    heading, text, facts = page.body.decode().rstrip("\n").split("\n\n")
    assert heading.startswith("# ")
    assert text.endswith(".")
    assert f"- Code: `{problem.code}`" in facts.splitlines()
    assert "- Request: `req-1`" in facts.splitlines()
    assert all(re.fullmatch(r"- [A-Z][a-z]+: \S.*", line) for line in facts.splitlines())


@ALL
@pytest.mark.parametrize("branding", [None, BRANDING], ids=["plain", "branded"])
def test_pages_run_nothing_and_load_nothing(problem: Problem, branding: dict[str, str] | None) -> None:
    """No scripts, no handlers, no assets but a logo in the page itself; the one style is named by its hash."""
    page = render(problem, branding=branding)
    assert page.content_type == b"text/html; charset=utf-8"
    reader = Reader(page)
    assert not {"script", "iframe", "object", "form", "base"} & set(reader.tags)
    assert reader.handlers == []
    icon = "data:image/svg+xml,"
    assert all(address in {"", LOGO} or address.startswith(("https://", icon)) for address in reader.addresses)
    links = re.findall(r"<link[^>]*>", page.body.decode())
    assert [link for link in links if not link.startswith('<link rel="icon" href="data:')] == []
    (style,) = re.findall(r"<style>(.*?)</style>", page.body.decode(), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policy = csp(page)
    assert policy.pop("style-src") == f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
    assert policy.pop("img-src") == "data:"
    assert policy == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}


@ALL
def test_pages_can_be_read_by_everybody(problem: Problem) -> None:
    """A language, a title, one heading, one main part, a view that fits small screens."""
    page = render(problem)
    reader = Reader(page)
    assert (reader.tags.count("h1"), reader.tags.count("main"), reader.tags.count("title")) == (1, 1, 1)
    assert b'<html lang="en">' in page.body
    assert b'name="viewport"' in page.body
    text = text_of(page)
    assert str(problem.status) in text
    assert problem.code in text
    assert "req-1" in text


@ALL
def test_every_problem_has_its_heading(problem: Problem) -> None:
    """Of its own, and not a copy of the message."""
    assert HEADINGS[problem.reason or problem.code] not in problem.message


def test_the_tables_of_wording_know_no_others() -> None:
    """Every code in them is a problem of the proxy."""
    codes = {problem.code for problem in EDGE_PROBLEMS} | {problem.reason for problem in EDGE_PROBLEMS}
    assert {*HEADINGS, *ABOUT_A_PREVIEW, *RELOADING} <= codes


@ALL
def test_every_page_about_a_preview_shows_how_it_stands(problem: Problem) -> None:
    """A mark and a word in the picture of the way to it; of other problems there is nothing to show."""
    assert ((problem.reason or problem.code) in STATES) is is_about_a_preview(problem)
    assert ('class="way"' in render(problem).body.decode()) is (
        is_about_a_preview(problem) or problem.fault is Fault.EDGE
    )


def test_other_problems_have_the_heading_of_their_status() -> None:
    """What the tables do not know is shown all the same."""
    assert "Forbidden" in text_of(render(FORBIDDEN))


def test_a_closed_port_is_named_with_what_to_do() -> None:
    """The port, the address to bind, and an example that can be pasted."""
    text = text_of(render(errors.PORT_CLOSED))
    assert "Nothing is listening on port 5173 yet" in text
    assert "npm run dev -- --host 0.0.0.0 --port 5173" in text
    assert "5173-shop.sandbox.miosa.app" in text
    message = json.loads(render(errors.PORT_CLOSED, form=Form.JSON).body)["error"]["message"]
    assert message.startswith("Nothing is listening on port 5173 yet. Start your server and bind it to 0.0.0.0")


LISTENING = (ListeningSocket(3000, "0.0.0.0"), ListeningSocket(8080, "::1"))


@pytest.mark.parametrize("form", [Form.HTML, Form.JSON, Form.PROBLEM, Form.MARKDOWN])
def test_what_does_listen_is_said(form: Form) -> None:
    """As people write it, and as data for programs."""
    page = render(errors.LISTENS_ELSEWHERE, form, listening=LISTENING)
    if form in (Form.HTML, Form.MARKDOWN):
        assert b"0.0.0.0:3000" in page.body
        assert b"[::1]:8080" in page.body
        assert b"port 5173" in page.body
    else:
        document = json.loads(page.body)
        error = document.get("error", document)
        assert error["reason"] == "listens_elsewhere"
        assert error["listening"] == [{"port": 3000, "address": "0.0.0.0"}, {"port": 8080, "address": "::1"}]


def test_a_closed_port_without_a_number() -> None:
    """Where it is not known, the page makes do."""
    assert "Nothing is listening on this port yet" in text_of(render(errors.PORT_CLOSED, port=None))


@ALL
def test_waiting_pages_load_themselves_again(problem: Problem) -> None:
    """Only those whose trouble passes by itself, every three seconds and without a script; never where a form was sent."""
    page = render(problem)
    waits = problem.code in {"port_closed", "starting"} or problem is errors.CERTIFICATE_PENDING
    assert (b'<noscript><meta http-equiv="refresh" content="3"></noscript>' in page.body) is waits
    assert ((b"Refresh", b"3") in page.extra) is waits
    page = render(problem, reload=False)
    assert b"refresh" not in page.body
    assert b"Refresh" not in dict(page.extra)


@pytest.mark.parametrize("form", [form for form in Form if form is not Form.EVENT_STREAM])
@pytest.mark.parametrize(
    "problem", [errors.HOST_NOT_FOUND, errors.INVALID_HOST, errors.BLOCKED], ids=lambda problem: problem.code
)
def test_what_is_not_here_looks_like_what_never_was(problem: Problem, form: Form) -> None:
    """Byte for byte, whatever the host, its port and its owner's branding; only the request's id differs."""
    one = render(problem, form=form, host="secret.miosa.app", port=5173, branding=BRANDING)
    other = render(problem, form=form, host="x.example", port=None)
    assert one == other
    later = render(problem, form=form, host="x.example", port=None, request_id="req-2")
    assert later.body == one.body.replace(b"req-1", b"req-2")
    assert b"secret" not in one.body


def test_branding_is_shown_where_a_preview_is_known() -> None:
    """Name, logo, colour and support, escaped."""
    page = render(errors.STOPPED, branding=BRANDING)
    body = page.body.decode()
    assert "Acme &lt;Labs&gt;" in body
    assert f'<img src="{LOGO}" alt="">' in body
    assert "--accent: #e11d48; --on-accent: #ffffff;" in body
    assert 'href="https://acme.example/?a=1&amp;b"' in body
    assert csp(page)["img-src"] == "data:"


def test_branding_that_may_not_be_shown_is_left_out() -> None:
    """A page without a logo beats no page."""
    page = render(errors.STOPPED, branding={"logo": "https://evil.example/x.png", "accent_color": "red;}"})
    assert b"evil" not in page.body
    assert b"red;}" not in page.body
    assert b"<img" not in page.body


def test_nothing_that_a_stranger_chose_becomes_markup() -> None:
    """Host, message and request id are text."""
    bad = "<script>alert(1)</script>"
    page = render(errors.STOPPED, host=bad, request_id=bad, message=bad)
    assert b"<script>" not in page.body
    assert page.body.count(b"&lt;script&gt;") == 3
    assert json.loads(render(errors.STOPPED, form=Form.JSON, message=bad).body)["error"]["message"] == bad


def test_texts_that_are_no_unicode_are_shown_as_far_as_possible() -> None:
    """Half a surrogate pair in a request's id makes no page fail."""
    assert render(errors.STOPPED, request_id="a\ud800b").body.count(b"a?b") == 1
    assert json.loads(render(errors.STOPPED, form=Form.JSON, request_id="a\ud800b").body)


def test_a_kept_page_is_rendered_anew_for_each_request() -> None:
    """The second answer has its own request's id, in the same place."""
    first, second = render(errors.STOPPED), render(errors.STOPPED, request_id="another")
    assert second.body == first.body.replace(b"req-1", b"another")


def test_the_platform_has_a_name() -> None:
    """Operators of other platforms put theirs."""
    page = Pages("https://docs.example", "Elsewhere").render(
        errors.STOPPED, form=Form.HTML, request_id="r", host="h", port=1
    )
    assert "Elsewhere" in text_of(page)
    assert b"MIOSA" not in page.body


@pytest.mark.parametrize(
    ("login", "after_form", "told", "primary"),
    [
        (b"/in", None, "Sign in again.", 1),
        (b"", b"/", "Type the preview’s password.", 1),
        (b"/in", b"/", "Type the preview’s password, or sign in again.", 1),
        (b"", None, "Ask the preview's owner for a new link or token.", 0),
    ],
)
@pytest.mark.parametrize("problem", [errors.TOKEN_EXPIRED, errors.TOKEN_REVOKED])
def test_who_was_in_before_is_told_the_ways_back(
    problem: Problem, login: bytes, after_form: bytes | None, told: str, primary: int
) -> None:
    """A session ends each day: no word of a link then, where its page has a button. One way alone is in the accent's colour."""
    page = Pages("https://docs.example").render(
        problem,
        form=Form.HTML,
        request_id="req-1",
        host="a.example",
        port=3000,
        login=login,
        after_form=after_form,
    )
    assert told.replace("'", "&#39;") in page.body.decode()
    assert page.body.count(b'class="button"') == primary

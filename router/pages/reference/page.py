"""Puts the rows of `errors.py` and what the reference says of them together, and makes a page of all."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final

import jinja2
from markupsafe import Markup, escape

from router.errors import API_PROBLEMS, EDGE_PROBLEMS, Problem
from router.pages import wording
from router.pages.reference.api import API, NOUNS
from router.pages.reference.diagnoses import DIAGNOSES
from router.pages.reference.edge import CADDY, EDGE
from router.pages.reference.entry import Entry

PATH: Final = "/errors"
"""Of the page on the login host; the API's listener has it under `/docs`."""

_WORDS = {"client": "the request", "backend": "the program or what it needs", "edge": "the router"}
_CODE = re.compile(r"`([^`]+)`")
_READERS = (("visitor", "Visitors"), ("developer", "Developers"), ("operator", "Operators"))


@dataclass(frozen=True, slots=True)
class Meaning:
    """A code on one surface. `messages` are those of its reasons: (reason or None, heading, message)."""

    surface: str
    status: int
    fault: str
    retry: str
    proxy_error: str
    messages: tuple[tuple[str | None, str, str], ...]
    entry: Entry

    @property
    def advice(self) -> tuple[tuple[str, str], ...]:
        """Who can do what."""
        return tuple((title, text) for name, title in _READERS if (text := getattr(self.entry, name)))


@dataclass(frozen=True, slots=True)
class Code:
    """One code, whose anchor it is, with its meaning on each surface that has it. `others` are further anchors."""

    code: str
    meanings: tuple[Meaning, ...]
    others: tuple[str, ...] = ()


@cache
def codes() -> tuple[Code, ...]:
    """Every code of `errors.py` and Caddy's own two, the edge's first, each group in the order of its statuses."""
    found: dict[str, list[Meaning]] = {}
    for meaning_of, surface, problems, entries in (
        (_edge, "previews and domains", EDGE_PROBLEMS, EDGE),
        (_api, "API", API_PROBLEMS, API),
    ):
        for code, rows in sorted(_by_code(problems).items(), key=lambda item: (item[1][0].status, item[0])):
            found.setdefault(code, []).append(meaning_of(surface, rows, entries[code]))
    for code, foreign in CADDY.items():
        messages = ((None, HTTPStatus(foreign.status).phrase, foreign.message),)
        found[code] = [Meaning("Caddy in front", foreign.status, "the router", "yes", "", messages, foreign.entry)]
    nouns = tuple(f"{noun}_not_found" for noun in NOUNS)
    return tuple(
        Code(code, tuple(meanings), tuple(name for name in nouns if name not in found) if code == "not_found" else ())
        for code, meanings in found.items()
    )


def _by_code(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.code, []).append(problem)
    return found


def _edge(surface: str, rows: list[Problem], entry: Entry) -> Meaning:
    return _meaning(surface, rows, entry, lambda row: wording.heading(row, None))


def _api(surface: str, rows: list[Problem], entry: Entry) -> Meaning:
    return _meaning(surface, rows, entry, lambda row: HTTPStatus(row.status).phrase)


def _meaning(surface: str, rows: list[Problem], entry: Entry, heading: Callable[[Problem], str]) -> Meaning:
    first = rows[0]
    retry = "no"
    if first.retryable:
        retry = "yes" if first.retry_after is None else f"yes, after {first.retry_after} s"
    return Meaning(
        surface,
        first.status,
        _WORDS[first.fault.value],
        retry,
        first.proxy_error,
        tuple((row.reason, heading(row), row.message) for row in rows),
        entry,
    )


@cache
def render(name: str = "MIOSA") -> tuple[bytes, str]:
    """The whole page, and its Content-Security-Policy. Rendered when it is first asked for."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("router.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _marked
    style = environment.get_template("reference.css").render()
    html = environment.get_template("reference.html").render(
        name=name,
        codes=codes(),
        diagnoses=DIAGNOSES,
        style=Markup(style),  # noqa: S704 - our own file
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return html.encode("utf-8"), f"{policy}; frame-ancestors 'none'"


def anchors() -> Iterator[str]:
    """Every code that has a paragraph."""
    for code in codes():
        yield code.code
        yield from code.others
    yield from DIAGNOSES


def _marked(text: str) -> Markup:
    """With what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped

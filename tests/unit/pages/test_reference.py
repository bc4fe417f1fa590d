"""The reference of error codes: every code that an answer can carry has a paragraph, on a page that the router serves."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from router.api.not_found import NOUNS as IN_PATHS
from router.domains.checks.proof import Need
from router.errors import API_PROBLEMS, EDGE_PROBLEMS
from router.pages import reference
from router.pages.reference import API, CADDY, DIAGNOSES, EDGE, NOUNS

ROOT = Path(__file__).parents[3]
_MAKERS = {"an_error", "an_info", "_warning", "Finding"}
_NOT_FOUND = re.compile(r"([a-z]+(?: [a-z]+)?) not found")


def _trees(folder: str) -> Iterator[ast.AST]:
    for path in sorted((ROOT / "router" / folder).rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _codes_of_diagnoses() -> set[str]:
    """What is written out as the code of a finding, and the codes of needs."""
    found = {need.value for need in Need}
    for node in _trees("domains/diagnosis"):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _MAKERS:
            first = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "code")][:1]
            found |= {
                inner.value
                for given in first
                for inner in ast.walk(given)
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
            }
    return found


def test_every_problem_is_explained() -> None:
    """Of the proxy and of the API; and nothing else is, so that no code stays that is gone."""
    assert set(EDGE) == {problem.code for problem in EDGE_PROBLEMS}
    assert set(API) == {problem.code for problem in API_PROBLEMS}
    assert set(CADDY) == set(re.findall(r"X-Miosa-Error (\w+)", (ROOT / "deploy" / "Caddyfile").read_text()))


def test_every_code_of_a_diagnosis_is_explained() -> None:
    """As the rules have them."""
    assert set(DIAGNOSES) == _codes_of_diagnoses()


def test_every_record_that_may_be_missing_is_named() -> None:
    """`<noun>_not_found`: what services say, and what stands in paths."""
    said = {
        match[1].replace(" ", "_")
        for folder in ("api", "tenancy", "domains", "store", "records", "certificates")
        for node in _trees(folder)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (match := _NOT_FOUND.fullmatch(node.value))
    }
    assert {noun.replace(" ", "_") for noun in IN_PATHS.values()} | said <= set(NOUNS)


def test_every_entry_tells_somebody_what_to_do() -> None:
    """Whole sentences, and one reader at least who can do something."""
    for entry in (*EDGE.values(), *API.values(), *(one.entry for one in CADDY.values())):
        given = [text for text in (entry.visitor, entry.developer, entry.operator) if text]
        assert given, entry
        for text in (entry.why, *given):
            assert re.fullmatch(r"(?s)[A-Z`].*[.]", text), text
    for found in DIAGNOSES.values():
        assert found.meaning.endswith(".")
        assert found.remedy.endswith(".")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_every_code_has_one_anchor() -> None:
    """On the page, where `docs_url` of each error leads; its own links lead to anchors too."""
    body, policy = reference.render()
    page = _Page()
    page.feed(body.decode("utf-8"))
    assert sorted(page.ids) == sorted([*reference.anchors(), "diagnoses"])
    assert {link.removeprefix("#") for link in page.links} - {"data:,"} <= set(page.ids)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in body.decode("utf-8")


def test_a_paragraph_says_what_the_row_says() -> None:
    """Status, retry, the message of each reason, and who can do what."""
    (code,) = (one for one in reference.codes() if one.code == "port_closed")
    (meaning,) = code.meanings
    assert (meaning.status, meaning.retry, meaning.proxy_error) == (502, "yes", "connection_refused")
    assert [reason for reason, _, _ in meaning.messages] == [None, "listens_on_loopback", "listens_elsewhere"]
    assert [who for who, _ in meaning.advice] == ["Visitors", "Developers", "Operators"]
    (both,) = (one for one in reference.codes() if one.code == "method_not_allowed")
    assert [one.surface for one in both.meanings] == ["previews and domains", "API"]

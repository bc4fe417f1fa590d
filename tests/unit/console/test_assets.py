"""The console's files: what browsers are told about them, and what must not be in them."""

import re
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Response

import router.console
from router.console.assets import ROOT, console_pages

STATIC = Path(router.console.__file__).parent / "static"
SCRIPTS = sorted(STATIC.rglob("*.js"))


def show(path: str, **headers: str) -> Response:
    pages = console_pages(idle_timeout=90)
    return pages[path](make_mocked_request("GET", path, headers=headers))


def body(path: str) -> str:
    found = show(path).body
    assert isinstance(found, bytes)
    return found.decode()


def test_the_page_is_asked_for_anew() -> None:
    """With its tag it is not sent again."""
    whole = show(ROOT)
    assert (whole.status, whole.headers["Cache-Control"]) == (200, "no-cache")
    known = show(ROOT, **{"If-None-Match": whole.headers["ETag"]})
    assert (known.status, known.body) == (304, None)
    assert show(ROOT, **{"If-None-Match": '"another"'}).status == 200
    assert 'name="idle-timeout" content="90"' in body(ROOT)
    assert "sign-in" not in body(ROOT)  # without the setting it says nothing of it


def test_all_that_it_names_is_served() -> None:
    """And all that the modules import; each under one folder, for ever."""
    pages = console_pages(idle_timeout=90)
    named = re.findall(r'(?:src|href)="(/console/[^"]+)"', body(ROOT))
    assert len(named) == 3
    (folder,) = {"/".join(path.split("/")[:3]) for path in named}
    imported = {
        f"{folder}/{(script.parent / path).resolve().relative_to(STATIC)}"
        for script in SCRIPTS
        for path in re.findall(r'(?:from|import\()\s*"(\./[^"]+|\.\./[^"]+)"', script.read_text(encoding="utf-8"))
    }
    assert len(imported) > 10
    for path in (*named, *imported):
        assert show(path).headers["Cache-Control"] == "public, max-age=31536000, immutable", path
    assert {path for path in pages if "/pages/" in path} <= imported


def test_the_policy() -> None:
    """Nothing inline, nothing from elsewhere, no frame around it, no text that becomes HTML."""
    policy = dict(part.strip().partition(" ")[::2] for part in show(ROOT).headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", body(ROOT))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(STATIC)))
def test_a_module(script: Path) -> None:
    """Makes no HTML, keeps nothing, loads nothing from elsewhere."""
    text = script.read_text(encoding="utf-8")
    for banned in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "new Function",
        "document.write",
        "Storage",
        "document.cookie",
    ):
        assert banned not in text, banned
    assert not re.search(r'(?:from|import\()\s*"(?!\.)', text)

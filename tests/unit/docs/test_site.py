"""The site of the documentation: it builds strictly, is whole by itself, and has what the code has."""

import json
import re
from pathlib import Path

import pytest

from docs.site import api, build, cli
from docs.site.checks import faults
from docs.site.sources import page_files, with_links
from router.observe.endings import COMBINATIONS
from router.observe.metric_table import TABLE
from router.pages.reference import anchors
from router.settings import Settings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does it, which fails for dead links, missing anchors and assets from outside."""
    return build.build(tmp_path_factory.mktemp("docs"))


def text_of(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """And is built: a page that is forgotten there can't be found."""
    for page in build.navigation():
        place = site / page.removesuffix(".md")
        assert (place if page.endswith("/") else place / "index.html").exists() or page == "index.md", page
    assert set(page_files().values()) <= set(build.navigation())


def test_a_page_without_a_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever adds a page is told what is missing, before the site is built."""
    known = build.write_pages(tmp_path / "known")
    monkeypatch.setattr(build, "write_pages", lambda _: {*known, "forgotten.md"})
    with pytest.raises(SystemExit, match=r"forgotten\.md has no line in docs/site/zensical\.toml"):
        build.build(tmp_path / "site")


def test_search_finds_what_is_on_the_pages(site: Path) -> None:
    """The index has the sections of every kind of page."""
    text = json.dumps(json.loads((site / "search.json").read_text(encoding="utf-8")))
    for words in ("port_closed", "exchange_seconds", "miosa-router domains register", "verify_target", "webhook-id"):
        assert words in text


def test_every_command_is_in_the_reference(site: Path) -> None:
    """With each of its options."""
    text = text_of(site, "reference/cli")
    plain = re.sub(r"<[^>]*>", "", text)
    found = list(cli.commands())
    assert len(found) > 30
    for words, command in found:
        assert words in plain
        for parameter in command.params:
            assert all(name in plain for name in parameter.opts if name.startswith("--"))


def test_every_code_has_its_anchor(site: Path) -> None:
    """In the site as on the page that the router serves: `docs_url` may lead to either."""
    ids = set(re.findall(r'id="([^"]+)"', text_of(site, "reference/errors")))
    assert set(anchors()) <= ids


def test_every_operation_is_in_the_reference(site: Path) -> None:
    """On the page of its tag, under its operationId."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "reference" / "api").rglob("*.html"))
    for methods in api.openapi()["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in pages


def test_every_setting_metric_ending_and_event_is_in_the_reference(site: Path) -> None:
    """Their tables are those of the code."""
    metrics, endings, settings = (
        text_of(site, page) for page in ("reference/metrics", "reference/endings", "settings")
    )
    assert all(f"miosa_router_{row.name}" in metrics for row in TABLE)
    assert all(f"<code>{ending}</code>" in endings for ending in COMBINATIONS)
    assert all(
        f"<code>{name}" in settings or f'id="{name.replace("_", "-")}"' in settings or f">{name}<" in settings
        for name in Settings.model_fields
    )
    assert '<code id="domain.verified">' in text_of(site, "reference/events")


def test_links_lead_to_where_pages_are_in_the_site() -> None:
    """Pages move, files are copied, folders become plain text, and code is left as it is."""
    copied: list[str] = []
    text = (
        "[a](../deploy/RUNBOOK.md#dns) [b](DECISIONS.md) [c](../Makefile) [d](../deploy) [e](https://example.com) [f](#there) "
        "[g](reference/errors.md#blocked)\n```\n[no](link.md)\n```\n"
    )
    pages = {**page_files(), "docs/reference/errors.md": "reference/errors.md"}
    assert with_links(text, "docs/wake.md", "wake.md", pages, copied.append) == (
        "[a](runbook.md#dns) [b](decisions.md) [c](files/Makefile) d [e](https://example.com) [f](#there) "
        "[g](reference/errors.md#blocked)\n```\n[no](link.md)\n```\n"
    )
    assert copied == ["Makefile"]
    with pytest.raises(ValueError, match=r"docs/wake\.md: nothing\.md leads to nothing"):
        with_links("[x](nothing.md)", "docs/wake.md", "wake.md", pages, copied.append)


def test_what_is_wrong_with_a_site_is_named(tmp_path: Path) -> None:
    """Dead links, missing anchors, and whatever a browser would load from elsewhere."""
    (tmp_path / "index.html").write_text(
        '<a href="gone/">x</a> <a href="#gone">y</a> <a href="https://example.com">out</a> <b id="here"></b> <a href="#here">z</a>'
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//fonts.example/a.css">'
    )
    assert list(faults(tmp_path)) == [
        "index.html loads https://cdn.example/x.js from outside",
        "index.html loads //fonts.example/a.css from outside",
        "index.html: gone/ leads to nothing",
        "index.html: #gone has no such anchor",
    ]


@pytest.mark.parametrize("text", ["[x](wake.md#no-such-anchor)", '<img src="https://example.com/x.png">'])
def test_a_fault_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A missing anchor, and a picture from outside."""
    whole = build.write_pages

    def with_fault(folder: Path) -> set[str]:
        pages = whole(folder)
        (folder / "index.md").write_text(f"# Start\n\n{text}\n")
        return pages

    monkeypatch.setattr(build, "write_pages", with_fault)
    with pytest.raises(SystemExit, match=r"anchor does not exist|loads https://example\.com/x\.png from outside"):
        build.build(tmp_path)

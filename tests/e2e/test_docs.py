"""The documentation in a browser: the page of the API that a node serves, and the site of `make docs`."""

import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from docs.site.build import build
from tests.e2e.conftest import Edge
from tests.support.browser import Tab, find_browser, show

pytestmark = [pytest.mark.e2e]


@pytest.mark.parametrize(
    ("operation", "required", "choices"),
    [
        ("Projects/projects_create", ["name"], ["workspace_id", "workspace_slug", "external_workspace_id"]),
        ("Custom%20domains/custom_domains_register", ["domain"], ["computer_id", "deployment_id"]),
    ],
)
def test_the_page_shows_what_is_required(
    edge: Edge, tmp_path: Path, operation: str, required: list[str], choices: list[str]
) -> None:
    """A browser that can't reach anything else shows an operation with its required fields, and the alternatives where
    one of several is required. Nothing that it loads or does is against the page's policy."""
    shown = show(find_browser(), tmp_path, f"http://127.0.0.1:{edge.router.api_port}/docs#/{operation}")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown.page))
    assert "OAS 3.1" in text
    found = re.findall(
        r'json-schema-2020-12-property--required".*?json-schema-2020-12__title[^>]*>([^<]*)<', shown.page
    )
    assert set(required) <= set(found)
    for name in choices:
        assert f"Required: {name}" in text
    assert [line for line in shown.console if "Content Security Policy" in line or "ERR_" in line] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served."""
    folder = build(tmp_path_factory.mktemp("site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join(10)
    server.server_close()


_INPUT = (
    "[...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('input[role=combobox]')).find(Boolean)"
)
_RESULTS = "[...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('[role=listbox]')?.innerHTML || '').join('')"


@pytest.mark.asyncio
async def test_the_site_has_a_search_and_needs_nothing_from_outside(site: str, tmp_path: Path) -> None:
    """In a browser that finds no other host: a search for a code leads to its paragraph, and nothing failed to load. No page is
    wider than a small screen."""
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    async with Tab(find_browser(), tmp_path / "profile", rules) as tab:
        await tab.call("Network.enable")
        await tab.open(site)
        await tab.until("document.querySelector('.md-search__button') !== null")
        await tab.evaluate("document.querySelector('.md-search__button').click()")
        await tab.until(f"{_INPUT} !== undefined")
        await tab.evaluate(f"{_INPUT}.focus()")
        await tab.call("Input.insertText", text="listens_on_loopback")
        await tab.until(f"{_RESULTS}.includes('reference/errors/')")
        for page in ("tutorial/", "reference/errors/", "reference/cli/", "settings/"):
            await tab.picture(360, dark=True)
            await tab.open(f"{site}{page}")
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), page
        failed = [event["params"] for event in tab.events if event.get("method") == "Network.loadingFailed"]
        assert [one for one in failed if not one.get("canceled")] == []

"""The page of the API's documentation in a browser."""

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Edge
from tests.support.browser import find_browser, show

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

"""What an act is called."""

import pytest

from docs.audit_log import operations, page
from router.audit.actions import RouteAction, route_action
from router.audit.notes import CLASSES
from tests.unit.test_documents import ROOT


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/v1/sandboxes", RouteAction("sandbox.create", None, None, False)),
        ("PATCH", "/api/v1/sandboxes/{id}", RouteAction("sandbox.update", "id", None, False)),
        (
            "POST",
            "/api/v1/deployments/{id}/domains/{domain_id}/verify",
            RouteAction("custom_domain.verify", "domain_id", None, False),
        ),
        ("PATCH", "/api/v1/computers/{id}/ports/{port:text}", RouteAction("preview.update", None, "port", False)),
        ("DELETE", "/api/v1/deployments/{id}/env/{name:text}", RouteAction("env_variable.delete", "id", "name", False)),
        (
            "POST",
            "/api/v1/request-logs/{record_id:text}/replay",
            RouteAction("request_log.replay", "record_id", None, False),
        ),
        ("PUT", "/api/v1/tenant/login", RouteAction("login.set", None, None, True)),
        ("POST", "/api/v1/tenant/trusted-issuers", RouteAction("trusted_issuer.create", None, None, False)),
        ("PUT", "/internal/v1/endpoints/{resource_id}", RouteAction("endpoint.set", "resource_id", None, False)),
    ],
)
def test_an_action_of_a_route(method: str, path: str, expected: RouteAction) -> None:
    """The noun, what is done to it, and where the path names it."""
    assert route_action(method, path) == expected


def test_every_route_has_an_action_about_something_known() -> None:
    """A noun whose records the notes know, as events have theirs: a new route with a new noun names its record in `notes.CLASSES`."""
    rows = list(operations())
    assert len(rows) > 100
    for row in rows:
        noun, _, done = route_action(row.method, row.path).action.partition(".")
        assert noun in CLASSES, row.path
        assert done.replace("_", "").isalpha(), row.path


def test_the_page_is_current() -> None:
    """docs/audit-log.md is what `make docs` writes."""
    assert (ROOT / "docs" / "audit-log.md").read_text(encoding="utf-8") == page(), "run `make docs`"

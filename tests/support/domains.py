"""Custom domains as values, for tests without a store. Every field can be replaced."""

from datetime import UTC, datetime
from typing import Any

from router.domains.checks.schedule import CheckState
from router.domains.custom import CustomDomain
from router.routes.records import Kind

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def custom_domain(fqdn: str = "app.example.com", **changes: Any) -> CustomDomain:
    """A pending domain of a computer of tenant `acme`."""
    values: dict[str, Any] = {
        "id": "80000000-0000-4000-8000-000000000000",
        "fqdn": fqdn,
        "resource_id": "desk",
        "kind": Kind.COMPUTER,
        "tenant_id": "acme",
        "workspace_id": "acme-w1",
        "project_id": "acme-p1",
        "verification_target": "verify.miosa.ai",
        "token": "0a" * 16,
        "check": CheckState(next_check_at=NOW),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return CustomDomain(**values | changes)

"""What the official client asks for is served here, or is another service's and says so."""

from typing import Any

import pytest

from router.api.not_served_here import served_elsewhere
from router.api.operations import Handlers
from router.api.table import Table
from router.base.clock import ManualClock
from router.node.rest import handlers_of
from router.settings import Settings
from tests.support.api import ApiClient
from tests.support.client_calls import ID, client_calls

# Promised to the client's users: never another service's.
OURS = (
    ("POST", f"/api/v1/deployments/{ID}/stop"),
    ("POST", f"/api/v1/deployments/{ID}/redeploy"),
    ("POST", f"/api/v1/deployments/{ID}/move"),
    ("POST", f"/api/v1/api-keys/{ID}/rotate"),
    ("PATCH", f"/api/v1/api-keys/{ID}"),
    ("GET", f"/api/v1/computers/{ID}/ports/3000/url"),
    ("GET", f"/api/v1/sandboxes/{ID}/ports/3000/url"),
    ("GET", f"/api/v1/computers/{ID}/urls"),
    ("GET", f"/api/v1/projects/{ID}/summary"),
    ("GET", "/api/v1/whoami"),
    ("POST", f"/api/v1/webhooks/{ID}/deliveries/{ID}/replay"),
)


class AnyServices:
    """Stands for all services, as long as none of their methods is called."""

    def __getattr__(self, name: str) -> "AnyServices":
        return self


@pytest.fixture(scope="module")
def table() -> Table:
    anything: Any = AnyServices()
    nothing: list[Handlers] = handlers_of(anything, Settings(), anything, ManualClock(), anything, anything)
    return Table(nothing)


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, str, str]]:
    return [(method, path, name) for (method, path), name in client_calls().items()]


def test_the_whole_client(table: Table, calls: list[tuple[str, str, str]]) -> None:
    """Each request of each method finds a row, or an answer that names the service: none is a bare 404 or 405."""
    assert len(calls) > 1000
    lost = []
    for method, path, name in calls:
        if name == "client.admin.request" or not path.startswith("/api/v1/"):
            continue  # which sends what it is told to; and another host's paths
        match = table.match(path)
        served = match is not None and method in match.methods
        if not served and (match is not None or served_elsewhere(path) is None):
            lost.append(f"{name}: {method} {path}")
    assert "\n".join(lost) == ""


@pytest.mark.parametrize(("method", "path"), OURS)
def test_what_is_ours(table: Table, method: str, path: str) -> None:
    """These are served."""
    match = table.match(path)
    assert match is not None
    assert method in match.methods


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1",
        "/api/v1/",
        "/api/v1/nonsense",
        f"/api/v1/sandboxes/{ID}/nonsense",
        "/api/v1/sandboxes//exec",
        "/api/v1/sandboxes/nonsense",
        f"/api/v1/deployments/{ID}/versions/{ID}/nonsense",
        "/api/v2/databases",
        "/databases",
        "/internal/v1/databases",
        "/api/v1/databases%2F",
    ],
)
def test_what_is_nobodys(path: str) -> None:
    """A path that no service has is a 404."""
    assert served_elsewhere(path) is None


@pytest.mark.asyncio
async def test_the_answer(api: ApiClient) -> None:
    """501 with a sentence that names what was asked for, whatever the method, and nothing of the ids."""
    for method, path, named in (
        ("GET", "/api/v1/databases", "/databases"),
        ("POST", f"/api/v1/databases/{ID}/rows", "/databases"),
        ("POST", f"/api/v1/sandboxes/{ID}/exec/stream", "/sandboxes/{id}/exec"),
        ("GET", f"/api/v1/deployments/{ID}/runtime-instances", "/deployments/{id}/runtime-instances"),
    ):
        answer = await api(method, path, headers={"Idempotency-Key": "a"})
        assert (answer.status, answer.code) == (501, "not_served_here")
        words = f"{named} is served by another service of the platform, not by this router."
        assert answer.json["error"]["message"] == words

"""Who may call what."""

import pytest

from router.api.principal import Access, Principal
from router.base.ids import new_id
from tests.support.api import ApiClient, KnownCredentials, serving
from tests.unit.api.conftest import INTERNAL_TOKEN
from tests.unit.api.shelf import InnerApi

THING = f"/internal/v1/things/{new_id()}"


@pytest.mark.asyncio
@pytest.mark.parametrize("key", [None, "unknown", ""])
async def test_without_valid_credentials(api: ApiClient, key: str | None) -> None:
    """No credentials and wrong ones get the same 401, which names the scheme."""
    headers = {"Authorization": "Bearer unknown"} if key == "unknown" else {}
    if key == "":
        headers = {"Authorization": ""}
    answer = await api("GET", "/api/v1/books", key=None, headers=headers)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.asyncio
async def test_two_credentials_are_none(api: ApiClient) -> None:
    """A repeated Authorization header is not guessed at."""
    head = "GET /api/v1/books HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    both = "Authorization: Bearer tenant\r\nAuthorization: Bearer workspace\r\n"
    assert (await api.raw(f"{head}{both}\r\n".encode())).startswith(b"HTTP/1.1 401 ")


@pytest.mark.asyncio
async def test_credentials_come_before_the_body(api: ApiClient) -> None:
    """Who may not call learns nothing about what is wrong with the request."""
    answer = await api("POST", "/api/v1/books", key=None, data=b"{", headers={"Content-Type": "application/json"})
    assert answer.status == 401


@pytest.mark.asyncio
async def test_public_operation_needs_none(api: ApiClient) -> None:
    """A public operation responds without credentials."""
    assert (await api("GET", "/api/v1/status", key=None)).json == {"data": "up"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key", "status"), [("platform", 200), ("tenant", 200), ("workspace", 403), ("project", 403), ("nobody", 401)]
)
async def test_reach(api: ApiClient, key: str, status: int) -> None:
    """An operation that needs a tenant's access refuses narrower keys with 403."""
    answer = await api("POST", "/api/v1/shelves", key=key)
    assert answer.status == status
    if status == 403:
        assert (answer.code, answer.json["error"]["message"]) == ("forbidden", "forbidden")


@pytest.mark.asyncio
async def test_internal_needs_its_token(api: ApiClient) -> None:
    """/internal/v1 opens for the internal token alone: not for any key, and the token opens nothing else."""
    assert (await api("PUT", THING, key=INTERNAL_TOKEN)).status == 200
    assert (await api("PUT", THING, key=None)).status == 401
    assert (await api("PUT", THING, key="platform")).status == 401
    assert (await api("GET", "/api/v1/books", key=INTERNAL_TOKEN)).status == 401


@pytest.mark.asyncio
async def test_internal_is_off_without_a_token() -> None:
    """Where no token is set, every path and method below /internal is 404."""
    async with serving([InnerApi()], KnownCredentials({})) as api:
        for method, headers in (("PUT", {}), ("GET", {}), ("PUT", {"Authorization": "Bearer None"})):
            assert (await api(method, THING, key=None, headers=headers)).status == 404


TENANT, WORKSPACE, PROJECT, OTHER = "t", "w", "p", "o"


@pytest.mark.parametrize(
    ("access", "place", "covered"),
    [
        (Access.PLATFORM, (OTHER, OTHER, OTHER), True),
        (Access.TENANT, (TENANT, OTHER, OTHER), True),
        (Access.TENANT, (OTHER, WORKSPACE, PROJECT), False),
        (Access.WORKSPACE, (TENANT, WORKSPACE, OTHER), True),
        (Access.WORKSPACE, (TENANT, OTHER, PROJECT), False),
        (Access.WORKSPACE, (OTHER, WORKSPACE, PROJECT), False),
        (Access.WORKSPACE, (TENANT, None, None), False),
        (Access.PROJECT, (TENANT, WORKSPACE, PROJECT), True),
        (Access.PROJECT, (TENANT, WORKSPACE, OTHER), False),
        (Access.PROJECT, (TENANT, WORKSPACE, None), False),
        (Access.PROJECT, (OTHER, WORKSPACE, PROJECT), False),
    ],
)
def test_what_a_principal_covers(access: Access, place: tuple[str, str | None, str | None], *, covered: bool) -> None:
    """A principal covers what lies in its own part of its own tenant."""
    assert Principal("key:1", access, TENANT, WORKSPACE, PROJECT).covers(*place) is covered

"""Programs in browsers: who may read what, by the setting."""

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from router.api.cors import Cors
from router.settings import SettingsError, load
from tests.support.api import ApiClient, KnownCredentials, serving
from tests.unit.api.conftest import INTERNAL_TOKEN
from tests.unit.api.shelf import PRINCIPALS, InnerApi, ShelfApi

CONSOLE = "https://console.example.com"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
OTHERS = [
    "https://evil.example",
    "http://console.example.com",
    f"{CONSOLE}:8443",
    f"{CONSOLE}.evil.example",
    "null",
    "",
]

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def listed() -> AsyncIterator[ApiClient]:
    known = KnownCredentials(PRINCIPALS, internal=INTERNAL_TOKEN)
    origins = Cors([CONSOLE, "http://localhost:5173"])
    async with serving([ShelfApi(), InnerApi()], known, key="tenant", cors=origins) as client:
        yield client


def cors_of(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("access-control-")}


@pytest.mark.parametrize("origin", [CONSOLE, "http://localhost:5173"])
async def test_a_preflight(listed: ApiClient, origin: str) -> None:
    """Answered without a key: this origin, our methods and headers, no credentials."""
    answer = await listed("OPTIONS", "/api/v1/books", key=None, headers={"Origin": origin, **ASKING})
    assert (answer.status, answer.body) == (204, b"")
    found = cors_of(answer.headers)
    assert found["access-control-allow-origin"] == origin
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(found["access-control-allow-methods"].split(", "))
    taken = {name.lower() for name in found["access-control-allow-headers"].split(", ")}
    assert {"authorization", "content-type", "idempotency-key", "x-miosa-tenant"} <= taken
    assert "access-control-allow-credentials" not in found
    assert answer.headers["Vary"] == "Origin"


async def test_answers(listed: ApiClient) -> None:
    """A success, a refusal and what is not there are shown to the program, with our headers."""
    for path, key, status in (
        ("/api/v1/books", "tenant", 200),
        ("/api/v1/books", None, 401),
        ("/api/v1/x", "tenant", 404),
    ):
        answer = await listed("GET", path, key=key, headers={"Origin": CONSOLE})
        found = cors_of(answer.headers)
        assert (answer.status, found["access-control-allow-origin"]) == (status, CONSOLE)
        assert "X-Request-ID" in found["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in found


@pytest.mark.parametrize("origin", OTHERS)
async def test_other_origins(listed: ApiClient, origin: str) -> None:
    """They get the same response without the CORS headers, so the browser hides it from the page; caches keep the two apart."""
    headers = {"Origin": origin}
    answer = await listed("GET", "/api/v1/books", headers=headers)
    assert (answer.status, cors_of(answer.headers), answer.headers["Vary"]) == (200, {}, "Origin")
    preflight = await listed("OPTIONS", "/api/v1/books", key=None, headers={**headers, **ASKING})
    assert (preflight.status, cors_of(preflight.headers)) == (405, {})


async def test_the_platforms_own_endpoints(listed: ApiClient) -> None:
    """No browser's, whatever the setting."""
    for method in ("PUT", "OPTIONS"):
        answer = await listed(
            method, "/internal/v1/things/x", key=INTERNAL_TOKEN, headers={"Origin": CONSOLE, **ASKING}
        )
        assert cors_of(answer.headers) == {}


async def test_everybody() -> None:
    """`*` is said as it is, and never with credentials."""
    async with serving([ShelfApi()], KnownCredentials(PRINCIPALS), key="tenant", cors=Cors(["*"])) as api:
        for origin in (CONSOLE, "null"):
            answer = await api("GET", "/api/v1/books", headers={"Origin": origin})
            assert cors_of(answer.headers)["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in cors_of(answer.headers)


async def test_off_by_default(api: ApiClient) -> None:
    """Without the setting nothing of it shows."""
    answer = await api("GET", "/api/v1/books", headers={"Origin": CONSOLE})
    assert (cors_of(answer.headers), "Vary" in answer.headers) == ({}, False)
    assert (await api("OPTIONS", "/api/v1/books", headers={"Origin": CONSOLE, **ASKING})).status == 405


@pytest.mark.parametrize(
    "origin",
    [
        "console.example.com",
        f"{CONSOLE}/",
        "https://Console.example.com",
        "https://*.example.com",
        "null",
        "https://user@a.example",
        "https://a.example:0",
        "https://a.example:443",
        "ftp://a.example",
    ],
)
async def test_origins_that_no_browser_sends(origin: str) -> None:
    """They are refused at the start: they would never match."""
    with pytest.raises(SettingsError, match="cors_origins"):
        load(environ={"MIOSA_ROUTER_CORS_ORIGINS": origin})
    assert load(environ={"MIOSA_ROUTER_CORS_ORIGINS": f"{CONSOLE}, http://[::1]:3000"}).cors_origins == (
        CONSOLE,
        "http://[::1]:3000",
    )

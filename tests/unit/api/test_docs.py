"""The page for people: Swagger UI, served by us, over a document that shows what is required."""

import asyncio
import json
import re
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Response
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import ConfigDict

from router.api.docs import pages
from router.api.models import Body
from router.api.operations import Call, Data, Handlers, operation
from tests.support.api import ApiClient, KnownCredentials, serving

pytestmark = pytest.mark.asyncio


class Either(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["left"], "properties": {"left": {"type": "string"}}},
                {"required": ["right", "side"], "properties": {"right": {"type": "string"}}},
            ]
        }
    )

    name: str
    left: str | None = None
    right: str | None = None
    side: int | None = None


class Choosing(Handlers):
    tag = "Choosing"

    @operation("POST", "/choices", "Choose")
    async def choose(self, call: Call[Either, None]) -> Data[str]:
        return Data("")


async def test_everything_the_page_loads_is_ours(api: ApiClient) -> None:
    """/docs has no script or style of its own, and what it loads is served by us, of the right type and without a key."""
    answer = await api("GET", "/docs", key=None)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    page = answer.body.decode()
    assert re.findall(r"<script(?! src=)|<style|style=|\son\w+=", page) == []
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(loaded) == 6
    types = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "png": "image/png"}
    for path in loaded:
        got = await api("GET", path, key=None)
        assert (got.status, got.headers["X-Content-Type-Options"]) == (200, "nosniff")
        if path != "/openapi.json":
            assert got.headers["Content-Type"] == types[path.rpartition(".")[2]]


async def test_assets_are_kept_for_ever_under_a_path_of_their_version(api: ApiClient) -> None:
    """An asset's path changes with its bytes, so that browsers need not ask again; the page itself is never kept."""
    page = await api("GET", "/docs", key=None)
    assert page.headers["Cache-Control"] == "no-store"
    for path in re.findall(r'"(/docs/[^"]*)"', page.body.decode()):
        assert re.fullmatch(r"/docs/[0-9a-f]{16}/[a-z0-9.-]+", path)
        assert (await api("HEAD", path)).headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path", ["/docs/swagger-ui.css", "/docs/x/docs.js", "/docs/swagger-ui-bundle.js.map", "/docs/"]
)
async def test_nothing_else_of_the_package_is_served(api: ApiClient, path: str) -> None:
    """What the page does not load is not there: no source maps, no editor."""
    assert (await api("GET", path, key=None)).status == 404


async def test_the_document_is_made_when_it_is_first_asked_for() -> None:
    """A start does not wait for it; whoever asks at the same time, and later, gets the one that was made."""
    made = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"components": {"schemas": {}}, "paths": {}}

    found = pages(make, version="7")
    request = make_mocked_request("GET", "/")

    async def body_of(path: str) -> Any:
        response = found[path](request)
        shown = response if isinstance(response, Response) else await response
        assert isinstance(shown.body, bytes)
        return json.loads(shown.body)

    assert (await body_of("/"))["version"] == "7"
    assert made == []
    both = await asyncio.gather(body_of("/openapi.json"), body_of("/openapi.json"))
    assert both == [await body_of("/docs/openapi.json")] * 2
    assert made == [1]


async def test_people_see_which_fields_are_required() -> None:
    """The page's document has the required fields, and each alternative of a choice under the names of those that it
    requires; it is valid, and has the headers that an operation takes among its parameters."""
    async with serving([Choosing()], KnownCredentials({})) as api:
        shown = (await api("GET", "/docs/openapi.json")).json
        served = (await api("GET", "/openapi.json")).json
    assert list(OpenAPIV31SpecValidator(shown).iter_errors()) == []
    schema = shown["components"]["schemas"]["Either"]
    assert schema["required"] == ["name"]
    assert [alternative["title"] for alternative in schema["oneOf"]] == ["required: left", "required: right, side"]
    assert [alternative["required"] for alternative in schema["oneOf"]] == [["left"], ["right", "side"]]
    parameters = shown["paths"]["/api/v1/choices"]["post"]["parameters"]
    assert [parameter["$ref"].rpartition("/")[2] for parameter in parameters] == ["IdempotencyKey", "Tenant"]
    assert "oneOf" not in served["components"]["schemas"]["Either"]
    assert served["paths"]["/api/v1/choices"]["post"]["parameters"] == []


async def test_the_root_leads_to_the_documentation(api: ApiClient) -> None:
    """Somebody who opens the listener's address sees where to go, without a key; each link answers."""
    answer = await api("GET", "/", key=None)
    assert answer.status == 200
    for link in answer.json["links"]:
        assert (await api("GET", link, key=None)).status == 200

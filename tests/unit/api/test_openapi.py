"""The documentation says what is served."""

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from router.api.endpoint import Call, Reply, Resource, endpoint
from router.api.models import NOT_BLANK
from router.api.openapi import document
from router.api.table import Table
from tests.support.api import ApiClient
from tests.unit.api.shelf import InnerApi, PublicApi, ShelfApi


@pytest.mark.asyncio
async def test_document_is_valid(api: ApiClient) -> None:
    """/openapi.json is a valid OpenAPI 3.1 document, readable without credentials."""
    answer = await api("GET", "/openapi.json", key=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(answer.json).iter_errors()) == []


@pytest.mark.asyncio
async def test_page_for_people_needs_nothing_from_outside(api: ApiClient) -> None:
    """/docs shows every endpoint, runs no script and loads nothing."""
    answer = await api("GET", "/docs", key=None)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = answer.body.decode()
    for path in ("/api/v1/books/{id}", "/api/v1/status", "/internal/v1/things/{id}"):
        assert page.count(path)
    assert "<script" not in page
    assert "src=" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_every_endpoint_is_listed_once() -> None:
    """One row of the table is one operation, with an id of its own."""
    table = Table([ShelfApi(), PublicApi(), InnerApi()])
    paths = document(table, version="1")["paths"]
    listed = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(listed) == len(list(table))
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_every_status_is_listed() -> None:
    """An operation lists its successes, its own problems and those that come with what it takes."""
    paths = document(Table([ShelfApi(), PublicApi(), InnerApi()]), version="1")["paths"]

    def statuses(method: str, path: str) -> set[int]:
        return {int(status) for status in paths[path][method]["responses"]}

    assert statuses("post", "/api/v1/books") == {200, 201, 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503}
    assert statuses("get", "/api/v1/books") == {200, 401, 403, 422, 429, 500, 503}
    assert statuses("get", "/api/v1/books/{id}") == {200, 401, 403, 404, 429, 500, 503}
    assert statuses("get", "/api/v1/status") == {200, 429, 500, 503}
    assert statuses("put", "/internal/v1/things/{id}") == {200, 400, 401, 404, 408, 409, 413, 422, 500, 503}


def test_models_parameters_and_security_are_shown() -> None:
    """Bodies, envelopes, parameters and credentials are those that are served."""
    paths = document(Table([ShelfApi(), InnerApi()]), version="1")["paths"]
    create = paths["/api/v1/books"]["post"]
    assert create["requestBody"]["required"] is True
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewBook"}
    assert create["security"] == [{"apiKey": []}]
    assert create["description"].startswith("Put a book on the shelf.")
    assert create["x-idempotency-key"] == {"$ref": "#/components/parameters/IdempotencyKey"}
    listing = paths["/api/v1/books"]["get"]
    assert "x-idempotency-key" not in listing
    assert {parameter["name"] for parameter in listing["parameters"]} == {"page", "page_size", "lent", "shelf_id"}
    schema = listing["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["data", "page"]
    assert schema["properties"]["data"]["items"] == {"$ref": "#/components/schemas/Book"}
    assert paths["/api/v1/books/{id}"]["patch"]["requestBody"]["required"] is False
    assert paths["/internal/v1/things/{id}"]["put"]["security"] == [{"internalToken": []}]
    assert "/api/v1/books/{id}/labels/{label}" in paths


class Twice(Resource):
    tag = "Twice"

    @endpoint("GET", "/x/{id}", "One")
    async def one(self, call: Call) -> Reply[str]:
        return Reply("")

    @endpoint("GET", "/x/{id}", "Two")
    async def two(self, call: Call) -> Reply[str]:
        return Reply("")


class Shadow(Resource):
    tag = "Shadow"

    @endpoint("GET", "/x/{id}", "One")
    async def one(self, call: Call) -> Reply[str]:
        return Reply("")

    @endpoint("PUT", "/x/{name:text}", "Two")
    async def two(self, call: Call) -> Reply[str]:
        return Reply("")


@pytest.mark.parametrize(("resource", "message"), [(Twice(), "declared twice"), (Shadow(), "are the same path")])
def test_declarations_that_hide_each_other(resource: Resource, message: str) -> None:
    """A row that could never be found is refused when the table is made."""
    with pytest.raises(ValueError, match=message):
        Table([resource])


def test_handler_types_are_checked() -> None:
    """A handler that does not take a Call or does not return an answer cannot be declared."""

    async def no_call(self: Resource, call: int) -> Reply[str]:
        return Reply("")

    async def no_answer(self: Resource, call: Call) -> str:
        return ""

    with pytest.raises(TypeError, match="is a Call"):
        endpoint("GET", "/", "x")(no_call)
    with pytest.raises(TypeError, match="a handler returns one of Reply, Bare, "):
        endpoint("GET", "/", "x")(no_answer)


def test_blanks_are_blank_in_the_document_too() -> None:
    """The pattern of names takes a character exactly where stripping leaves it."""
    pattern = re.compile(NOT_BLANK["pattern"])
    characters = (chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000)
    assert [character for character in characters if bool(pattern.match(character)) != bool(character.strip())] == []

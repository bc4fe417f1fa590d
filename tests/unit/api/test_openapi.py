"""The documentation says what is served."""

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from router.api.models import NOT_BLANK
from router.api.openapi import document
from router.api.operations import Call, Data, Handlers, operation
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
    assert {parameter["name"] for parameter in listing["parameters"]} == {
        "page",
        "page_size",
        "limit",
        "lent",
        "shelf_id",
    }
    schema = listing["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["data", "page"]
    assert schema["properties"]["data"]["items"] == {"$ref": "#/components/schemas/Book"}
    assert paths["/api/v1/books/{id}"]["patch"]["requestBody"]["required"] is False
    assert paths["/internal/v1/things/{id}"]["put"]["security"] == [{"internalToken": []}]
    assert "/api/v1/books/{id}/labels/{label}" in paths


class Twice(Handlers):
    tag = "Twice"

    @operation("GET", "/x/{id}", "One")
    async def one(self, call: Call) -> Data[str]:
        return Data("")

    @operation("GET", "/x/{id}", "Two")
    async def two(self, call: Call) -> Data[str]:
        return Data("")


class Shadow(Handlers):
    tag = "Shadow"

    @operation("GET", "/x/{id}", "One")
    async def one(self, call: Call) -> Data[str]:
        return Data("")

    @operation("PUT", "/x/{name:text}", "Two")
    async def two(self, call: Call) -> Data[str]:
        return Data("")


@pytest.mark.parametrize(("handlers", "message"), [(Twice(), "declared twice"), (Shadow(), "are the same path")])
def test_declarations_that_hide_each_other(handlers: Handlers, message: str) -> None:
    """A row that could never be found is refused when the table is made."""
    with pytest.raises(ValueError, match=message):
        Table([handlers])


def test_handler_types_are_checked() -> None:
    """A handler that does not take a Call or does not return an answer cannot be declared."""

    async def no_call(self: Handlers, call: int) -> Data[str]:
        return Data("")

    async def no_answer(self: Handlers, call: Call) -> str:
        return ""

    with pytest.raises(TypeError, match="is a Call"):
        operation("GET", "/", "x")(no_call)
    with pytest.raises(TypeError, match="a handler returns one of Data, Bare, "):
        operation("GET", "/", "x")(no_answer)


def test_blanks_are_blank_in_the_document_too() -> None:
    """The pattern of names takes a character exactly where stripping leaves it."""
    pattern = re.compile(NOT_BLANK["pattern"])
    characters = (chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000)
    assert [character for character in characters if bool(pattern.match(character)) != bool(character.strip())] == []

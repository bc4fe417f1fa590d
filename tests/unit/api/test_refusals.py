"""Requests that are refused before any handler runs, and failures of our own."""

import io
import json
import logging
import zlib

import pytest
import structlog.testing

from router.api.parsing import MAX_BODY
from router.base.ids import new_id
from tests.support.api import ApiClient
from tests.support.ids import SOME_ID
from tests.unit.api.shelf import ShelfApi

pytestmark = pytest.mark.asyncio

BOOKS = "/api/v1/books"


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v1/books/",
        "/API/v1/books",
        "//api/v1/books",
        "/api/v1/books/not-an-id",
        "/api/v1/books/123e4567e89b12d3a456426614174000",
        "/api/v1/books/{123e4567-e89b-42d3-a456-426614174000}",
        "/api/v1/books/123e4567-e89b-42d3-a456-42661417400",
        "/api/v1/books/123e4567-e89b-42d3-a456-426614174000%00",
        "/api/v1/books/%ff",
        "/api/v1/books/..%2f..%2fetc",
        f"/api/v1/books/{SOME_ID}/nothing",
    ],
)
async def test_unknown_path_or_malformed_id(api: ApiClient, path: str) -> None:
    """What is no path of ours, or has something else where an id belongs, is 404 in the error envelope."""
    answer = await api("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")
    assert set(answer.json["error"]) == {"code", "message", "request_id", "docs_url"}


async def test_text_in_a_path(api: ApiClient) -> None:
    """A place for text takes any text, percent-decoded once; what no store can hold is 404."""
    path = f"{BOOKS}/{new_id()}/labels"
    assert (await api("PUT", f"{path}/a%20b%2525%C3%A9")).json == {"data": "a b%25é"}
    for nothing in ("%00", "%ff", "%ED%A0%80", ""):
        assert (await api("PUT", f"{path}/{nothing}")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", BOOKS, "GET, HEAD, POST"),
        ("OPTIONS", BOOKS, "GET, HEAD, POST"),
        ("TRACE", BOOKS, "GET, HEAD, POST"),
        ("POST", f"{BOOKS}/{SOME_ID}", "DELETE, GET, HEAD, PATCH"),
        ("HEAD", "/api/v1/shelves", "POST"),
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_other_methods(api: ApiClient, method: str, path: str, allow: str) -> None:
    """A method that a path does not take is 405, with those that it takes."""
    answer = await api(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allow
    if method != "HEAD":
        assert answer.code == "method_not_allowed"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"title": "a",}',
        b"{'title': 'a'}",
        b'{"title": NaN}',
        b'{"title": Infinity}',
        b'{"title": "\xff"}',
        b'\xef\xbb\xbf{"title": "a"}',
        b'{"title": "a\nb"}',
        b'{"title": "a"} {"title": "b"}',
        b"[" * 100_000,
        b'{"metadata":' + b'{"a":' * 500 + b"1" + b"}" * 501,
        b'{"pages": ' + b"9" * 5000 + b"}",
    ],
)
async def test_malformed_json(api: ApiClient, shelf: ShelfApi, body: bytes) -> None:
    """A body that is not JSON in UTF-8, or nested or counted beyond reason, is 400."""
    answer = await api("POST", BOOKS, data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (400, "malformed_json")
    assert shelf.made == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/jsonp",
        "*/*",
        None,
    ],
)
async def test_other_media_types(api: ApiClient, content_type: str | None) -> None:
    """A body of another type than JSON in UTF-8 is 415."""
    answer = await api(
        "POST",
        BOOKS,
        data=b'{"title": "a"}',
        headers={"Content-Type": content_type} if content_type else {},
        skip_auto_headers=["Content-Type"],
    )
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; Charset=UTF-8", "application/json;"])
async def test_json_is_recognised(api: ApiClient, content_type: str) -> None:
    """The media type is compared without case and with its parameters."""
    answer = await api("POST", BOOKS, data=b'{"title": "a"}', headers={"Content-Type": content_type})
    assert answer.status == 201


async def test_body_of_an_endpoint_without_one_is_ignored(api: ApiClient) -> None:
    """An endpoint that takes no body answers whatever is sent along."""
    answer = await api("DELETE", f"{BOOKS}/{new_id()}", data=b"{", headers={"Content-Type": "text/plain"})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title": ["can't be blank"]}),
        ({"title": None}, {"title": ["can't be blank"]}),
        ({"title": ""}, {"title": ["can't be blank"]}),
        ({"title": "  "}, {"title": ["can't be blank"]}),
        ({"title": 1}, {"title": ["is invalid"]}),
        ({"title": ["a"]}, {"title": ["is invalid"]}),
        ({"title": "a" * 121}, {"title": ["should be at most 120 character(s)"]}),
        ({"title": "a\0b"}, {"title": ["is invalid"]}),
        ({"title": "a", "pages": "5"}, {"pages": ["is invalid"]}),
        ({"title": "a", "pages": 5.5}, {"pages": ["is invalid"]}),
        ({"title": "a", "pages": True}, {"pages": ["is invalid"]}),
        ({"title": "a", "pages": 0}, {"pages": ["must be greater than or equal to 1"]}),
        ({"title": "a", "pages": 10**30}, {"pages": ["must be less than or equal to 100000"]}),
        ({"title": "a", "isbn": "x"}, {"isbn": ["has invalid format"]}),
        ({"title": "a", "lent": "true"}, {"lent": ["is invalid"]}),
        ({"title": "a", "lent": 1}, {"lent": ["is invalid"]}),
        ({"title": "a", "shelf_id": "7"}, {"shelf_id": ["must be a UUID"]}),
        ({"title": "a", "port": 65536}, {"port": ["must be less than or equal to 65535"]}),
        ({"title": "a", "tags": ["a", ""]}, {"tags.1": ["can't be blank"]}),
        ({"title": "a", "tags": ["a", "b", "c", "d"]}, {"tags": ["should have at most 3 item(s)"]}),
        ({"title": "a", "author": {}}, {"author.name": ["can't be blank"]}),
        ({"title": "a", "author": []}, {"author": ["is invalid"]}),
        ({"title": "a", "metadata": {"k": {"a\0": 1}}}, {"metadata.k": ["is invalid"]}),
        ({"title": "a", "metadata": {"k": ["x", "a\0"]}}, {"metadata.k.1": ["is invalid"]}),
        ({"title": "a", "metadata": []}, {"metadata": ["is invalid"]}),
        ({"title": 1, "pages": "x"}, {"title": ["is invalid"], "pages": ["is invalid"]}),
    ],
)
async def test_wrong_fields(
    api: ApiClient, shelf: ShelfApi, body: dict[str, object], fields: dict[str, list[str]]
) -> None:
    """Each wrong field is named with its words; nothing is converted from another type."""
    answer = await api("POST", BOOKS, json=body)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert answer.fields == fields
    assert shelf.made == 0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (r'{"title": "\ud800"}', "title"),
        (r'{"title": "a", "metadata": {"k": "\udfff"}}', "metadata.k"),
        (r'{"title": "a", "metadata": {"k": 1e999}}', "metadata.k"),
        (r'{"title": "a", "metadata": {"\u0000": 1}}', "metadata"),
    ],
)
async def test_what_no_store_can_hold(api: ApiClient, text: str, field: str) -> None:
    """Half a surrogate pair, NUL and infinity can be spelled in JSON; they are wrong fields."""
    answer = await api("POST", BOOKS, data=text.encode(), headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert answer.fields == {field: ["is invalid"]}


@pytest.mark.parametrize("body", [b"[]", b'"title"', b"1", b"null", b"true"])
async def test_body_that_is_no_object(api: ApiClient, body: bytes) -> None:
    """A body is an object."""
    answer = await api("POST", BOOKS, data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.fields) == (422, {"body": ["must be an object"]})


async def test_missing_body_counts_as_an_empty_object(api: ApiClient) -> None:
    """Without a body the required fields are blank; where none is required it is enough."""
    assert (await api("POST", BOOKS)).fields == {"title": ["can't be blank"]}
    assert (await api("PATCH", f"{BOOKS}/{new_id()}")).json == {"data": {}}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (r'{"titel": "a"}', {"titel": ["is not a field of this request"]}),
        (r'{"title": "a", "x": {"y": null}}', {"x": ["is not a field of this request"]}),
        (r'{"title": 5, "x": 1}', {"title": ["is invalid"], "x": ["is not a field of this request"]}),
        (r'{"Title": "a"}', {"Title": ["is not a field of this request"]}),
        (r'{"x": "\ud800"}', {"x": ["is invalid"]}),
        (r'{"\ud800": "x"}', {"body": ["is invalid"]}),
        (r'{"": "x"}', {"body": ["is not a field of this request"]}),
    ],
)
async def test_unknown_fields_of_a_change(api: ApiClient, body: str, fields: dict[str, list[str]]) -> None:
    """Refused by name: a change that was not made must not look made."""
    answer = await api("PATCH", f"{BOOKS}/{new_id()}", data=body.encode(), headers={"Content-Type": "application/json"})
    assert (answer.status, answer.fields) == (422, fields)


async def test_unknown_fields_of_a_creation_are_ignored(api: ApiClient) -> None:
    """Other services of the platform read them; here they change nothing."""
    odd = r'{"title": "a", "colour": "\ud800", "\u0000": [1e999], "author": {"name": "b", "x": "\ud800"}}'
    answer = await api("POST", BOOKS, data=odd.encode(), headers={"Content-Type": "application/json"})
    assert answer.status == 201


async def test_whole_numbers_may_have_a_point(api: ApiClient) -> None:
    """JSON knows one kind of number: 5.0 is 5."""
    answer = await api(
        "POST", BOOKS, data=b'{"title": "a", "pages": 5.0}', headers={"Content-Type": "application/json"}
    )
    assert answer.status == 201


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"q": ["can't be blank"]}),
        ("q=", {"q": ["can't be blank"]}),
        ("q=%00", {"q": ["is invalid"]}),
        ("q=%ff", {"query": ["is invalid"]}),
        ("q=%ED%A0%80", {"query": ["is invalid"]}),
        ("q=" + "a" * 51, {"q": ["should be at most 50 character(s)"]}),
        ("&".join(f"a{number}=1" for number in range(300)), {"query": ["is invalid"]}),
    ],
)
async def test_wrong_query(api: ApiClient, query: str, fields: dict[str, list[str]]) -> None:
    """Query parameters are checked like fields."""
    answer = await api("GET", f"/api/v1/search?{query}")
    assert (answer.status, answer.fields) == (422, fields)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("lent=true", 200),
        ("lent=false", 200),
        ("lent=1", 422),
        ("lent=yes", 422),
        ("lent=", 422),
        (f"shelf_id={SOME_ID}", 200),
        ("shelf_id=x", 422),
    ],
)
async def test_filters(api: ApiClient, query: str, status: int) -> None:
    """A flag is `true` or `false`, an id a UUID."""
    assert (await api("GET", f"{BOOKS}?{query}")).status == status


async def test_large_body_is_refused_by_its_announced_size(api: ApiClient) -> None:
    """A Content-Length over 10 MB is 413 before any of the body is sent, and before `100 Continue`."""
    head = (
        f"POST {BOOKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tenant\r\nContent-Type: application/json\r\n"
        f"Expect: 100-continue\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
    )
    answer = await api.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer.lower()


async def test_large_chunked_body_is_refused_while_it_arrives(api: ApiClient) -> None:
    """Without an announced size, 413 comes as soon as 10 MB have passed; the rest is not waited for."""
    head = (
        f"POST {BOOKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tenant\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    answer = await api.raw(head.encode() + chunk * 11)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "payload_too_large"


async def test_body_of_the_largest_size_is_read(api: ApiClient) -> None:
    """Exactly 10 MB is not too much."""
    body = b'{"title": "a", "metadata": {"k": "' + b"x" * (MAX_BODY - 37) + b'"}}'
    assert len(body) == MAX_BODY
    answer = await api("POST", BOOKS, data=io.BytesIO(body), headers={"Content-Type": "application/json"})
    assert answer.status == 201


async def test_compressed_body_counts_as_what_it_becomes(api: ApiClient) -> None:
    """A small body that inflates beyond 10 MB is 413; one that does not inflate is 400."""
    bomb = zlib.compress(b" " * (MAX_BODY * 3))
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    assert (await api("POST", BOOKS, data=bomb, headers=headers)).status in {400, 413}
    assert (await api("POST", BOOKS, data=b"nonsense", headers=headers)).status == 400


async def test_a_body_that_is_broken_is_no_fault_of_ours(api: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    """The rest of the body is not read, and no error is logged."""
    for path in (BOOKS, "/api/v1/nothing"):
        await api("POST", path, data=b"nonsense", headers={"Content-Encoding": "gzip"})
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tenant\r\nTransfer-Encoding: chunked\r\n\r\n"
        await api.raw(head.encode() + b"5\r\nhello\r\nzz\r\n")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_expect_continue(api: ApiClient) -> None:
    """A body that is wanted is asked for with `100 Continue`, once."""
    head = (
        f"POST {BOOKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tenant\r\nContent-Type: application/json\r\n"
        'Expect: 100-continue\r\nConnection: close\r\nContent-Length: 14\r\n\r\n{"title": "a"}'
    )
    answer = await api.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")
    assert answer.count(b"HTTP/1.1") == 2


async def test_garbage_is_answered_in_the_envelope(api: ApiClient) -> None:
    """Bytes that are not HTTP get 400 with a request id, and the connection is closed."""
    answer = await api.raw(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 "), "which version it would have spoken is not known"
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert error["code"] == "bad_request"
    assert f"X-Request-ID: {error['request_id']}".encode() in head


async def test_failure_says_nothing_of_the_inside(api: ApiClient) -> None:
    """An exception is 500 with a request id; the traceback is in the log, under that id."""
    with structlog.testing.capture_logs() as logs:
        answer = await api("GET", "/api/v1/broken")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert b"ZeroDivision" not in answer.body
    logged = [entry for entry in logs if entry["event"] == "api request failed"]
    assert [entry["request_id"] for entry in logged] == [answer.json["error"]["request_id"]]
    assert logged[0]["exc_info"]


async def test_store_that_is_away(api: ApiClient) -> None:
    """A store that does not answer is 503 with Retry-After, never a 404, and says nothing of the inside."""
    answer = await api("GET", "/api/v1/unreachable")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert b"10.1.2.3" not in answer.body

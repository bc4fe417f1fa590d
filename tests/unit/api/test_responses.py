"""Envelopes, lists, request ids and what every answer carries."""

import re

import pytest

from router.base.ids import new_id
from tests.support.api import ApiClient
from tests.unit.api.shelf import ShelfApi

pytestmark = pytest.mark.asyncio


async def test_single_resource_is_wrapped_in_data(api: ApiClient) -> None:
    """A resource answers `{"data": …}` with UUID v4 ids and UTC times to the second."""
    answer = await api("POST", "/api/v1/books", json={"title": "Dune"})
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer.json) == {"data"}
    book = answer.json["data"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", book["id"])
    assert book["created_at"] == "2026-05-17T10:00:00Z"
    again = await api("GET", f"/api/v1/books/{book['id'].upper()}")
    assert again.json == answer.json, "an id in a path may be spelled in upper case"


async def test_answer_may_have_another_declared_status(api: ApiClient) -> None:
    """A handler chooses among the statuses that its endpoint declares."""
    assert (await api("POST", "/api/v1/books", json={"title": "Dune"})).status == 201
    assert (await api("POST", "/api/v1/books", json={"title": "Dune"})).status == 200


async def test_bare_answer_has_no_envelope(api: ApiClient) -> None:
    """Pages that show an answer without an envelope get it so."""
    answer = await api("DELETE", f"/api/v1/books/{new_id()}")
    assert (answer.status, answer.json) == (200, {"deleted": True})


async def test_list_carries_its_page(api: ApiClient) -> None:
    """A list answers `data` and `page`, and nothing else beside them."""
    for title in ("One", "Two", "Three"):
        await api("POST", "/api/v1/books", json={"title": title})
    answer = await api("GET", "/api/v1/books?page=2&page_size=2")
    assert set(answer.json) == {"data", "page"}
    assert [book["title"] for book in answer.json["data"]] == ["Three"]
    assert answer.json["page"] == {"page": 2, "page_size": 2, "total": 3}


async def test_counted_list_carries_its_total(api: ApiClient) -> None:
    """Pages that show a list with `total` get exactly `data` and `total`."""
    await api("POST", "/api/v1/books", json={"title": "One"})
    answer = await api("GET", "/api/v1/books/all")
    assert set(answer.json) == {"data", "total"}
    assert answer.json["total"] == 1


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", {"page": 1, "page_size": 20, "total": 0}),
        ("?page=3", {"page": 3, "page_size": 20, "total": 0}),
        ("?page_size=100", {"page": 1, "page_size": 100, "total": 0}),
        ("?page_size=101", {"page": 1, "page_size": 100, "total": 0}),
        ("?page_size=99999999999999999999999999", {"page": 1, "page_size": 100, "total": 0}),
        ("?page=2147483647&page_size=100", {"page": 2147483647, "page_size": 100, "total": 0}),
        ("?page=1&page=2", {"page": 2, "page_size": 20, "total": 0}),
        ("?unknown=1", {"page": 1, "page_size": 20, "total": 0}),
        ("?limit=5", {"page": 1, "page_size": 5, "total": 0}),
        ("?limit=5&page_size=50", {"page": 1, "page_size": 5, "total": 0}),
        ("?limit=5000", {"page": 1, "page_size": 100, "total": 0}),
    ],
)
async def test_pages_that_are_taken(api: ApiClient, query: str, page: dict[str, int]) -> None:
    """`page_size` over 100 counts as 100; a page past the end is empty; unknown parameters are ignored."""
    answer = await api("GET", f"/api/v1/books{query}")
    assert (answer.status, answer.json) == (200, {"data": [], "page": page})


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=", "page"),
        ("page=one", "page"),
        ("page=1.0", "page"),
        ("page=1e3", "page"),
        ("page=1_0", "page"),
        ("page=%201", "page"),
        ("page=+1", "page"),
        ("page=null", "page"),
        ("page=%D9%A1", "page"),
        ("page=2147483648", "page"),
        ("page=99999999999999999999999999", "page"),
        ("page_size=0", "page_size"),
        ("page_size=-5", "page_size"),
        ("page_size=all", "page_size"),
        ("page_size=-99999999999999999999999999", "page_size"),
        ("page=" + "9" * 5000, "page"),
    ],
)
async def test_pages_that_are_refused(api: ApiClient, query: str, field: str) -> None:
    """A page that is not a number from 1 on is a wrong field."""
    answer = await api("GET", f"/api/v1/books?{query}")
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert list(answer.fields) == [field]


@pytest.mark.parametrize("given", ["req_01jv", "a", "5f0c-42:1", "x" * 128])
async def test_sane_request_id_is_kept(api: ApiClient, given: str) -> None:
    """A request id that fits into a log line comes back, in the header and in an error."""
    answer = await api("GET", "/nowhere", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    assert answer.json["error"]["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "é", "-dash"])
async def test_other_request_ids_are_replaced(api: ApiClient, given: str) -> None:
    """Anything else is replaced by an id of our own."""
    answer = await api("GET", "/nowhere", headers={"X-Request-ID": given})
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert answer.json["error"]["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/api/v1/books", "/api/v1/status", "/nowhere", "/docs", "/openapi.json"])
async def test_every_answer_has_the_common_headers(api: ApiClient, path: str) -> None:
    """No cache keeps an answer, no browser guesses its type, and the server says no version."""
    answer = await api("GET", path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "miosa-router"
    assert answer.headers["X-Request-ID"].startswith("req_")


async def test_head_answers_as_get_without_a_body(api: ApiClient, shelf: ShelfApi) -> None:
    """HEAD is served wherever GET is."""
    await api("POST", "/api/v1/books", json={"title": "Dune"})
    get, head = await api("GET", "/api/v1/books"), await api("HEAD", "/api/v1/books")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


async def test_patch_knows_null_from_absent(api: ApiClient) -> None:
    """A PATCH handler sees which fields were named, null included."""
    answer = await api("PATCH", f"/api/v1/books/{new_id()}", json={"title": None})
    assert answer.json == {"data": {"title": None}}

"""Idempotency-Key over HTTP: done once, answered again."""

import asyncio

import pytest

from router import errors
from router.base.clock import ManualClock
from router.errors import RouterError, StoreUnavailableError
from tests.support.api import ApiClient
from tests.support.ids import SOME_ID
from tests.unit.api.shelf import ShelfApi

pytestmark = pytest.mark.asyncio

BOOKS = "/api/v1/books"


def keyed(key: str = "one") -> dict[str, str]:
    return {"Idempotency-Key": key}


async def test_same_request_is_replayed(api: ApiClient, shelf: ShelfApi) -> None:
    """The same key and request get the stored status and body, marked, and nothing is done."""
    first = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    again = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert shelf.made == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", BOOKS, {"title": "Emma"}),
        ("POST", f"{BOOKS}?x=1", {"title": "Dune"}),
        ("POST", "/api/v1/shelves", {"title": "Dune"}),
        ("DELETE", f"{BOOKS}/{SOME_ID}", None),
    ],
)
async def test_different_request(
    api: ApiClient, shelf: ShelfApi, method: str, path: str, body: dict[str, str] | None
) -> None:
    """A key that was used for another method, path, query or body is 422."""
    await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    answer = await api(method, path, json=body, headers=keyed())
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert shelf.made == 1


async def test_keys_of_others(api: ApiClient, shelf: ShelfApi) -> None:
    """The same key of another principal is another key."""
    await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    answer = await api("POST", BOOKS, json={"title": "Emma"}, headers=keyed(), key="other-tenant")
    assert answer.status == 201
    assert shelf.made == 2


async def test_two_at_once_execute_once(api: ApiClient, shelf: ShelfApi) -> None:
    """While the first is under way the second is 409; afterwards it is replayed."""
    shelf.gate.clear()
    first = asyncio.ensure_future(api("POST", BOOKS, json={"title": "Dune"}, headers=keyed()))
    async with asyncio.timeout(5):
        while not shelf.made:
            await asyncio.sleep(0)
    second = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    assert (second.status, second.code) == (409, "idempotency_in_progress")
    assert second.headers["Retry-After"] == "1"
    shelf.gate.set()
    assert (await first).status == 201
    third = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    assert third.headers["Idempotent-Replayed"] == "true"
    assert shelf.made == 1


async def test_answers_are_kept_for_a_day(api: ApiClient, shelf: ShelfApi, clock: ManualClock) -> None:
    """After 24 hours the key is free."""
    await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    clock.advance(24 * 3600 - 1)
    assert "Idempotent-Replayed" in (await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())).headers
    clock.advance(1)
    assert "Idempotent-Replayed" not in (await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())).headers
    assert shelf.made == 2


async def test_refusal_by_the_handler_is_kept(api: ApiClient, shelf: ShelfApi) -> None:
    """A 4xx of the handler is the request's answer, and is replayed whole."""
    shelf.failure = RouterError(errors.CONFLICT, "no room")
    first = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    shelf.failure = None
    again = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    assert (first.status, again.status) == (409, 409)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_invalid_request_leaves_the_key_free(api: ApiClient, shelf: ShelfApi) -> None:
    """A request that was refused before its handler has not used its key."""
    assert (await api("POST", BOOKS, json={"title": ""}, headers=keyed())).status == 422
    assert (await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())).status == 201


@pytest.mark.parametrize(
    "failure", [ZeroDivisionError(), StoreUnavailableError("away"), RouterError(errors.UNAVAILABLE)]
)
async def test_failures_of_ours_are_not_kept(api: ApiClient, shelf: ShelfApi, failure: Exception) -> None:
    """After a 5xx the same key executes again."""
    shelf.failure = failure
    assert (await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())).status >= 500
    shelf.failure = None
    again = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed())
    assert again.status == 201
    assert "Idempotent-Replayed" not in again.headers


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\tb"])
async def test_keys_that_are_refused(api: ApiClient, shelf: ShelfApi, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    answer = await api("POST", BOOKS, json={"title": "Dune"}, headers=keyed(key))
    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")
    assert shelf.made == 0


async def test_reads_take_no_key(api: ApiClient) -> None:
    """A GET is answered anew whatever key it carries."""
    first = await api("GET", BOOKS, headers=keyed())
    again = await api("GET", BOOKS, headers=keyed())
    assert (first.status, again.status) == (200, 200)
    assert "Idempotent-Replayed" not in again.headers

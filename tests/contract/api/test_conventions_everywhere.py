"""The conventions of seed 004 hold for every row of the route table: whoever adds one need not think of them."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator

from router import errors
from router.api.operations import Auth, Counted, Download, EventStream, Operation, Paged, Rate, Text
from router.api.parsing import fingerprint
from router.base.clock import ManualClock
from router.base.idempotency import Claimed
from router.base.key_scopes import KeyScope
from router.errors import Problem
from router.node.services import Services
from router.settings import Rates, Settings, load
from router.store import Store
from tests.support.api import Answered, ApiClient
from tests.support.calls import Request, request_of
from tests.support.database import execute, on_both
from tests.support.holding_numbers import numbers
from tests.support.holdings import Holdings
from tests.support.memory_dns import MemoryLookup
from tests.support.walk import (
    INTERNAL_TOKEN,
    Asking,
    empty,
    in_order,
    is_for_a_browser,
    leading_here,
    one_of_everything,
)

pytestmark = pytest.mark.asyncio

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ONCE = {"key", "secret", "share_url", "token"}  # fields of what is shown once
TOO_LARGE = 10 * 1024 * 1024 + 1


@pytest.fixture
def settings() -> Settings:
    return load(environ={"MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN, "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8"})


@pytest.fixture
def rates() -> Rates:
    return Rates(workspace=100_000, auth=100_000, anonymous=100_000)


@pytest.fixture
def dns() -> MemoryLookup:
    """Every name leads to us, so that what is verified is right."""
    return leading_here()


@pytest_asyncio.fixture
async def held(services: Services) -> AsyncIterator[Holdings]:
    async with one_of_everything(services) as opened:
        yield opened


@pytest_asyncio.fixture
async def ask(api: ApiClient, services: Services, held: Holdings) -> Asking:
    key, plain = await services.keys.create(held.holder.tenant.id)
    _, of_platform = await services.keys.create(held.holder.tenant.id, scope=KeyScope.PLATFORM)
    return Asking(api, plain, f"key:{key.id}", of_platform)


def said(answer: Answered, problem: Problem) -> bool:
    """Whether the answer is that problem's, in the envelope, with the request's id in both places."""
    error = answer.json["error"]
    same = error["request_id"] == answer.headers["X-Request-ID"]
    return same and (answer.status, error["code"]) == (problem.status, problem.code) and bool(error["message"])


async def test_the_document(api: ApiClient, table: list[Operation]) -> None:
    """It is valid OpenAPI 3.1, has every row with every status that it may answer, and names nothing of the inside."""
    shown = (await api("GET", "/openapi.json", key=None)).json
    assert shown["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(shown).iter_errors()) == []
    assert [name for name in shown["components"]["schemas"] if "_" in name] == []
    listed = {(method.upper(), path): row for path, rows in shown["paths"].items() for method, row in rows.items()}
    assert len(listed) == len(table)
    for row in table:
        statuses = {row.status, *row.also, *(problem.status for problem in row.all_problems())}
        assert set(listed[row.method, row.path.replace(":text}", "}")]["responses"]) == set(map(str, statuses)), row


KINDS: dict[type, str] = {  # what is not JSON
    EventStream: "text/event-stream",
    Text: "text/plain; version=0.0.4",
    Download: "application/x-ndjson",
}


def is_counted(row: Operation) -> bool:
    """Whether it counts against a rate."""
    return row.auth is not Auth.INTERNAL and row.rate is not Rate.NONE


@on_both
async def test_everything_succeeds_once_and_is_replayed(
    ask: Asking, services: Services, clock: ManualClock, held: Holdings, table: list[Operation], database: str
) -> None:
    """Each row answers its holder with one of its statuses of success, as JSON with the request's id. A mutation that is
    sent again with its Idempotency-Key answers the same and does nothing; with another path the key is refused. After all of
    it the numbers of what scopes hold are those of the rows.
    """
    for number, row in enumerate(in_order(table)):
        clock.advance(11)  # a domain is looked at once in ten seconds
        request = request_of(row, held)
        if (row.method, row.path) == ("DELETE", "/api/v1/projects/{id}"):
            await empty(services, held)
        headers = {"X-Request-ID": f"req-{number}"} | ({"Idempotency-Key": f"key-{number}"} if row.mutates else {})
        first = await ask(row, request, headers=headers)
        if is_for_a_browser(row):
            assert said(first, errors.FORBIDDEN), row
            continue
        assert first.status in {row.status, *row.also}, (row, first.body)
        assert first.headers["X-Request-ID"] == f"req-{number}", row
        assert first.headers["Content-Type"] == f"{KINDS.get(row.response, 'application/json')}; charset=utf-8", row
        kept = "no-store" if row.max_age is None else f"public, max-age={row.max_age}"
        assert first.headers["Cache-Control"] == kept, row
        assert ("RateLimit-Remaining" in first.headers) == is_counted(row), row
        assert "Idempotent-Replayed" not in first.headers, row
        if row.response not in KINDS:
            json.loads(first.body)
        if not row.mutates:
            continue
        again = await ask(row, request, headers=headers)
        assert again.headers["Idempotent-Replayed"] == "true", row
        assert again.status == first.status, row
        assert again.body == first.body or first.json["data"].keys() & ONCE, row
        other = Request(row.method, f"{request.path}?other={number}", request.json)
        assert said(await ask(row, other, headers=headers), errors.IDEMPOTENCY_KEY_REUSED), row
    kept, counted = await numbers(database)
    assert kept == counted


async def test_a_key_that_is_in_use(
    ask: Asking, store: Store, clock: ManualClock, held: Holdings, table: list[Operation]
) -> None:
    """A mutation whose twin is still under way is refused, and told when to come again."""
    for row in [row for row in table if row.mutates and not is_for_a_browser(row)]:
        request = request_of(row, held)
        raw = json.dumps(request.json).encode() if request.json is not None else b""
        owner = "internal" if row.auth is Auth.INTERNAL else ask.principal
        same = fingerprint(row.method, request.path, raw)
        assert isinstance(await store.idempotency.claim(owner, row.path + row.method, same, clock.now()), Claimed)
        headers = {"Idempotency-Key": row.path + row.method, "Content-Type": "application/json"}
        answer = await ask(row, Request(row.method, request.path), data=raw, headers=headers)
        assert said(answer, errors.IDEMPOTENCY_IN_PROGRESS), (row, answer.body)
        assert answer.headers["Retry-After"] == "1", row


@on_both
async def test_lists_page(ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """Every list takes page and page_size, each item is on one page, and there are two keys in the answer: no more."""
    lists = [row for row in table if row.response in {Paged, Counted}]
    for row in lists:
        request = request_of(row, held)

        async def page(row: Operation = row, request: Request = request, **params: str) -> Answered:
            return await ask(row, request, params=params)

        whole = await page(page_size="1000")
        shape = {"data", "page"} if row.response is Paged else {"data", "total"}
        assert set(whole.json) == shape, row
        total = whole.json["page"]["total"] if row.response is Paged else whole.json["total"]
        assert total == len(whole.json["data"]) > 0, row
        if row.response is Paged:
            assert (whole.json["page"]["page"], whole.json["page"]["page_size"]) == (1, 100), row
            default = await page()
            assert default.json["page"]["page_size"] == 20, row
        single = [(await page(page=str(number), page_size="1")).json["data"] for number in range(1, total + 2)]
        assert [item for items in single for item in items] == whole.json["data"], row
        assert single[-1] == [], row
        for wrong in ({"page": "0"}, {"page": "one"}, {"page_size": "0"}, {"page_size": "many"}, {"page_size": "-1"}):
            refused = await page(**wrong)
            assert said(refused, errors.VALIDATION_FAILED), (row, wrong)
            assert list(refused.fields) == list(wrong), (row, wrong)


async def test_other_methods(api: ApiClient, held: Holdings, table: list[Operation]) -> None:
    """A path answers a method that it does not take with 405 and the list of those that it takes, before anything else."""
    taken: dict[str, set[str]] = {}
    for row in table:
        taken.setdefault(request_of(row, held).path, set()).add(row.method)
    for path, methods in taken.items():
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        for method in {*METHODS} - methods:
            answer = await api(method, path, key=None)
            assert said(answer, errors.API_METHOD_NOT_ALLOWED), (method, path)
            assert answer.headers["Allow"] == allowed, (method, path)


async def test_heads(api: ApiClient, ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """HEAD answers as GET does, without the body."""
    for row in table:
        if row.method == "GET" and not row.path.endswith(("/verify", "/diagnose")):
            request = request_of(row, held)
            whole, head = await ask(row, request), await api("HEAD", request.path, key=ask.key(row), **request.options)
            assert (head.status, head.body) == (200, b""), row
            if row.response not in {EventStream, Download}:
                assert head.headers["Content-Length"] == str(len(whole.body)), row


async def test_bodies_that_are_refused(ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """What is no JSON, no object, not called JSON or too large is refused by every row that takes a body."""
    for row in table:
        request = Request(row.method, request_of(row, held).path)
        if row.mutates:
            assert await ask.announce(row, request, TOO_LARGE) == "HTTP/1.1 413 Request Entity Too Large\r\n", row
        if row.mutates and not is_for_a_browser(row):
            unusable = await ask(row, request_of(row, held), headers={"Idempotency-Key": "not a key"})
            assert said(unusable, errors.INVALID_IDEMPOTENCY_KEY), row
        if row.body is None:
            continue
        typed = {"Content-Type": "application/json"}
        assert said(await ask(row, request, data=b'{"name": ', headers=typed), errors.MALFORMED_JSON), row
        assert said(
            await ask(row, request, data=b"{}", headers={"Content-Type": "text/plain"}), errors.UNSUPPORTED_MEDIA_TYPE
        ), row
        listed = await ask(row, request, data=b"[]", headers=typed)
        assert said(listed, errors.VALIDATION_FAILED), row
        assert listed.fields == {"body": ["must be an object"]}, row


async def test_wrong_types(ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """Each field of each body is checked: what none of its types allows is 422, and `error.fields` names it."""
    for row in table:
        right = request_of(row, held)
        for name in row.body.model_fields if row.body is not None else ():
            wrong = Request(row.method, right.path, {**(right.json or {}), name: [[0]]})
            answer = await ask(row, wrong)
            assert said(answer, errors.VALIDATION_FAILED), (row, name)
            assert any(field.split(".")[0] == name for field in answer.fields), (row, name, answer.fields)


async def test_ids_that_are_none(ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """In each place a malformed id is nothing, and so is a right one that nothing has, unless it is to be made."""
    nobody = "00000000-0000-4000-8000-000000000000"
    for row in table:
        request = request_of(row, held)
        makes = (row.method, row.path) == ("PUT", "/internal/v1/resources/{id}")
        for name, is_id in row.places.items():
            for word in ("tnt_abc123", *(() if makes else (nobody,))) if is_id else ("nothing",):
                parts = zip(row.path.split("/"), request.path.split("/"), strict=True)
                path = "/".join(word if part[1:].split(":")[0].strip("}") == name else own for part, own in parts)
                answer = await ask(row, Request(row.method, path, request.json))
                error = answer.json["error"]
                assert (answer.status, error["request_id"]) == (404, answer.headers["X-Request-ID"]), (row, path)
                assert error["code"].endswith("not_found"), (row, path, answer.body)


@pytest.mark.parametrize("rates", [Rates(workspace=1, auth=1, anonymous=1, metrics=1)])
async def test_rates(ask: Asking, held: Holdings, table: list[Operation]) -> None:
    """Every row but the platform's counts, and says when to come again once nothing is left."""
    for row in table:
        if is_counted(row):
            await ask(row, request_of(row, held))
            answer = await ask(row, request_of(row, held))
            assert said(answer, errors.RATE_LIMITED), row
            assert answer.headers["RateLimit-Remaining"] == "0", row
            assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"], row


async def test_a_store_that_is_away(ask: Asking, database: str, held: Holdings, table: list[Operation]) -> None:
    """No row takes a fault of ours for a record that does not exist, or for a key that is not valid."""
    gone = ("api_keys", "resources", "blocks", "signing_keys")
    await execute(database, *(f"ALTER TABLE {name} RENAME TO gone_{name}" for name in gone))
    for row in table:
        if row.path == "/internal/v1/activity" or is_for_a_browser(
            row
        ):  # has no store here, or reads it for a cookie alone
            continue
        answer = await ask(row, request_of(row, held))
        assert answer.status == 503, (row, answer.body)
        assert said(answer, errors.UNAVAILABLE), row
        assert answer.headers["Retry-After"] == "5", row

"""/deployments/{id}/env: variables per environment, and what becomes of secret ones."""

from typing import Any

import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.node.services import Services
from router.tenancy.env import MAX_VALUE, MAX_VARS
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def path(services: Services, acme: Account) -> str:
    return f"/api/v1/deployments/{(await services.deployments.create(acme.tenant.id, 'Site')).id}/env"


def values(answer: Any) -> dict[str, str | None]:
    return {row["key"]: row["value"] for row in answer.json["data"]}


async def test_set_and_list(api: ApiClient, path: str) -> None:
    """What is named is set, null forgets, the rest stays; the answer is what the environment has then."""
    answer = await api("POST", path, json={"env": {"B": "2", "A": "1", "EMPTY": ""}})
    assert answer.status == 200
    assert list(values(answer).items()) == [("A", "1"), ("B", "2"), ("EMPTY", "")]
    row = answer.json["data"][0]
    assert (row["key"], row["name"], row["environment"], row["secret"]) == ("A", "A", "production", False)
    answer = await api("POST", path, json={"env": {"A": "one", "B": None, "NEVER": None}})
    assert values(answer) == {"A": "one", "EMPTY": ""}
    assert answer.json["data"][0]["id"] == row["id"], "the same variable"
    listed = await api("GET", path)
    assert (listed.json["data"], listed.json["page"]) == (
        answer.json["data"],
        {"page": 1, "page_size": 20, "total": 2},
    )
    assert values(await api("GET", f"{path}?page_size=1&page=2")) == {"EMPTY": ""}


async def test_environments_are_apart(api: ApiClient, path: str) -> None:
    """The same name has a value per environment; the list shows all, or one."""
    await api("POST", path, json={"env": {"MODE": "live"}})
    answer = await api("POST", path, json={"env": {"MODE": "test"}, "environment": "staging"})
    assert values(answer) == {"MODE": "test"}
    rows = (await api("GET", path)).json["data"]
    assert [(row["environment"], row["value"]) for row in rows] == [("production", "live"), ("staging", "test")]
    assert values(await api("GET", f"{path}?environment=staging")) == {"MODE": "test"}
    assert values(await api("GET", f"{path}?environment=preview")) == {}


async def test_secrets_are_written_only(api: ApiClient, path: str) -> None:
    """Once secret, a value is in no answer again, and setting it anew does not uncover it."""
    headers = {"Idempotency-Key": new_id()}
    body = {"env": {"TOKEN": "hunter2", "MODE": "x"}, "secrets": ["TOKEN"]}
    answers = [await api("POST", path, json=body, headers=headers) for _ in range(2)]
    answers.append(await api("GET", path))
    answers.append(await api("POST", path, json={"env": {"TOKEN": "hunter3"}}))
    for answer in answers:
        assert answer.status == 200
        assert values(answer) == {"MODE": "x", "TOKEN": None}
        assert [row["secret"] for row in answer.json["data"]] == [False, True]
        assert b"hunter" not in answer.body
    everything = await api("POST", path, json={"env": {"MODE": "y", "OTHER": "z"}, "secret": True})
    assert set(values(everything).values()) == {None}


async def test_forget(api: ApiClient, path: str) -> None:
    """One goes by its path; it is the environment's that is named."""
    await api("POST", path, json={"env": {"A": "1"}, "secret": True})
    assert (await api("DELETE", f"{path}/A?environment=staging")).status == 404
    answer = await api("DELETE", f"{path}/A")
    assert (answer.status, answer.json["data"]["value"]) == (200, None)
    answer = await api("DELETE", f"{path}/A")
    assert (answer.status, answer.json["error"]["message"]) == (404, "variable not found")
    await api("POST", path, json={"env": {"A": "open"}})
    assert values(await api("GET", path)) == {"A": "open"}, "a new one is not secret"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"env": ["can't be blank"]}),
        ({"env": ["A=1"]}, {"env": ["is invalid"]}),
        ({"env": {"A": 1}}, {"env.A": ["is invalid"]}),
        ({"env": {"1A": ""}}, {"env.1A": ["is not a name: letters, digits and underscores, not a digit first"]}),
        ({"env": {"": ""}}, {"env.": ["is not a name: letters, digits and underscores, not a digit first"]}),
        ({"env": {"A": "x" * (MAX_VALUE + 1)}}, {"env.A": [f"should be at most {MAX_VALUE} character(s)"]}),
        ({"env": {"A": "\x00"}}, {"env.A": ["is invalid"]}),
        ({"env": {f"V{n}": "" for n in range(MAX_VARS + 1)}}, {"env": [f"should have at most {MAX_VARS} item(s)"]}),
        ({"env": {}, "environment": "Pro"}, {"environment": ["has invalid format"]}),
        ({"env": {}, "secrets": ["A-B"]}, {"secrets.0": ["has invalid format"]}),
    ],
)
async def test_what_is_refused(api: ApiClient, path: str, body: dict[str, Any], fields: dict[str, list[str]]) -> None:
    """Wrong names and values are named, and nothing is set."""
    answer = await api("POST", path, json=body)
    assert (answer.status, answer.fields) == (422, fields)
    assert values(await api("GET", path)) == {}


async def test_the_platform_reads_all(api: ApiClient, path: str) -> None:
    """With the internal token, and only with it, the values come out: somebody has to give them to the program."""
    await api("POST", path, json={"env": {"TOKEN": "hunter2"}, "secret": True})
    await api("POST", path, json={"env": {"TOKEN": "test"}, "environment": "staging"})
    internal = path.replace("/api/v1", "/internal/v1")
    answer = await api("GET", internal, key=INTERNAL_TOKEN)
    deployment_id = path.split("/")[-2]
    assert answer.json == {
        "data": {"deployment_id": deployment_id, "environment": "production", "env": {"TOKEN": "hunter2"}}
    }
    answer = await api("GET", f"{internal}?environment=staging", key=INTERNAL_TOKEN)
    assert answer.json["data"]["env"] == {"TOKEN": "test"}
    assert (await api("GET", internal)).status == 401
    assert (await api("GET", internal.replace(deployment_id, new_id()), key=INTERNAL_TOKEN)).status == 404


async def test_an_environment_is_bounded(api: ApiClient, path: str) -> None:
    """Many small requests add up to no more than one big one may have; replacing is always possible."""
    await api("POST", path, json={"env": {f"V{n}": "" for n in range(MAX_VARS)}})
    answer = await api("POST", path, json={"env": {"ONE_MORE": "", "V0": "x"}})
    assert (answer.status, answer.fields) == (422, {"env": [f"would make more than {MAX_VARS} variables"]})
    assert (await api("POST", path, json={"env": {"ONE_MORE": "", "V0": None}})).status == 200
    assert (await api("GET", path)).json["page"]["total"] == MAX_VARS

"""Idempotency-Key over the processes of a fleet: a mutation is done once, whichever node it is sent to, and its answer
outlives them all."""

import asyncio
import json
import signal
import urllib.request
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.pair import Pair
from tests.support.postgres import Postgres
from tests.support.router import Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

AT_ONCE = 12
BUILD_TIME = 3  # seconds until a program that never answers is given up


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    if request.param == "sqlite":
        async with Pair(tmp_path, limits__publish_check=BUILD_TIME) as opened:
            yield opened
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = await server.create()
    async with Pair(tmp_path, url, limits__publish_check=BUILD_TIME) as opened:
        yield opened
    await server.drop(url)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Caller:
    """A tenant's program, which may ask any node."""

    def __init__(self, pair: Pair) -> None:
        self._key = pair.key(pair.tenant("Acme"))

    def get(self, node: Router, path: str) -> Any:
        return self._send(node, "GET", path).json

    def post(self, node: Router, path: str, body: object, key: str) -> Answer:
        return self._send(node, "POST", path, body, {"Idempotency-Key": key, "Content-Type": "application/json"})

    def _send(
        self, node: Router, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        request = urllib.request.Request(
            f"http://127.0.0.1:{node.api_port}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", **(headers or {})},
            method=method,
        )
        return Answer(*node.send(request))


def restart(node: Router, how: signal.Signals) -> None:
    node.process.signal(how)
    node.process.wait()
    node.start()


async def test_done_once_and_remembered(pair: Pair) -> None:
    """Of many at once over both nodes one makes it; after a clean end and after a crash either node answers the same."""
    caller, key = Caller(pair), str(uuid.uuid4())
    body = {"name": "Dr. Smith Clinic", "allow_duplicate_name": True}
    answers = await asyncio.gather(
        *(asyncio.to_thread(caller.post, pair.nodes[turn % 2], "/workspaces", body, key) for turn in range(AT_ONCE))
    )
    made = {answer.body for answer in answers if answer.status == 201}
    assert len(made) == 1
    refused = {(answer.status, answer.code) for answer in answers if answer.status != 201}
    assert refused <= {(409, "idempotency_in_progress")}
    await asyncio.to_thread(restart, pair.first, signal.SIGTERM)
    await asyncio.to_thread(restart, pair.second, signal.SIGKILL)
    for node in pair.nodes:
        again = caller.post(node, "/workspaces", body, key)
        assert (again.status, {again.body}, again.headers["idempotent-replayed"]) == (201, made, "true")
        other = caller.post(node, "/workspaces", {**body, "name": "Another"}, key)
        assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert sorted(one["slug"] for one in caller.get(pair.first, "/workspaces")["data"]) == [
        "default",
        "dr-smith-clinic",
    ]


async def test_under_way_on_the_other_node(pair: Pair) -> None:
    """While one node publishes, the other refuses the same request, and says when to come again; then it replays."""
    caller, key = Caller(pair), str(uuid.uuid4())
    sandbox = caller.post(pair.first, "/sandboxes", {"default_port": 3000}, "sandbox").json["data"]
    site = caller.post(pair.first, "/deployments", {"name": "Site"}, "deployment").json["data"]
    path, body = f"/deployments/{site['id']}", {"source_sandbox_id": sandbox["id"]}
    publishing = asyncio.ensure_future(asyncio.to_thread(caller.post, pair.first, f"{path}/publish", body, key))
    await eventually(lambda: caller.get(pair.second, f"{path}/builds")["data"], "the build has begun")
    refused = caller.post(pair.second, f"{path}/publish", body, key)
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (409, "idempotency_in_progress", "1")
    done = await publishing
    again = caller.post(pair.second, f"{path}/publish", body, key)
    assert (done.status, again.status, again.headers["idempotent-replayed"]) == (201, 201, "true")
    assert again.body == done.body
    assert caller.get(pair.second, f"{path}/builds")["page"]["total"] == 1

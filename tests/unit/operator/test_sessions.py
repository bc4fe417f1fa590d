"""What a process answers about its sessions, and what the node makes of the answers of all."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.observe.ended_exchange import Finished
from router.observe.endings import PHASES
from router.operator.open_sessions import STATES, OpenSessions
from router.operator.processes import Answers, Processes
from router.operator.server import OperatorServer
from router.operator.sessions import Sessions
from router.operator.subjects import Subjects
from router.settings import Operator
from tests.support.operators import call, runtime_folder
from tests.support.request_records import exchange


class Process:
    """A process with exchanges that are open."""

    def __init__(self, *opened: tuple[Finished, str, float]) -> None:
        self.opened: list[tuple[Finished, str, float]] = list(opened)
        self.ended: Sequence[Finished] = ()
        self.clock = ManualClock()
        self.sessions = OpenSessions(lambda: self.opened, self.cut, self.clock)

    def cut(self, chosen: Callable[[Finished], bool]) -> tuple[int, int]:
        found = [one for one in self.opened if chosen(one[0])]
        self.ended = [one for one, _, _ in found]
        tunnels = sum(phase == "T" for _, phase, _ in found)
        return len(found) - tunnels, tunnels

    def list(self, limit: int = 100, **wanted: str) -> dict[str, Any]:
        return self.sessions.sessions({"wanted": wanted or {"host": "shop.miosa.app"}, "limit": limit})


def opened(started: float = 0.0, **changes: Any) -> Finished:
    """An exchange that has not ended."""
    return exchange(
        **{"started": started, "ended": 0.0, "first_byte": 0.0, "ending": "", "target": b"/a?secret=1", **changes}
    )


def test_every_phase_has_a_word() -> None:
    assert set(STATES) == set(PHASES)


def test_the_oldest_come_first_and_all_are_counted() -> None:
    process = Process(*((opened(100.0 - number), "B", -1.0) for number in range(10)), (opened(50.0), "T", 3.5))
    process.clock.advance(200.0)
    found = process.list(limit=3)
    assert (found["exchanges"], found["tunnels"]) == (10, 1)
    assert [one["state"] for one in found["sessions"]] == ["tunnel", "body", "body"]
    assert [one["idle_ms"] for one in found["sessions"]] == [3500, None, None]
    assert found["sessions"] == sorted(found["sessions"], key=lambda one: one["since"])
    assert process.list(limit=0)["sessions"] == []


def test_a_row_says_no_more_than_it_may() -> None:
    """A path without its query, a network and no address; and nothing of how it will end."""
    process = Process((opened(client="203.0.113.77"), "H", -1.0))
    (row,) = process.list()["sessions"]
    assert (row["path"], row["client_network"], row["state"]) == ("/a", "203.0.113.0/24", "response_head")
    assert "ending" not in row
    assert "secret" not in str(row)


def test_others_are_not_listed_and_not_cut() -> None:
    mine, other = opened(), opened(route=None, host=b"other.miosa.app")
    process = Process((mine, "H", -1.0), (other, "A", -1.0))
    assert process.list(host="other.miosa.app")["exchanges"] == 1
    assert process.sessions.cut({"wanted": {"host": "shop.miosa.app"}}) == {"exchanges": 1, "tunnels": 0}
    assert process.ended == [mine]


class Workers:
    """Two workers, and one that says nothing."""

    def __init__(self, *workers: Process) -> None:
        self._workers = workers

    async def ask_operator(self, question: str, arguments: Any) -> tuple[Sequence[tuple[int, Any]], int]:
        ask = [getattr(worker.sessions, question) for worker in self._workers]
        return [(number, answer(arguments)) for number, answer in enumerate(ask, 1)], 1

    def on_operator_event(self, hear: object) -> None:
        """They report nothing."""


async def find_tenant(_: str) -> str:
    raise AssertionError


@pytest.mark.asyncio
async def test_all_processes_are_one_list() -> None:
    """Bounded in all, with each worker's numbers; the act is audited before it is done, and refused at the read socket."""
    first = Process((opened(1.0), "H", -1.0), (opened(3.0), "H", -1.0))
    second = Process((opened(2.0), "T", 1.0))
    acts: list[tuple[str, str, int]] = []

    async def on_act(_peer: object, act: str, subject: str, _details: object) -> None:
        acts.append((act, subject, len(first.ended)))

    routes = Sessions(Processes(Answers(), Workers(first, second)), Subjects(find_tenant)).routes()
    query = {"of": "shop.miosa.app", "limit": "2"}
    async with runtime_folder() as folder:
        server = OperatorServer(Path(folder), Operator(), routes, on_act=on_act)
        await server.start()
        try:
            read, act = folder / "operator-read.sock", folder / "operator.sock"
            status, found = await call(read, "GET", "/v1/sessions", query=query)
            assert status == 200
            assert [(one["worker"], one["state"]) for one in found["data"]] == [(1, "response_head"), (2, "tunnel")]
            assert (found["total"], found["exchanges"], found["tunnels"], found["silent"]) == (3, 2, 1, 1)
            for bad in (
                {"of": "shop.miosa.app", "limit": "1001"},
                {"of": "shop.miosa.app", "limit": "-1"},
                {"of": "shop.miosa.app", "limit": "0000000001001"},
                {"of": "shop.miosa.app", "limit": ""},
                {"of": "a..b"},
            ):
                assert (await call(read, "GET", "/v1/sessions", query=bad))[0] == 422
            assert (await call(read, "GET", "/v1/sessions"))[0] == 400
            assert (await call(read, "POST", "/v1/cut", {"of": "shop.miosa.app"}))[0] == 403
            assert (await call(act, "POST", "/v1/cut", {"of": 5}))[0] == 422
            assert (await call(act, "POST", "/v1/cut", {}))[0] == 400
            assert acts == []
            status, found = await call(act, "POST", "/v1/cut", {"of": "shop.miosa.app"})
            assert (status, found["total"], found["tunnels"]) == (200, 3, 1)
            assert found["workers"][0] == {"worker": 1, "exchanges": 2, "tunnels": 0}
            assert acts == [("cut", "shop.miosa.app", 0)]
        finally:
            await server.close()
    await asyncio.sleep(0)

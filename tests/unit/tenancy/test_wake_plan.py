"""The rules of wakes: who is next, who is where in the queue, and what time and the resource's state make of each."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from router.routes.records import Kind, State
from router.routes.wakes import Wake as Setting
from router.routes.wakes import WakeState
from router.settings import Wake
from router.tenancy.wake_plan import GRACE, Outcome, Plan, Round
from router.tenancy.wakes import Request, Sleeper, StoredWake

NOW = 1_000_000.0
LIMITS = Wake(per_tenant=2, per_fleet=3, queue=50)


def sleeper(resource_id: str, tenant: str = "acme", **changes: Any) -> Sleeper:
    values: dict[str, Any] = {
        "resource_id": resource_id,
        "tenant_id": tenant,
        "kind": Kind.SANDBOX,
        "slug": resource_id,
        "state": State.PAUSED,
        "wake": Setting.ANY,
        "suspended": False,
    }
    return Sleeper(**values | changes)


def wake(resource_id: str, state: WakeState | None, **changes: Any) -> StoredWake:
    values: dict[str, Any] = {
        "resource_id": resource_id,
        "id": f"id-of-{resource_id}",
        "state": state,
        "turn": 0,
        "port": 3000,
        "reason": "http",
        "request_id": "r",
        "since": NOW - 5,
        "until": NOW + 5,
        "asked_at": None if state is WakeState.QUEUED else NOW - 5,
        "tries": 0 if state is WakeState.QUEUED else 1,
    }
    return StoredWake(**values | changes)


def request(resource_id: str) -> Request:
    return Request(resource_id=resource_id, port=3000, reason="http", request_id="r")


def play(
    stored: Iterable[StoredWake],
    sleepers: Iterable[Sleeper],
    *requests: str,
    limits: Wake = LIMITS,
    now: float = NOW,
    calls: bool = True,
) -> Round:
    """One round."""
    plan = Plan(stored, {one.resource_id: one for one in sleepers}, limits, now)
    plan.pass_time()
    for one in requests:
        plan.request(request(one))
    return plan.finish(calls=calls)


def states(result: Round) -> Mapping[str, WakeState | None]:
    return {one.resource_id: one.state for one in result.wakes}


def called(result: Round) -> list[str]:
    return [one.resource_id for one, _ in result.calls]


def test_the_first_request_has_the_platform_asked() -> None:
    """At once, where there is room; it has the call's time and a little more to say what came of it."""
    result = play([], [sleeper("a")], "a", "a")
    (made,) = result.wakes
    assert called(result) == ["a"]
    assert (made.state, made.tries, made.since, made.asked_at) == (WakeState.ASKED, 1, NOW, NOW)
    assert made.until == NOW + LIMITS.ask_time + GRACE


def test_who_does_not_call_takes_requests_in() -> None:
    """Another process calls in its next round."""
    first = play([], [sleeper("a")], "a", calls=False)
    assert (states(first), called(first)) == ({"a": WakeState.QUEUED}, [])
    assert called(play(first.wakes, [sleeper("a")], now=NOW + 1)) == ["a"]


@pytest.mark.parametrize("state", [one for one in WakeState if one is not WakeState.QUEUED])
def test_a_wake_that_is_there_is_only_waited_for(state: WakeState) -> None:
    """Whatever it is doing, or however it ended a moment ago."""
    before = wake("a", state)
    result = play([before], [sleeper("a")], "a")
    assert (result.wakes, result.calls, result.ended) == ((before,), [], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"wake": Setting.OFF},
        {"suspended": True},
        *({"state": state} for state in State if state not in (State.PAUSED, State.STOPPED)),
    ],
)
def test_what_is_not_to_be_woken(changes: dict[str, Any]) -> None:
    """It does not sleep, it is blocked, or its owner says no; and one that does not exist."""
    result = play([], [sleeper("a", **changes)], "a", "nothing")
    assert (result.wakes, result.calls, result.ended) == ((), [], [])


@pytest.mark.parametrize(
    ("before", "changes", "after", "ended"),
    [
        # The resource runs: its wake is over.
        (wake("a", WakeState.QUEUED), {"state": State.RUNNING}, None, [(Outcome.RUNNING, 5.0)]),
        (wake("a", WakeState.ASKED), {"state": State.RUNNING}, None, [(Outcome.RUNNING, 5.0)]),
        (wake("a", WakeState.STARTING), {"state": State.RUNNING}, None, [(Outcome.RUNNING, 5.0)]),
        (wake("a", WakeState.REFUSED), {"state": State.RUNNING}, None, []),
        (wake("a", WakeState.FAILED), {"state": State.RUNNING}, None, []),
        # It ran and sleeps again: its row says how long it took.
        (wake("a", None, until=NOW - 2), {}, None, [(Outcome.RUNNING, 3.0)]),
        # It is blocked.
        (wake("a", WakeState.QUEUED), {"suspended": True}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.ASKED), {"suspended": True}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.STARTING), {"suspended": True}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.FAILED), {"suspended": True}, None, []),
        # It is not to be woken any longer: what is on its way goes on.
        (wake("a", WakeState.QUEUED), {"wake": Setting.OFF}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.ASKED), {"wake": Setting.OFF}, WakeState.ASKED, []),
        (wake("a", WakeState.STARTING), {"wake": Setting.OFF}, WakeState.STARTING, []),
        # Its boot failed.
        (wake("a", WakeState.QUEUED), {"state": State.ERROR}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.ASKED), {"state": State.ERROR}, WakeState.FAILED, [(Outcome.FAILED, 5.0)]),
        (wake("a", WakeState.STARTING), {"state": State.ERROR}, WakeState.FAILED, [(Outcome.FAILED, 5.0)]),
        # Somebody else starts it.
        (wake("a", WakeState.QUEUED), {"state": State.STARTING}, WakeState.STARTING, []),
        (wake("a", WakeState.ASKED), {"state": State.STARTING}, WakeState.ASKED, []),
        # It is on its way to sleep: its turn will come.
        (wake("a", WakeState.QUEUED), {"state": State.STOPPING}, WakeState.QUEUED, []),
        # Its time is over.
        (wake("a", WakeState.QUEUED, until=NOW), {}, None, [(Outcome.LEFT, 5.0)]),
        (wake("a", WakeState.STARTING, until=NOW), {}, WakeState.FAILED, [(Outcome.FAILED, 5.0)]),
        (wake("a", WakeState.REFUSED, until=NOW), {}, None, []),
        (wake("a", WakeState.FAILED, until=NOW), {}, None, []),
        # The node that asked has died, and then another one.
        (wake("a", WakeState.ASKED, until=NOW), {}, WakeState.ASKED, []),
        (wake("a", WakeState.ASKED, until=NOW, tries=2), {}, WakeState.FAILED, [(Outcome.FAILED, 5.0)]),
        # Written while the clock was ahead.
        (wake("a", WakeState.FAILED, until=NOW + 1e6), {}, None, []),
        (
            wake("a", WakeState.STARTING, until=NOW + 1e6, since=NOW + 1e5),
            {},
            WakeState.FAILED,
            [(Outcome.FAILED, 0.0)],
        ),
    ],
)
def test_what_becomes_of_a_wake(
    before: StoredWake, changes: dict[str, Any], after: WakeState | None, ended: list[tuple[Outcome, float]]
) -> None:
    """By the state of its resource and the time that has passed; each end is counted once."""
    result = play([before], [sleeper("a", **changes)])
    assert states(result) == ({} if after is None else {"a": after})
    assert list(result.gone) == (["a"] if after is None else [])
    assert result.ended == ended
    again = play(result.wakes, [sleeper("a", **changes)])
    assert (again.ended, again.calls) == ([], [])


@pytest.mark.parametrize("state", WakeState)
def test_the_resource_was_deleted(state: WakeState) -> None:
    """Its wake goes."""
    result = play([wake("a", state)], [])
    assert (result.wakes, list(result.gone)) == ((), ["a"])
    assert result.ended == ([] if state.ended else [(Outcome.LEFT, 5.0)])


def test_a_dead_nodes_wake_is_free_only_after_its_deadline() -> None:
    """Until then nobody else asks; then the same wake is asked for once more, under the same id."""
    (taken,) = play([], [sleeper("a")], "a").wakes
    for passed in (0.0, 1.0, LIMITS.ask_time, LIMITS.ask_time + GRACE - 0.01):
        assert called(play([taken], [sleeper("a")], "a", now=NOW + passed)) == []
    again = play([taken], [sleeper("a")], now=taken.until)
    assert called(again) == ["a"]
    (second,) = again.wakes
    assert (second.id, second.tries, second.asked_at, second.since) == (taken.id, 2, NOW, NOW)


@pytest.mark.parametrize(
    ("state", "code", "after", "ended"),
    [
        (WakeState.STARTING, 202, WakeState.STARTING, []),
        (WakeState.REFUSED, 402, WakeState.REFUSED, [(Outcome.REFUSED, 3.0)]),
        (WakeState.FAILED, None, WakeState.FAILED, [(Outcome.FAILED, 3.0)]),
    ],
)
def test_what_came_of_a_call(
    state: WakeState, code: int | None, after: WakeState, ended: list[tuple[Outcome, float]]
) -> None:
    """What is on its way has what is left of the budget; what is refused or failed is remembered for a while."""
    (taken,) = play([], [sleeper("a")], "a").wakes
    plan = Plan([taken], {"a": sleeper("a")}, LIMITS, NOW + 3)
    plan.pass_time()
    plan.answer(taken, state, code)
    (made,), found = plan.finish(calls=True).wakes, plan.finish(calls=True).ended
    assert (made.state, made.code, found) == (after, code, ended)
    assert made.until == (NOW + LIMITS.budget if after is WakeState.STARTING else NOW + 3 + LIMITS.remember)


def test_an_answer_that_comes_too_late() -> None:
    """Another node has taken over, it runs by now, it was deleted, it is another wake: the answer changes nothing."""
    (taken,) = play([], [sleeper("a")], "a").wakes
    for known in (
        [replace(taken, tries=2)],
        [replace(taken, state=None)],
        [replace(taken, id="another")],
        [replace(taken, state=WakeState.STARTING)],
        [],
    ):
        plan = Plan(known, {"a": sleeper("a")}, LIMITS, NOW)
        plan.answer(taken, WakeState.REFUSED, 402)
        assert WakeState.REFUSED not in states(plan.finish(calls=False)).values()


def test_limits_of_the_tenant_and_of_the_fleet() -> None:
    """What is on its way counts until it runs or has failed; the first that ends makes room for the next."""
    sleepers = [sleeper(f"{tenant}{number}", tenant) for tenant in "ab" for number in range(5)]
    first = play([], sleepers, *(one.resource_id for one in sleepers))
    assert called(first) == ["a0", "b0", "a1"]  # two of one tenant, three of all
    assert called(play(first.wakes, sleepers, now=NOW + 1)) == []
    running = [replace(one, state=State.RUNNING) if one.resource_id == "a0" else one for one in sleepers]
    assert called(play(first.wakes, running, now=NOW + 1)) == ["b1"]
    assert called(play([], sleepers, "a0", "a1", "a2", "a3")) == ["a0", "a1"]


@pytest.mark.parametrize("per_fleet", [1, 2, 7])
def test_a_tenant_with_a_thousand_sleepers_delays_another_by_one_wake(per_fleet: int) -> None:
    """Turns go round by tenant, not by who came first, however few may be on their way at once."""
    limits = Wake(per_tenant=100, per_fleet=per_fleet, queue=2000)
    sleepers = {one.resource_id: one for one in (sleeper(f"a{number:03}", "a") for number in range(1000))}
    result = play([], sleepers.values(), *sleepers, limits=limits)
    assert called(result) == [f"a{number:03}" for number in range(per_fleet)]
    late = {one.resource_id: one for one in (sleeper(f"b{number:03}", "b") for number in range(10))}
    sleepers |= late
    result = play(result.wakes, sleepers.values(), *late, limits=limits, now=NOW + 1)
    order = list[str]()
    going = [one.resource_id for one in result.wakes if one.state is WakeState.ASKED]
    while len(order) < 20:
        ended = going.pop(0)
        sleepers[ended] = replace(sleepers[ended], state=State.RUNNING)
        result = play(result.wakes, sleepers.values(), limits=limits, now=NOW + 2)
        order += called(result)
        going += called(result)
    assert [one[0] for one in order] == ["a", "b"] * 10
    assert [one for one in order if one[0] == "b"] == list(late)


def test_places_count_from_one_and_only_go_down() -> None:
    """Everybody in the queue has another one; near the front they are exact."""
    limits = Wake(per_tenant=10, per_fleet=1)
    sleepers = {f"a{number:02}": sleeper(f"a{number:02}") for number in range(40)}
    result = play([], sleepers.values(), *sleepers, limits=limits)
    told = {one.resource_id: one.place for one in result.wakes if one.place is not None}
    assert sorted(told.values()) == list(range(1, 40))
    written = 0
    for turn in range(39):
        sleepers[f"a{turn:02}"] = replace(sleepers[f"a{turn:02}"], state=State.RUNNING)
        before = {one.resource_id: one for one in result.wakes}
        result = play(result.wakes, sleepers.values(), limits=limits, now=NOW + turn / 100)
        assert called(result) == [f"a{turn + 1:02}"]
        for place, one in enumerate(sorted(one.resource_id for one in result.wakes)[1:], start=1):
            known = next(made for made in result.wakes if made.resource_id == one)
            assert known.place is not None
            assert place <= known.place <= told[one]  # type: ignore[operator]
            assert known.place == place or (place > 10 and (known.place - place) * 10 < known.place)
            told[one] = known.place
            written += before[one].place != known.place
    assert written < 39 * 40 / 2  # that is every place in every round


def test_a_full_queue_takes_nothing_more_in() -> None:
    """Whoever is in it stays; it is counted."""
    limits = Wake(per_tenant=1, per_fleet=1, queue=2)
    sleepers = [sleeper(f"a{number}") for number in range(5)]
    first = play([], sleepers, "a0", limits=limits)
    result = play(first.wakes, sleepers, "a1", "a2", "a3", "a4", limits=limits)
    assert set(states(result)) == {"a0", "a1", "a2"}
    assert result.ended == [(Outcome.FULL, 0.0)] * 2
    assert result.full == {"a3", "a4"}
    assert play(result.wakes, sleepers, "a2", limits=limits).full == frozenset()


def test_a_place_is_kept_by_asking_again() -> None:
    """Who asks again keeps it; what nobody asks for any longer goes. One that has half of its time left is not written."""
    limits = Wake(per_tenant=1, per_fleet=1)
    sleepers = [sleeper("a"), sleeper("b")]
    before = play([wake("a", WakeState.STARTING, until=NOW + 59)], sleepers, "b", limits=limits)
    (queued,) = (one for one in before.wakes if one.resource_id == "b")
    early = play(before.wakes, sleepers, "b", limits=limits, now=NOW + 10)
    assert queued in early.wakes
    kept = play(before.wakes, sleepers, "b", limits=limits, now=NOW + 40)
    assert replace(queued, until=NOW + 100) in kept.wakes
    assert (Outcome.LEFT, 60.0) in play(before.wakes, sleepers, limits=limits, now=NOW + 60).ended


def test_any_order_of_events_keeps_the_rules() -> None:
    """A thousand rounds of requests, answers, boots, blocks and deaths: no limit is passed, nobody is asked for twice at once,
    each wake ends once, and every queue has places 1 to n at most."""
    chance = random.Random(7)
    limits = Wake(per_tenant=3, per_fleet=5, queue=20, budget=30, ask_time=10, hold=5, remember=5)
    sleepers = {f"{tenant}{number}": sleeper(f"{tenant}{number}", tenant) for tenant in "abc" for number in range(12)}
    stored: Mapping[str, StoredWake] = {}
    asked: dict[tuple[str, str, int], float] = {}
    now, begun, ended = NOW, set[str](), 0
    for _ in range(1000):
        now += chance.choice([0.0, 0.1, 1.0, 5.0])
        name = chance.choice(sorted(sleepers))
        state = chance.choice([State.PAUSED, State.PAUSED, State.STOPPED, State.STARTING, State.RUNNING, State.ERROR])
        sleepers[name] = replace(sleepers[name], state=state, suspended=chance.random() < 0.05)
        plan = Plan(stored.values(), sleepers, limits, now)
        plan.pass_time()
        for one in stored.values():
            if one.state is WakeState.ASKED and chance.random() < 0.3:
                plan.answer(one, chance.choice([WakeState.STARTING, WakeState.REFUSED, WakeState.FAILED]), 200)
        for one in chance.sample(sorted(sleepers), 4):
            plan.request(request(one))
        result = plan.finish(calls=chance.random() < 0.8)
        stored = {one.resource_id: one for one in result.wakes}
        assert not set(result.gone) & stored.keys()
        for one, _ in result.calls:
            key = (one.resource_id, one.id, one.tries)
            assert key not in asked
            asked[key] = now
        begun |= {one.id for one in stored.values()}
        ended += sum(outcome is not Outcome.FULL for outcome, _ in result.ended)
        going = [one for one in stored.values() if one.state in (WakeState.ASKED, WakeState.STARTING)]
        assert sum(one.state is WakeState.QUEUED for one in stored.values()) <= limits.queue
        by_itself = [one for one in going if one.tries == 0]  # started by somebody else while it was queued
        assert len(going) - len(by_itself) <= limits.per_fleet
        live = sum(one.state is not None and not one.state.ended for one in stored.values())
        assert ended + live == len(begun)
    assert len(asked) > 100

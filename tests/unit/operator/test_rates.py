"""What a process counts for `top`: the last whole seconds, by host and resource, and nothing while nobody looks."""

from typing import Any

from router.base.clock import ManualClock
from router.errors import HOST_NOT_FOUND, PORT_CLOSED
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.operator.processes import Asked, ProcessAnswer
from router.operator.rates import _MAX_NAMES, LEASE, MAX_SHOWN, OTHERS, Count, Rates
from router.operator.top import document
from tests.support.request_records import ACME, SHOP, exchange


class Process:
    """A process whose exchanges are counted."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.recorder = Recorder(metrics=Metrics(), clock=self.clock)
        self.rates = Rates(self.recorder, self.clock, lambda: {"tunnels": 2.0})

    def ask(self, window: int = 5) -> dict[str, Any]:
        return self.rates.answer({"window": window})

    def end(self, *exchanges: Any) -> None:
        self.recorder.finished.extend(exchanges)
        self.recorder.flush()

    @property
    def counts(self) -> bool:
        return self.rates._consume in self.recorder._consumers


def counting() -> Process:
    """One that was asked once, and has come to the next whole second."""
    process = Process()
    assert process.ask()["seconds"] == 0
    process.clock.advance(1.0)
    return process


def test_the_last_whole_seconds() -> None:
    process = counting()
    process.end(exchange(status=200), exchange(status=503, ending="BH"))
    assert process.ask()["all"][0] == 0  # that second is not over
    process.clock.advance(1.0)
    found = process.ask()
    assert found["seconds"] >= 1
    assert found["all"][:3] == [2, 1, 0]
    assert found["now"] == {"tunnels": 2.0}
    (host,) = found["hosts"]
    assert (host[0], host[1]) == ("shop.miosa.app", 2)
    (resource,) = found["resources"]
    assert resource[0] == f"{SHOP} shop {ACME}"
    process.clock.advance(5.0)
    assert process.ask()["all"][0] == 0
    assert process.ask(window=10)["all"][0] == 2


def test_nothing_is_counted_while_nobody_looks() -> None:
    process = Process()
    assert not process.counts
    process.ask()
    assert process.counts
    process.clock.advance(LEASE)
    process.end(exchange())
    assert not process.counts
    assert process.ask()["seconds"] == 0


def test_who_chooses_hosts_fills_no_memory() -> None:
    """Hosts that lead nowhere have no name here, and of others a second knows so many."""
    process = counting()
    for number in range(_MAX_NAMES + 50):
        done = exchange()
        done.route.host = f"h{number}.example"
        process.end(done)
    process.end(*(exchange(route=None, host=b"x%d" % number, problem=HOST_NOT_FOUND) for number in range(20)))
    process.clock.advance(1.0)
    found = process.ask()
    assert len(found["hosts"]) == MAX_SHOWN
    assert {name: requests for name, requests, *_ in found["hosts"]}[OTHERS] == 50
    assert found["refused"] == {"host_not_found": 20}
    assert found["all"][0] == _MAX_NAMES + 70


def test_what_the_application_did_is_no_refusal() -> None:
    process = counting()
    process.end(exchange(problem=PORT_CLOSED, status=502, looked_up=False), exchange(looked_up=True))
    process.clock.advance(1.0)
    found = process.ask()
    assert found["refused"] == {}
    assert (found["found"], found["looked_up"]) == (1, 1)


def test_tunnels_have_no_percentile() -> None:
    process = counting()
    process.end(exchange(tunnel=True, ended=1000.0))
    process.clock.advance(1.0)
    assert Count.of(process.ask()["all"]).buckets == {}


def test_all_processes_are_one_screen() -> None:
    """Rates add up, and what one process knows more than another comes with it."""
    first, second = counting(), counting()
    first.end(*(exchange(status=200, looked_up=False) for _ in range(3)))
    second.end(exchange(status=500, looked_up=True))
    for process in (first, second):
        process.clock.advance(1.0)
    gauges = {"store_available": 1.0, "redis_available": 0.0, "certificates": {"expiring": 2.0}}
    asked = Asked([ProcessAnswer(1, first.ask()), ProcessAnswer(2, second.ask())], silent=1)
    found = document(asked, gauges.get, at=5.0)
    seconds = found["seconds"]
    assert found["total"]["requests_per_second"] == round(4 / seconds, 2)
    assert found["total"]["errors_per_second"] == round(1 / seconds, 2)
    assert found["total"]["tunnels"] == 4
    assert found["total"]["cache_hit_share"] == 0.75
    assert [one["worker"] for one in found["workers"]] == [1, 2]
    (host,) = found["hosts"]
    assert (host["host"], host["requests_per_second"]) == ("shop.miosa.app", round(4 / seconds, 2))
    assert found["resources"][0]["resource_id"] == str(SHOP)
    assert found["stores"] == {"database": True, "redis": False, "bus": None}
    assert (found["certificates"]["expiring"], found["certificates"]["in_flight"]) == (2, None)
    assert found["silent"] == 1


def test_a_node_without_traffic() -> None:
    found = document(Asked([]), lambda _: None, at=0.0)
    assert (found["seconds"], found["hosts"], found["workers"]) == (0, [], [])
    assert found["total"]["p50_ms"] is None

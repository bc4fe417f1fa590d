"""What a process does for `tap`: which exchanges are passed on, how many, what it costs while nobody taps."""

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.errors import INVALID_HOST
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.operator.tapping import LEASE, MAX_TAPS, TapFilter, Tapping, shown
from tests.support.request_records import ACME, GLOBEX, SHOP, exchange, led


class Process:
    """A process with a recorder, and what it tells the control process."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.recorder = Recorder(metrics=Metrics(), clock=self.clock)
        self.told: list[Mapping[str, Any]] = []
        self.listens = True
        self.tapping = Tapping(self.recorder, self.send, self.clock)

    def send(self, event: str, about: Mapping[str, Any]) -> bool:
        assert event == "tap"
        if self.listens:
            self.told.append(about)
        return self.listens

    def tap(self, identity: str = "t", per_second: int = 100, **wanted: Any) -> bool:
        return self.tapping.tap({"tap": identity, "wanted": wanted, "per_second": per_second})

    def end(self, *exchanges: Any) -> None:
        self.recorder.finished.extend(exchanges)
        self.recorder.flush()

    @property
    def rows(self) -> list[tuple[int, int]]:
        """(rows, dropped) of each message."""
        return [(len(one["rows"]), one["dropped"]) for one in self.told]


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.mark.parametrize(
    ("wanted", "changes", "found"),
    [
        ({"host": "shop.miosa.app"}, {}, True),
        ({"host": "shop.miosa.app"}, {"route": None, "host": b"Shop.Miosa.App.:8443"}, True),
        ({"host": "other.miosa.app"}, {}, False),
        ({"host": "[::1]"}, {"route": None, "host": b"[::1]:80"}, True),
        ({"resource": str(SHOP), "tenant": str(SHOP)}, {}, True),
        ({"resource": str(ACME), "tenant": str(ACME)}, {}, True),
        ({"resource": "shop"}, {}, True),
        ({"resource": "shop"}, {"route": None}, False),
        ({"tenant": str(ACME)}, {}, True),
        ({"tenant": str(GLOBEX)}, {}, False),
        ({"tenant": str(ACME), "status": [500, 599]}, {}, False),
        ({"tenant": str(ACME), "status": [200, 200]}, {}, True),
        ({"tenant": str(ACME), "ending": "BH"}, {}, False),
        ({"tenant": str(ACME), "ending": "--"}, {}, True),
        ({"tenant": str(ACME), "path": "/api/"}, {"target": b"/v1/api/x?y"}, True),
        ({"tenant": str(ACME), "path": "/api/"}, {"target": b"/x?/api/"}, False),
    ],
)
def test_which_exchanges_are_meant(wanted: dict[str, Any], changes: dict[str, Any], found: bool) -> None:
    assert TapFilter(wanted).matches(exchange(**changes)) is found


def test_what_is_shown() -> None:
    """Names as in request records; no query, no header, of the client only its network, of keys in a path only that they are some."""
    row = shown(
        exchange(
            target=b"/p\x1b[2J/msk_abcdefghijkl?token=x",
            queued_at=10.0,
            admitted_at=10.05,
            dialled_at=10.05,
            connected_at=10.06,
            problem=INVALID_HOST,
        ),
        1_700_000_000.0,
    )
    assert row["at"] == 1_700_000_010.25
    assert row["path"] == "/p\x1b[2J/msk_***"
    assert (row["client_network"], row["duration_ms"], row["first_byte_ms"]) == ("203.0.113.0/24", 250.0, 100.0)
    assert (row["queue_ms"], row["dial_ms"], row["wake_ms"]) == (50.0, 10.0, 0.0)
    assert (row["error"], row["ending_text"]) == ("invalid_host", "complete")
    assert (row["resource_id"], row["tenant_id"]) == (str(SHOP), str(ACME))
    long = shown(exchange(target=b"/" + b"a" * 5000, first_byte=0.0, route=None), 0.0)
    assert (len(long["path"]), long["path"][-1]) == (1025, "…")
    assert (long["first_byte_ms"], long["resource_id"], long["host"]) == (None, None, "shop.miosa.app")


def test_nothing_is_done_while_nobody_taps(process: Process) -> None:
    """The recorder has the consumers that it had, before and after."""
    before = process.recorder._consumers
    assert process.tap(host="shop.miosa.app")
    assert process.tap("other", host="shop.miosa.app")
    assert len(process.recorder._consumers) == len(before) + 1
    assert process.tapping.untap({"tap": "t"})
    assert process.tapping.untap({"tap": "other"})
    assert process.recorder._consumers == before
    assert not process.tapping.untap({"tap": "t"})


def test_only_so_many_in_a_second(process: Process) -> None:
    """What is left out is counted, in the same message or the next."""
    process.tap(per_second=2, host="shop.miosa.app")
    process.end(*(exchange() for _ in range(5)))
    process.end(exchange())
    process.clock.advance(1.0)
    process.end(exchange())
    assert process.rows == [(2, 3), (0, 1), (1, 0)]


def test_a_control_process_that_does_not_read(process: Process) -> None:
    """What was for it is counted as not shown."""
    process.tap(host="shop.miosa.app")
    process.listens = False
    process.end(exchange(), exchange())
    process.listens = True
    process.end(exchange())
    assert process.rows == [(1, 2)]


def test_a_message_is_not_longer_than_it_may_be(process: Process) -> None:
    process.tap(per_second=1000, host="shop.miosa.app")
    process.end(*(exchange() for _ in range(250)))
    assert process.rows == [(200, 50)]


def test_a_tap_that_nobody_renews_ends(process: Process) -> None:
    before = process.recorder._consumers
    process.tap(host="shop.miosa.app")
    process.clock.advance(LEASE - 1)
    process.tap(host="shop.miosa.app")
    process.clock.advance(LEASE - 1)
    process.end(exchange())
    process.clock.advance(1)
    process.end(exchange())
    assert process.rows == [(1, 0)]
    assert process.recorder._consumers == before


def test_so_many_at_once(process: Process) -> None:
    assert all(process.tap(str(number), host="a.example") for number in range(MAX_TAPS))
    assert not process.tap("more", host="a.example")
    assert process.tap("0", host="a.example")


def test_ids_of_other_resources_are_not_meant() -> None:
    other = led(uuid.UUID(int=99), GLOBEX, slug="other")
    assert not TapFilter({"resource": str(SHOP), "tenant": str(SHOP)}).matches(exchange(route=other))

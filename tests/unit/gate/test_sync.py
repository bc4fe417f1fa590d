"""What ties the gate's memory to the store: nothing is lost, nothing waits, and what happens while the store is away."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.domains.certificates import Certificate, CertificateDelta, CertificateStatus, Leaf, Outcome, Source
from router.errors import StoreUnavailableError
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.policy import CLEAR, BudgetState
from router.gate.snapshot import EvidenceSnapshot
from router.gate.sync import CertificateSync
from router.observe.metrics import Metrics
from router.settings import Gate
from tests.support.memory_certificates import MemoryCertificateLog
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Node:
    """One node's gate, on a store that several may share."""

    def __init__(self, log: MemoryCertificateLog, clock: ManualClock, folder: Path | None = None) -> None:
        limits = Gate(unwritten=3)
        self.log = log
        self.clock = clock
        self.metrics = Metrics()
        self.evidence = MemoryEvidence(clock)
        self.budgets = Budgets(limits, clock)
        self.sync = CertificateSync(
            log=log,
            evidence=self.evidence,
            budgets=self.budgets,
            snapshot=None if folder is None else EvidenceSnapshot(folder),
            settings=limits,
            metrics=self.metrics,
            clock=clock,
            poll_interval=0.01,
        )

    async def written(self) -> None:
        await eventually(lambda: self.sync.waiting == 0, "all is written")

    def counted(self, outcome: str) -> int:
        return self.metrics._counts["certificate_writes"].get((outcome,), 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> MemoryCertificateLog:
    return MemoryCertificateLog(clock)


@pytest_asyncio.fixture
async def start(log: MemoryCertificateLog, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Callable[..., Node]]:
    """Makes nodes, and closes them."""
    nodes: list[Node] = []

    def make(folder: str | None = None) -> Node:
        if folder is not None:
            (tmp_path / folder).mkdir(exist_ok=True)
        nodes.append(Node(log, clock, None if folder is None else tmp_path / folder))
        return nodes[-1]

    yield make
    for node in nodes:
        await node.sync.close()


async def test_a_restart_forgets_nothing(start: Callable[..., Node]) -> None:
    """Evidence and attempts, open ones too."""
    first = start()
    assert first.budgets.state("a.org") == BudgetState("not_ready")
    await first.sync.start()
    assert first.budgets.state("a.org") == CLEAR
    for host in ("a.org", "b.org", "c.org"):
        first.budgets.open(host, "acme")
    first.budgets.settle("b.org", Outcome.FAILED)
    first.evidence.note("c.org", tenant_id="acme")
    await first.written()
    second = start()
    await second.sync.start()
    assert second.budgets.state("a.org") == BudgetState("in_flight")
    assert second.budgets.state("b.org").reason == "failure_backoff"
    assert second.evidence.seen("c.org")
    assert second.budgets.in_flight == 1


async def test_two_nodes_hear_of_each_other(start: Callable[..., Node]) -> None:
    """Each one's attempts count for both; a certificate that one has seen ends the other's attempt."""
    one, other = start(), start()
    await one.sync.start()
    await other.sync.start()
    one.budgets.open("a.org", None)
    await eventually(lambda: other.budgets.state("a.org") == BudgetState("in_flight"), "the other knows")
    other.evidence.note("a.org")
    await eventually(lambda: one.evidence.seen("a.org") and not one.budgets.in_flight, "the first knows")
    assert one.budgets.state("a.org") == CLEAR


async def test_a_removed_name_is_forgotten_everywhere(start: Callable[..., Node]) -> None:
    """What the store says of it last counts."""
    node = start()
    await node.sync.start()
    node.evidence.note("a.org")
    await node.written()
    node.clock.advance(1.0)
    node.log.put(Certificate(host="a.org", status=CertificateStatus.REMOVED, seen_at=node.clock.now()))
    await eventually(lambda: not node.evidence.seen("a.org"), "forgotten")
    node.evidence.note("a.org", 0.5)
    assert not node.evidence.seen("a.org")


async def test_what_was_removed_while_a_node_was_away_is_forgotten(start: Callable[..., Node]) -> None:
    """Its copy still has the name, which may be somebody else's by now."""
    first = start("here")
    await first.sync.start()
    first.evidence.note("a.org")
    await first.written()
    await first.sync.close()
    first.clock.advance(1.0)
    first.log.put(Certificate(host="a.org", status=CertificateStatus.REMOVED, seen_at=first.clock.now()))
    second = start("here")
    await second.sync.start()
    assert not second.evidence.seen("a.org")


async def test_a_certificate_that_has_expired_ends_no_attempt(start: Callable[..., Node]) -> None:
    """Neither when a node starts nor when its row changes: or each failure would count as a success."""
    node = start()
    now = node.clock.now()
    leaf = Leaf(issuer="CA", serial="1", not_before=now - timedelta(days=99), not_after=now - timedelta(days=9))
    old = Certificate(
        host="a.org", status=CertificateStatus.FAILED, leaf=leaf, seen_at=leaf.not_before, source=Source.PROBE
    )
    await node.sync.start()
    node.budgets.open("a.org", "acme")
    node.budgets.settle("a.org", Outcome.FAILED)
    node.budgets.open("b.org", "acme")
    node.log.put(old)
    node.log.put(Certificate(host="b.org", status=CertificateStatus.ISSUED, seen_at=now))
    await eventually(lambda: node.evidence.seen("b.org"), "the node has looked")
    assert node.budgets.state("a.org").reason == "failure_backoff"
    await node.written()
    successor = start()
    await successor.sync.start()
    assert successor.budgets.state("a.org").reason == "failure_backoff"
    assert not successor.evidence.seen("a.org")


async def test_attempts_are_swept_while_there_is_much_to_do(start: Callable[..., Node]) -> None:
    """Not only when nothing has happened for a while."""
    node = start()
    node.sync._look = 60.0
    await node.sync.start()
    node.budgets.open("a.org", None)
    await node.written()
    node.clock.advance(200.0)
    node.evidence.note("b.org")
    await eventually(lambda: not node.budgets.in_flight, "the attempt has ended")


async def test_while_the_store_is_away(start: Callable[..., Node]) -> None:
    """The gate goes on from memory; what waits is bounded, and is written when the store is back."""
    node = start()
    await node.sync.start()
    node.evidence.note("old.org")
    await node.written()
    with capture_logs() as logs:
        node.log.down = True
        node.evidence.note("new.org")
        for host in ("a.org", "b.org", "c.org"):
            assert node.budgets.state(host) == CLEAR
            node.budgets.open(host, None)
        assert node.budgets.state("d.org") == BudgetState("not_ready")
        assert node.budgets.state("c.org") == BudgetState("not_ready")
        assert node.evidence.seen("new.org")
        await eventually(lambda: node.counted("error") >= 3, "it is tried again and again")
        assert node.sync.waiting == 4
        node.log.down = False
        await node.written()
        assert node.budgets.state("d.org") == CLEAR
        await eventually(lambda: len(logs) == 2, "both are logged, once")
    assert [line["event"] for line in logs] == ["certificate data not stored", "certificate data stored again"]
    assert node.log.get("new.org") is not None


async def test_a_start_while_the_store_is_away(start: Callable[..., Node]) -> None:
    """The node's own copy says which names have certificates; new ones wait until it is known what was spent."""
    node = start("state")
    await node.sync.start()
    node.evidence.note("a.org")
    await node.written()
    await node.sync.close()
    node.log.down = True
    successor = start("state")
    with capture_logs():
        await successor.sync.start()
    assert successor.evidence.seen("a.org")
    assert successor.budgets.state("new.org") == BudgetState("not_ready")
    successor.log.down = False
    await eventually(lambda: successor.budgets.state("new.org") == CLEAR, "the store has told")


async def test_the_copy_follows(start: Callable[..., Node], tmp_path: Path) -> None:
    """While the node runs, so that one that is killed has it too; removals as well."""
    node = start("state")
    await node.sync.start()
    node.evidence.note("a.org")
    file = EvidenceSnapshot(tmp_path / "state")

    def copied() -> bool:
        evidence, found = MemoryEvidence(node.clock), file.read()
        if found is not None:
            evidence.take(found.key, found.shift, found.segments)
        return evidence.seen("a.org")

    await eventually(copied, "copied")
    node.clock.advance(6.0)
    node.log.put(Certificate(host="a.org", status=CertificateStatus.REMOVED, seen_at=node.clock.now()))
    await eventually(lambda: not copied(), "copied anew")


async def test_attempts_end_by_themselves(start: Callable[..., Node]) -> None:
    """Nobody has to ask again."""
    node = start()
    await node.sync.start()
    node.budgets.open("a.org", None)
    await node.written()
    node.clock.advance(201.0)
    await eventually(lambda: node.budgets.in_flight == 0, "ended")
    await node.written()
    changes = await node.log.changes_since(None, 0.0, 10)
    assert [(one.host, one.outcome) for one in changes.attempts] == [("a.org", Outcome.EXPIRED)]


async def test_more_names_than_one_part_has(start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and afterwards; each is known, and nothing is said to be missing."""
    monkeypatch.setattr("router.gate.sync.PART", 7)
    first = start()
    for number in range(50):
        first.log.put(Certificate(host=f"x{number}.org", status=CertificateStatus.ISSUED, seen_at=first.clock.now()))
    await first.sync.start()
    assert first.evidence.complete
    assert all(first.evidence.seen(f"x{number}.org") for number in range(50))
    for number in range(50, 80):
        first.log.put(Certificate(host=f"x{number}.org", status=CertificateStatus.ISSUED, seen_at=first.clock.now()))
    await eventually(lambda: all(first.evidence.seen(f"x{number}.org") for number in range(80)), "all are known")


async def test_a_start_that_breaks_off_goes_on_where_it_was(
    start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with a million names has to tell them once, however often it is away meanwhile."""
    monkeypatch.setattr("router.gate.sync.PART", 10)
    node = start()
    for number in range(30):
        node.log.put(Certificate(host=f"x{number:02}.org", status=CertificateStatus.ISSUED, seen_at=node.clock.now()))
    parts: list[tuple[float, str] | None] = []
    changes = node.log.changes_since

    async def breaking(*given: Any) -> CertificateDelta:
        parts.append(given[-1])
        if len(parts) == 2:
            raise StoreUnavailableError("away")
        return await changes(*given)

    monkeypatch.setattr(node.log, "changes_since", breaking)
    with capture_logs():
        await node.sync.start()
        assert not node.evidence.complete
        assert node.budgets.state("a.org") == CLEAR
        await eventually(lambda: node.evidence.complete, "all is read")
    assert [part[1] if part is not None else None for part in parts[:4]] == [None, "x09.org", "x09.org", "x19.org"]
    assert node.evidence.seen("x00.org")
    assert node.evidence.seen("x29.org")


@pytest.mark.parametrize(("hours", "copied"), [(0.5, True), (2.0, False)])
async def test_an_old_copy_is_not_all_there_is(start: Callable[..., Node], hours: float, copied: bool) -> None:
    """While the store is away: names that it does not have may have got certificates since."""
    first = start("state")
    await first.sync.start()
    first.evidence.note("a.org")
    await first.written()
    await first.sync.close()
    first.clock.advance(hours * 3600.0)
    first.log.down = True
    second = start("state")
    with capture_logs():
        await second.sync.start()
    assert second.evidence.seen("a.org")
    assert second.evidence.copied == copied
    assert not second.evidence.complete


@pytest.mark.parametrize("away", [False, True], ids=["being read", "away for hours"])
async def test_a_copy_of_what_was_known_by_then_is_not_all_there_is(
    start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, *, away: bool
) -> None:
    """Written while the store was still telling what it knows, or could not: what is missing may have a certificate."""
    monkeypatch.setattr("router.gate.sync.PART", 10)
    first = start("state")
    for number in range(30):
        first.log.put(Certificate(host=f"x{number:02}.org", status=CertificateStatus.ISSUED, seen_at=first.clock.now()))
    changes, parts = first.log.changes_since, 0

    async def breaking(*given: Any) -> CertificateDelta:
        nonlocal parts
        parts += 1
        if parts > 1 and not away:
            raise StoreUnavailableError("away")
        return await changes(*given)

    monkeypatch.setattr(first.log, "changes_since", breaking)
    with capture_logs():
        await first.sync.start()
        first.log.down = True
        if away:
            first.clock.advance(2 * 3600.0)
        first.evidence.note("a.org")
        await first.sync.close()
        second = start("state")
        await second.sync.start()
    assert second.evidence.seen("x00.org")
    assert second.evidence.seen("a.org")
    assert second.evidence.seen("x29.org") == away
    assert not second.evidence.copied


async def test_a_copy_does_not_hide_what_the_store_has_to_tell(
    start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was down for minutes reads what others wrote meanwhile, and asks until then."""
    monkeypatch.setattr("router.gate.sync.PART", 10)
    first = start("state")
    await first.sync.start()
    first.evidence.note("a.org")
    await first.written()
    await first.sync.close()
    for number in range(30):
        first.log.put(Certificate(host=f"x{number:02}.org", status=CertificateStatus.ISSUED, seen_at=first.clock.now()))
    changes, parts = first.log.changes_since, 0

    async def breaking(*given: Any) -> CertificateDelta:
        nonlocal parts
        parts += 1
        if parts == 2:
            raise StoreUnavailableError("away")
        return await changes(*given)

    monkeypatch.setattr(first.log, "changes_since", breaking)
    second = start("state")
    with capture_logs():
        await second.sync.start()
        assert (second.evidence.copied, second.evidence.complete) == (True, False)
        await eventually(lambda: second.evidence.complete, "all is read")


async def test_what_was_read_is_kept(start: Callable[..., Node]) -> None:
    """And is known to other nodes, with its end."""
    node, other = start(), start()
    await node.sync.start()
    await other.sync.start()
    now = node.clock.now()
    leaf = Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=6))
    node.evidence.note("a.org")
    node.evidence.read("a.org", leaf)
    node.sync.read("a.org", leaf, "acme")
    await eventually(lambda: other.evidence.is_read("a.org"), "the other knows")
    assert other.evidence.until("a.org") == leaf.not_after.timestamp()


async def test_visits_that_are_too_many_are_told_of_again(
    start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away they wait in bounded room, and none is taken for written that was not."""
    monkeypatch.setattr("router.gate.sync._MAX_WAITING", 2)
    node = start()
    await node.sync.start()
    node.log.down = True
    with capture_logs():
        for host in ("a.org", "b.org", "c.org"):
            node.evidence.note(host)
        assert node.evidence.seen("c.org")
        assert node.sync.waiting == 2
        node.log.down = False
        await node.written()
    node.clock.advance(11.0)
    node.evidence.note("c.org")
    await node.written()
    assert node.log.get("c.org") is not None


async def test_a_start_with_a_clock_that_is_ahead(start: Callable[..., Node], clock: ManualClock) -> None:
    """A hundred days ahead every certificate looks expired. Without the store the copy counts all the same; when the clock
    is put right all is read again, and known."""
    first = start("one")
    await first.sync.start()
    first.evidence.note("a.org", tenant_id="acme")
    await first.written()
    await first.sync.close()
    clock.set_ahead(100 * 86400)
    bare = start()
    await bare.sync.start()
    assert not bare.evidence.seen("a.org")
    clock.set_ahead(-100 * 86400)
    await eventually(lambda: bare.evidence.seen("a.org"), "it is read again")
    clock.set_ahead(100 * 86400)
    first.log.down = True
    second = start("one")
    await second.sync.start()
    assert second.evidence.seen("a.org")


async def test_one_tenant_does_not_fill_what_waits_for_the_store(start: Callable[..., Node]) -> None:
    """While it is away: others still get certificates, until all room is taken."""
    node = start()
    node.budgets._settings = node.sync._settings = Gate(unwritten=12)
    await node.sync.start()
    node.log.down = True
    with capture_logs():
        got = {}
        for tenant in ("a", "b", "c"):
            got[tenant] = 0
            while node.budgets.state(f"x{got[tenant]}.{tenant}.org", tenant) == CLEAR:
                node.budgets.open(f"x{got[tenant]}.{tenant}.org", tenant)
                got[tenant] += 1
        assert got == {"a": 6, "b": 3, "c": 2}
        node.log.down = False
        await node.written()
    assert node.budgets.state("y.a.org", "a") != BudgetState("not_ready")

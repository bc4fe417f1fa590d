"""What ties the gate's memory to the store: nothing is lost, nothing waits, and what happens while the store is away."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.clock import ManualClock
from router.domains.certificates import Certificate, CertificateStatus, Leaf, Outcome, Source
from router.gate.budgets import Budgets
from router.gate.copy import EvidenceCopy
from router.gate.evidence import MemoryEvidence
from router.gate.ledger import Ledger
from router.gate.memory import MemoryCertificateLog
from router.gate.policy import CLEAR, Standing
from router.observe.metrics import Metrics
from router.settings import Gate
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
        self.ledger = Ledger(
            log=log,
            evidence=self.evidence,
            budgets=self.budgets,
            copy=None if folder is None else EvidenceCopy(folder, most=10),
            limits=limits,
            metrics=self.metrics,
            clock=clock,
            look=0.01,
        )

    async def written(self) -> None:
        await eventually(lambda: self.ledger.waiting == 0, "all is written")

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
        await node.ledger.close()


async def test_a_restart_forgets_nothing(start: Callable[..., Node]) -> None:
    """Evidence and attempts, open ones too."""
    first = start()
    assert first.budgets.standing("a.org") == Standing("not_ready")
    await first.ledger.start()
    assert first.budgets.standing("a.org") == CLEAR
    for host in ("a.org", "b.org", "c.org"):
        first.budgets.open(host, "acme")
    first.budgets.settle("b.org", Outcome.FAILED)
    first.evidence.note("c.org", tenant_id="acme")
    await first.written()
    second = start()
    await second.ledger.start()
    assert second.budgets.standing("a.org") == Standing("in_flight")
    assert second.budgets.standing("b.org").reason == "failure_backoff"
    assert second.evidence.seen("c.org")
    assert second.budgets.in_flight == 1


async def test_two_nodes_hear_of_each_other(start: Callable[..., Node]) -> None:
    """Each one's attempts count for both; a certificate that one has seen ends the other's attempt."""
    one, other = start(), start()
    await one.ledger.start()
    await other.ledger.start()
    one.budgets.open("a.org", None)
    await eventually(lambda: other.budgets.standing("a.org") == Standing("in_flight"), "the other knows")
    other.evidence.note("a.org")
    await eventually(lambda: one.evidence.seen("a.org") and not one.budgets.in_flight, "the first knows")
    assert one.budgets.standing("a.org") == CLEAR


async def test_a_removed_name_is_forgotten_everywhere(start: Callable[..., Node]) -> None:
    """What the store says of it last counts."""
    node = start()
    await node.ledger.start()
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
    await first.ledger.start()
    first.evidence.note("a.org")
    await first.written()
    await first.ledger.close()
    first.clock.advance(1.0)
    first.log.put(Certificate(host="a.org", status=CertificateStatus.REMOVED, seen_at=first.clock.now()))
    second = start("here")
    await second.ledger.start()
    assert not second.evidence.seen("a.org")


async def test_a_certificate_that_has_expired_ends_no_attempt(start: Callable[..., Node]) -> None:
    """Neither when a node starts nor when its row changes: or each failure would count as a success."""
    node = start()
    now = node.clock.now()
    leaf = Leaf(issuer="CA", serial="1", not_before=now - timedelta(days=99), not_after=now - timedelta(days=9))
    old = Certificate(
        host="a.org", status=CertificateStatus.FAILED, leaf=leaf, seen_at=leaf.not_before, source=Source.PROBE
    )
    await node.ledger.start()
    node.budgets.open("a.org", "acme")
    node.budgets.settle("a.org", Outcome.FAILED)
    node.budgets.open("b.org", "acme")
    node.log.put(old)
    node.log.put(Certificate(host="b.org", status=CertificateStatus.ISSUED, seen_at=now))
    await eventually(lambda: node.evidence.seen("b.org"), "the node has looked")
    assert node.budgets.standing("a.org").reason == "failure_backoff"
    await node.written()
    successor = start()
    await successor.ledger.start()
    assert successor.budgets.standing("a.org").reason == "failure_backoff"
    assert not successor.evidence.seen("a.org")


async def test_attempts_are_swept_while_there_is_much_to_do(start: Callable[..., Node]) -> None:
    """Not only when nothing has happened for a while."""
    node = start()
    node.ledger._look = 60.0
    await node.ledger.start()
    node.budgets.open("a.org", None)
    await node.written()
    node.clock.advance(200.0)
    node.evidence.note("b.org")
    await eventually(lambda: not node.budgets.in_flight, "the attempt has ended")


async def test_while_the_store_is_away(start: Callable[..., Node]) -> None:
    """The gate goes on from memory; what waits is bounded, and is written when the store is back."""
    node = start()
    await node.ledger.start()
    node.evidence.note("old.org")
    await node.written()
    with capture_logs() as logs:
        node.log.down = True
        node.evidence.note("new.org")
        for host in ("a.org", "b.org", "c.org"):
            assert node.budgets.standing(host) == CLEAR
            node.budgets.open(host, None)
        assert node.budgets.standing("d.org") == Standing("not_ready")
        assert node.budgets.standing("c.org") == Standing("not_ready")
        assert node.evidence.seen("new.org")
        await eventually(lambda: node.counted("error") >= 3, "it is tried again and again")
        assert node.ledger.waiting == 4
        node.log.down = False
        await node.written()
        assert node.budgets.standing("d.org") == CLEAR
        await eventually(lambda: len(logs) == 2, "both are logged, once")
    assert [line["event"] for line in logs] == ["certificates can't be kept", "certificates are kept again"]
    assert node.log.get("new.org") is not None


async def test_a_start_while_the_store_is_away(start: Callable[..., Node]) -> None:
    """The node's own copy says which names have certificates; new ones wait until it is known what was spent."""
    node = start("state")
    await node.ledger.start()
    node.evidence.note("a.org")
    await node.written()
    await node.ledger.close()
    node.log.down = True
    successor = start("state")
    with capture_logs():
        await successor.ledger.start()
    assert successor.evidence.seen("a.org")
    assert successor.budgets.standing("new.org") == Standing("not_ready")
    successor.log.down = False
    await eventually(lambda: successor.budgets.standing("new.org") == CLEAR, "the store has told")


async def test_the_copy_follows(start: Callable[..., Node], tmp_path: Path) -> None:
    """While the node runs, so that one that is killed has it too; removals as well."""
    node = start("state")
    await node.ledger.start()
    node.evidence.note("a.org")
    file = EvidenceCopy(tmp_path / "state", most=10)
    await eventually(lambda: "a.org" in file.read(), "copied")
    node.clock.advance(6.0)
    node.log.put(Certificate(host="a.org", status=CertificateStatus.REMOVED, seen_at=node.clock.now()))
    await eventually(lambda: file.read() == {}, "copied anew")


async def test_attempts_end_by_themselves(start: Callable[..., Node]) -> None:
    """Nobody has to ask again."""
    node = start()
    await node.ledger.start()
    node.budgets.open("a.org", None)
    await node.written()
    node.clock.advance(201.0)
    await eventually(lambda: node.budgets.in_flight == 0, "ended")
    await node.written()
    news = await node.log.news(None, 0.0, 10)
    assert [(one.host, one.outcome) for one in news.attempts] == [("a.org", Outcome.EXPIRED)]

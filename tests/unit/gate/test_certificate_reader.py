"""Certificates as Caddy shows them: what is looked at, and what is made of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.domains.certificates import Leaf, Outcome
from router.gate.budgets import Budgets
from router.gate.certificate_reader import CertificateReader
from router.gate.evidence import MemoryEvidence
from router.gate.handshake import NoCertificateError, Shown, UnreachableError
from router.gate.policy import CLEAR, BudgetState
from router.settings import Gate
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

DAY = 86400.0
HOST = "shop.example.org"


class Node:
    """CertificateReader with a Caddy that says what a test wants: `go` lets those who wait for an attempt have it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.evidence = MemoryEvidence(self.clock)
        self.budgets = Budgets(Gate(), self.clock)
        self.budgets.ready()
        self.said: Shown | Exception = Shown(self.leaf(), own=True)
        self.looked: list[str] = []
        self.kept: list[tuple[str, Leaf, str | None]] = []
        self.held: set[str] = set()
        self.go = asyncio.Event()
        self.readings = CertificateReader(
            attempts=_Attempts(self),
            visits=self,
            evidence=self.evidence,
            budgets=self.budgets,
            keep=lambda *given: self.kept.append(given),
            held=self.held.__contains__,
            at_once=5,
            clock=self.clock,
            tick=0.001,
            behind=0.0,
        )
        self.readings.start()

    def leaf(self, days: float = 90.0) -> Leaf:
        now = self.clock.now()
        return Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=days))

    async def shown(self, host: str) -> Shown:
        self.looked.append(host)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def looked_at(self, times: int) -> None:
        await eventually(lambda: len(self.looked) == times and self.readings.at_rest, f"looked at {times} times")


class _Attempts:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def shown(self, host: str) -> Shown:
        await self._node.go.wait()
        return await self._node.shown(host)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    await made.readings.close()


async def test_an_attempt_ends_when_the_certificate_is_there(node: Node) -> None:
    """Though nobody ever sends a request: whoever only shakes hands holds no place."""
    node.budgets.open(HOST, "acme")
    assert node.budgets.state(HOST) == BudgetState("in_flight")
    node.go.set()
    await eventually(lambda: not node.budgets.in_flight, "it has ended")
    assert node.kept == [(HOST, node.leaf(), "acme")]
    assert node.evidence.until(HOST) == node.leaf().not_after.timestamp()


async def test_an_attempt_ends_when_caddy_has_given_up(node: Node) -> None:
    """It counts as failed, and costs its domain nothing."""
    node.said = NoCertificateError("alert")
    node.budgets.open(HOST, "acme")
    node.go.set()
    await eventually(lambda: not node.budgets.in_flight, "it has ended")
    assert node.budgets.state(HOST) == BudgetState("failure_backoff", 60.0)
    assert node.budgets.spent("example.org") == 0
    assert not node.evidence.seen(HOST)


async def test_where_caddy_can_not_be_reached_nothing_is_known(node: Node) -> None:
    """The attempt stays as open as it was, and it is said once."""
    node.said = UnreachableError("refused")
    with capture_logs() as logs:
        node.budgets.open(HOST, "acme")
        node.budgets.open("b.org", "acme")
        node.go.set()
        await eventually(lambda: len(node.looked) == 2, "looked")
    assert node.budgets.in_flight == 2
    assert [line["event"] for line in logs] == ["Caddy not reachable: certificates not read"]


async def test_a_visit_is_evidence_for_as_long_as_its_certificate_lives(node: Node) -> None:
    """Not for ninety days: it is read."""
    node.said = Shown(node.leaf(6), own=True)
    node.evidence.note(HOST, tenant_id="acme")
    assert node.evidence.until(HOST) == node.clock.now().timestamp() + 90 * DAY
    await node.looked_at(1)
    assert node.evidence.until(HOST) == node.leaf(6).not_after.timestamp()
    assert node.kept == [(HOST, node.leaf(6), "acme")]
    node.clock.advance(7 * DAY)
    assert not node.evidence.seen(HOST)


async def test_one_that_is_due_is_looked_at_until_it_is_renewed(node: Node) -> None:
    """Meanwhile its own end counts, and a visit for as long as it lived: it may have met the next one."""
    old = node.leaf(6)
    node.said = Shown(old, own=True)
    node.clock.advance(5 * DAY)
    node.evidence.note(HOST)
    await node.looked_at(1)
    assert node.evidence.until(HOST) == old.not_after.timestamp()
    for times, wait in enumerate((600.0, 1200.0, 2400.0), 2):
        node.clock.advance(wait)
        await node.looked_at(times)
    assert node.evidence.until(HOST) == old.not_after.timestamp()
    assert node.kept == [(HOST, old, None)] * 4
    node.evidence.note(HOST)
    assert node.evidence.until(HOST) == node.clock.now().timestamp() + 6 * DAY
    new = node.leaf(6)
    node.said = Shown(new, own=True)
    node.clock.advance(4800.0)
    await node.looked_at(5)
    assert node.evidence.until(HOST) == new.not_after.timestamp()


async def test_a_name_that_may_be_renewed_is_read_again(node: Node) -> None:
    """Ten minutes after the gate has said so, once."""
    node.evidence.read(HOST, node.leaf(6))
    for _ in range(3):
        node.readings.issued(HOST)
    node.said = Shown(node.leaf(12), own=True)
    node.clock.advance(599.0)
    node.evidence.note("b.org")  # its turn comes after every name that is due
    await node.looked_at(1)
    assert node.looked == ["b.org"]
    node.clock.advance(1.0)
    await node.looked_at(2)
    assert node.evidence.until(HOST) == node.leaf(12).not_after.timestamp() - 600.0


async def test_a_name_under_a_wildcard_has_no_certificate_of_its_own(node: Node) -> None:
    """The first visit finds that out for all beside it; they are reached by https all the same."""
    node.said = Shown(node.leaf(), own=False)
    node.evidence.note("a.miosa.app")
    await node.looked_at(1)
    node.clock.advance(60.0)
    node.evidence.note("a.miosa.app")
    node.evidence.note("b.miosa.app")
    node.evidence.note("b.org")  # its turn comes after theirs
    await node.looked_at(2)
    assert (node.evidence.seen("a.miosa.app"), node.evidence.seen("b.miosa.app")) == (False, False)
    assert node.evidence.served("b.miosa.app")
    assert node.looked == ["a.miosa.app", "b.org"]
    assert node.kept[0][0] == "*.miosa.app"


async def test_a_handshake_that_fails_takes_no_evidence(node: Node) -> None:
    """A fault of ours may be why, and a certificate that is live be thrown away for it."""
    node.said = NoCertificateError("alert")
    node.evidence.note(HOST)
    await node.looked_at(1)
    assert node.evidence.seen(HOST)
    assert node.budgets.state("new.org") == CLEAR


async def test_another_caddy_gets_no_certificates_by_being_looked_at(node: Node) -> None:
    """It asks about names whose visitors have just met one, which it would get anew: after three of them looks rest."""
    shown = node.shown

    async def asking(host: str) -> Shown:
        node.readings.issued(host)
        return await shown(host)

    node.readings._visits.shown = asking  # type: ignore[method-assign]
    with capture_logs() as logs:
        for number in range(20):
            node.evidence.note(f"x{number}.org")
        await eventually(lambda: not node.readings._due, "all are seen to")
        node.evidence.note("late.org")
        node.readings.issued("late.org")
        assert not node.readings._due
    assert 3 <= len(node.looked) <= 8  # those that were under way
    assert [line["event"] for line in logs] == ["Caddy does not have the certificates that visitors get"]
    node.clock.advance(3600.0)
    node.evidence.note("later.org")
    await eventually(lambda: node.looked[-1] == "later.org", "it looks again")


@pytest.mark.parametrize("outcome", [Outcome.ISSUED, Outcome.FAILED])
async def test_what_ended_meanwhile_stays_ended(node: Node, outcome: Outcome) -> None:
    """By a visit, or by another's word: the certificate that is seen later was issued."""
    node.budgets.open(HOST, "acme")
    node.budgets.settle(HOST, outcome)
    node.go.set()
    await eventually(lambda: bool(node.kept), "read")
    assert node.budgets.state(HOST) == CLEAR

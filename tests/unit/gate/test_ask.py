"""The question as Caddy asks it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.gate.ask import Ask
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.handover import FRESH, ONCE, HandOver
from router.gate.held_table import HeldTable
from router.gate.policy import CLEAR, Verdict
from router.observe.metrics import Metrics
from router.routes.chain import Decision, Level
from router.routes.records import DomainStatus
from router.routes.resolver import Resolver
from router.settings import Cache, Gate
from tests.support.held import HeldRecords
from tests.support.held_table import BOX, a_row
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, claim, name, resource, zone

pytestmark = pytest.mark.asyncio

SHOP = resource("shop")


class Asked:
    """An Ask with all that it needs at hand."""

    def __init__(self, records: MemoryRecords, **bounds: Any) -> None:
        self.clock = ManualClock()
        self.records = records
        self.records.put(SHOP, name("suspended.org", SHOP, suspended=True))
        self.resolver = Resolver(
            self.records, platform_domain=PLATFORM, reserved_ports=frozenset(), limits=Cache(), clock=self.clock
        )
        self.evidence = MemoryEvidence(self.clock)
        self.table = HeldTable(BOX, self.clock)
        self.handover = HandOver(self.table, self.clock)
        self.evidence.on_held(self.handover.covers)
        self.metrics = Metrics()
        self.budgets = Budgets(Gate(), self.clock)
        self.budgets.ready()
        self.pending: list[str] = []
        self.ask = Ask(
            routes=self.resolver,
            evidence=self.evidence,
            budgets=self.budgets,
            metrics=self.metrics,
            clock=self.clock,
            handover=self.handover,
            on_pending=self.pending.append,
            **bounds,
        )

    def counted(self, reason: str) -> float:
        """How often the gate has answered for this reason."""
        return self.metrics._counts["asks"].get((reason,), 0)


@pytest_asyncio.fixture
async def gate() -> AsyncIterator[Asked]:
    made = Asked(MemoryRecords(), names=3)
    yield made
    await made.resolver.close()


async def test_a_name_of_ours_gets_its_first_certificate(gate: Asked) -> None:
    """Looked up once, and from memory the second time; and charged once, for Caddy asks several times."""
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(200, "first_issue")
    assert await gate.ask.answer(["Shop.Miosa.App"]) == Verdict(200, "in_flight")
    assert gate.records.fetches == 1
    assert (gate.counted("first_issue"), gate.counted("in_flight"), len(gate.budgets)) == (1, 1, 1)


async def test_what_is_known_is_answered_at_once(gate: Asked) -> None:
    """Without a turn of the loop; what is not known says so."""
    assert gate.ask.at_once(["shop.miosa.app"]) is None
    assert gate.counted("first_issue") == 0
    await gate.ask.answer(["shop.miosa.app"])
    assert gate.ask.at_once(["shop.miosa.app"]) == Verdict(200, "in_flight")
    assert gate.ask.at_once(["10.0.0.1"]) == Verdict(400, "ip_address")
    assert gate.ask.at_once(["a.org", "b.org"]) == Verdict(400, "invalid_name")


async def test_spent_budgets_refuse_with_a_time(gate: Asked) -> None:
    """Only who has no certificate: the others are not even looked at."""
    for _ in range(10):
        gate.budgets.open(f"x{_}.miosa.app", SHOP.tenant_id)
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(429, "budget_account", 30)
    gate.evidence.note("shop.miosa.app")
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(200, "issued")
    assert len(gate.budgets) == 10


async def test_before_the_store_has_told_nothing_is_begun() -> None:
    """What was spent is not known yet: new names wait, known ones don't."""
    gate = Asked(MemoryRecords())
    gate.ask._budgets = Budgets(Gate(), gate.clock)
    gate.evidence.note("known.org")
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(503, "not_ready")
    gate.records.put(name("known.org", SHOP))
    assert await gate.ask.answer(["known.org"]) == Verdict(200, "issued")
    await gate.resolver.close()


async def test_a_question_about_a_pending_name_is_passed_on(gate: Asked) -> None:
    """Somebody waits for it: its check need not wait for its turn. Nobody else's name is."""
    gate.records.put(name("pending.org", SHOP, status=DomainStatus.PENDING))
    for host in ("pending.org", "else.example", "shop.miosa.app", "suspended.org"):
        await gate.ask.answer([host])
    assert gate.pending == ["pending.org"]


async def test_a_removed_name_is_refused_whatever_there_was(gate: Asked) -> None:
    """Only names that are served leave evidence: one that is not known any more was taken away."""
    gate.records.put(name("shop.org", SHOP))
    gate.evidence.note("shop.org")
    assert await gate.ask.answer(["shop.org"]) == Verdict(200, "issued")
    gate.resolver.drop(gate.records.remove("name:shop.org"))
    assert await gate.ask.answer(["shop.org"]) == Verdict(403, "removed")


async def test_a_name_with_evidence_is_issued(gate: Asked) -> None:
    """Verified or not any more."""
    gate.records.put(name("moved.example", SHOP, status=DomainStatus.FAILED))
    gate.evidence.note("shop.miosa.app")
    gate.evidence.note("moved.example")
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(200, "issued")
    assert await gate.ask.answer(["moved.example"]) == Verdict(200, "issued")


async def test_evidence_holds_while_the_store_is_down(gate: Asked) -> None:
    """A working site outlives our trouble; a name without evidence has to wait."""
    gate.records.down = True
    gate.evidence.note("shop.miosa.app")
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(200, "issued")
    assert await gate.ask.answer(["new.miosa.app"]) == Verdict(503, "not_ready")
    assert gate.counted("not_ready") == 1


async def test_suspension_outweighs_evidence(gate: Asked) -> None:
    """Also the remembered one, while the store is down."""
    gate.evidence.note("suspended.org")
    assert await gate.ask.answer(["suspended.org"]) == Verdict(403, "suspended")
    gate.records.down = True
    gate.clock.advance(61.0)
    assert await gate.ask.answer(["suspended.org"]) == Verdict(403, "suspended")


@pytest.mark.parametrize(
    ("domains", "answer"),
    [
        ([], (400, "missing_domain")),
        ([""], (400, "missing_domain")),
        (["shop.miosa.app", "shop.miosa.app"], (400, "invalid_name")),
        (["10.0.0.1"], (400, "ip_address")),
        (["no spaces.org"], (400, "invalid_name")),
    ],
)
async def test_what_is_no_question_asks_nobody(gate: Asked, domains: list[str], answer: tuple[int, str]) -> None:
    """Refused by its form alone, evidence or not."""
    for domain in domains:
        gate.evidence.note(domain)
    assert await gate.ask.answer(domains) == Verdict(*answer)
    assert gate.records.fetches == 0
    assert gate.counted(answer[1]) == 1


async def test_a_refusal_is_logged_once_a_minute_per_name(gate: Asked) -> None:
    """Nobody else says why a name has no certificate, and scanners ask without end."""
    with capture_logs() as logs:
        for _ in range(3):
            await gate.ask.answer(["absent.miosa.app"])
            await gate.ask.answer(["else.example"])
            gate.clock.advance(20.0)
        assert [(line["name"], line["reason"], line["status"]) for line in logs] == [
            ("absent.miosa.app", "no_such_resource", 404),
            ("else.example", "unknown_host", 404),
        ]
        await gate.ask.answer(["absent.miosa.app"])
        await gate.ask.answer(["shop.miosa.app"])
    assert len(logs) == 3


async def test_refusals_fill_neither_memory_nor_log(gate: Asked) -> None:
    """So many names a minute are logged, and no more are remembered."""
    with capture_logs() as logs:
        for number in range(10):
            await gate.ask.answer([f"x{number}.example"])
        assert len(logs) == 3
        gate.clock.advance(60.0)
        await gate.ask.answer(["y" * 100_000])
    assert len(logs) == 4
    assert len(logs[3]["name"]) == 253
    assert len(gate.ask._refused._logged) == 1


async def test_an_answer_does_not_wait_for_ever() -> None:
    """Caddy gives up after ten seconds: it gets an answer before."""
    records = HeldRecords()
    gate = Asked(records, deadline=0.01)
    gate.evidence.note("known.org")
    assert await gate.ask.answer(["known.org"]) == Verdict(200, "issued")
    assert await gate.ask.answer(["new.org"]) == Verdict(503, "not_ready")
    await gate.resolver.close()


async def test_an_opinion_looks_up_and_opens_nothing(gate: Asked) -> None:
    """For whoever would fetch a certificate ahead; a source that does not answer is no opinion."""
    assert await gate.ask.opinion("shop.miosa.app") == Verdict(200, "first_issue")
    assert await gate.ask.opinion("absent.miosa.app") == Verdict(404, "no_such_resource")
    assert (len(gate.budgets), gate.counted("first_issue")) == (0, 0)
    held = Asked(HeldRecords(), deadline=0.01)
    assert await held.ask.opinion("shop.miosa.app") == Verdict(503, "not_ready")
    await held.resolver.close()


async def test_the_opinion_for_explain_counts_nothing(gate: Asked) -> None:
    """The same table, without the question."""
    served = Decision(Level.PLATFORM, "served", resource=SHOP, port=3000)
    assert gate.ask.judge("shop.miosa.app", served) == Verdict(200, "first_issue")
    gate.evidence.note("shop.miosa.app")
    assert gate.ask.judge("shop.miosa.app", served) == Verdict(200, "issued")
    assert gate.ask.judge("[::1]", Decision(Level.NONE, "unknown_host")) == Verdict(400, "ip_address")
    assert gate.counted("first_issue") == 0


async def test_a_scanners_night() -> None:
    """Twenty thousand names under a verified zone: not one certificate, no budget touched, nothing grows."""
    gate = Asked(MemoryRecords())
    gate.records.put(zone("previews.example", claim("tenant", "acme")))
    with capture_logs() as logs:
        for number in range(20_000):
            host = f"{number:x}.previews.example" if number % 2 else f"www.{number:x}.sandbox.previews.example"
            assert not (await gate.ask.answer([host])).allowed
    assert (len(gate.budgets), len(gate.evidence), gate.budgets.in_flight) == (0, 0, 0)
    assert (gate.counted("first_issue"), len(logs)) == (0, 1024)
    assert len(gate.resolver) <= Cache().unknown_hosts
    assert gate.budgets.state("shop.previews.example") == CLEAR
    await gate.resolver.close()


class Stored:
    """The store's certificates, for names of which this process has not heard yet."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.hosts: set[str] = set()
        self.wrong: Exception | None = None
        self.asked: list[str] = []

    async def live(self, hosts: Sequence[str]) -> Mapping[str, datetime]:
        self.asked += hosts
        if self.wrong is not None:
            raise self.wrong
        return {host: self._clock.now() + timedelta(days=1) for host in hosts if host in self.hosts}


@pytest.mark.parametrize("warm", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"shop.miosa.app"}, "issued"),
        (set(), "budget_account"),
        (StoreUnavailableError("away"), "issued"),
        (TimeoutError(), "issued"),
    ],
    ids=["stored", "not stored", "away", "slow"],
)
async def test_evidence_that_is_not_here_yet_is_looked_up(
    stored: set[str] | Exception, said: str, *, warm: bool
) -> None:
    """While the store still tells what it knows. Where that can't be asked, a name that is served is allowed."""
    gate = Asked(MemoryRecords())
    certificates = gate.ask._certificates = Stored(gate.clock)
    if isinstance(stored, Exception):
        certificates.wrong = stored
    else:
        certificates.hosts = stored
    for number in range(10):
        gate.budgets.open(f"x{number}.miosa.app", SHOP.tenant_id)
    if warm:
        assert (await gate.ask.answer(["shop.miosa.app"])).reason == "budget_account"
        assert certificates.asked == []
    gate.evidence.complete = False
    assert gate.ask.at_once(["shop.miosa.app"]) is None
    with capture_logs():
        assert (await gate.ask.answer(["shop.miosa.app"])).reason == said
        assert (await gate.ask.opinion("shop.miosa.app")).reason == said
    gate.evidence.complete = True
    if certificates.wrong is None:
        assert (await gate.ask.answer(["shop.miosa.app"])).reason == said
    await gate.resolver.close()


@pytest.mark.parametrize("wrong", [StoreUnavailableError("away"), TimeoutError()], ids=["away", "slow"])
async def test_a_fresh_copy_stands_for_a_store_that_is_away(wrong: Exception) -> None:
    """What it doesn't have got no certificate, as far as can be known; while the store can be asked, it is."""
    gate = Asked(MemoryRecords())
    certificates = gate.ask._certificates = Stored(gate.clock)
    for number in range(10):
        gate.budgets.open(f"x{number}.miosa.app", SHOP.tenant_id)
    gate.evidence.complete, gate.evidence.copied = False, True
    certificates.wrong = wrong
    assert (await gate.ask.answer(["shop.miosa.app"])).reason == "budget_account"
    certificates.wrong, certificates.hosts = None, {"shop.miosa.app"}
    assert (await gate.ask.answer(["shop.miosa.app"])).reason == "issued"
    await gate.resolver.close()


@pytest.mark.parametrize("host", ["nobody.org", "suspended.org", "pending.org", "1-shop.sandbox.miosa.app"])
async def test_names_that_are_not_served_are_refused_without_looking(host: str) -> None:
    """Whatever evidence there might be: it would change nothing."""
    gate = Asked(MemoryRecords())
    certificates = gate.ask._certificates = Stored(gate.clock)
    certificates.wrong = StoreUnavailableError("away")
    gate.records.put(name("pending.org", SHOP, status=DomainStatus.PENDING))
    gate.evidence.complete = False
    assert not (await gate.ask.answer([host])).allowed
    assert certificates.asked == []
    await gate.resolver.close()


HERE, THERE = "loopback", "10.0.0.7"


def hold(gate: Asked) -> None:
    """The platform's own wildcards."""
    gate.table.put(a_row("miosa.app", gate.clock.now()))


async def test_a_caddy_that_does_not_fetch_gets_certificates_as_before(gate: Asked) -> None:
    """It may not know of `/certificate`: what the router holds changes nothing for it, whatever another one does."""
    hold(gate)
    gate.handover.fetch("shop.miosa.app", THERE)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "first_issue")
    gate.evidence.read("shop.miosa.app", a_row("miosa.app", gate.clock.now()).leaf)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "issued")
    assert await gate.ask.answer(["shop.miosa.app"], THERE) == Verdict(403, "held_certificate")


async def test_a_renewal_is_refused_where_what_is_held_is_taken(gate: Asked) -> None:
    """No attempt, no budget. One that asks again has not taken what is held: it may renew, and is refused no more for a while."""
    hold(gate)
    gate.handover.fetch("other.miosa.app", HERE)
    gate.evidence.read("shop.miosa.app", a_row("miosa.app", gate.clock.now()).leaf)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(403, "held_certificate")
    assert (len(gate.budgets), gate.counted("held_certificate")) == (0, 1)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "issued")
    gate.clock.advance(ONCE - 10)
    gate.evidence.read("shop.miosa.app", a_row("miosa.app", gate.clock.now()).leaf)
    gate.handover.fetch("other.miosa.app", HERE)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "issued")
    gate.evidence.read("shop.miosa.app", a_row("miosa.app", gate.clock.now()).leaf)
    gate.clock.advance(20)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(403, "held_certificate")
    assert len(gate.budgets) == 0


async def test_a_certificate_that_may_have_ended_is_renewed_once_more(gate: Asked) -> None:
    """To refuse that would fail the handshake. It costs no budget, and what is renewed counts as long as any other."""
    hold(gate)
    gate.evidence.note("shop.miosa.app")  # before what is held was fetched
    gate.clock.advance(3600)
    gate.handover.fetch("other.miosa.app", HERE)
    gate.clock.advance(60 * 86400)
    gate.handover.fetch("other.miosa.app", HERE)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "issued")
    assert len(gate.budgets) == 0
    assert gate.evidence.until("shop.miosa.app") == gate.clock.now().timestamp() + 90 * 86400
    gate.evidence.note("shop.miosa.app")  # a visitor met it: it is valid
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(403, "held_certificate")


async def test_a_first_certificate_costs_what_it_always_does(gate: Asked) -> None:
    """Caddy asks for one although it fetches what covers the name: something is wrong there, and the authority counts it."""
    hold(gate)
    gate.handover.fetch("shop.miosa.app", HERE)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "first_issue")
    assert len(gate.budgets) == 1


async def test_a_fetch_counts_for_some_minutes(gate: Asked) -> None:
    """After that a Caddy may have been started with another Caddyfile."""
    hold(gate)
    gate.handover.fetch("other.miosa.app", HERE)
    gate.evidence.read("shop.miosa.app", a_row("miosa.app", gate.clock.now()).leaf)
    gate.clock.advance(FRESH + 1)
    assert await gate.ask.answer(["shop.miosa.app"], HERE) == Verdict(200, "issued")


async def test_names_that_are_not_served_stay_refused(gate: Asked) -> None:
    """Whatever certificate covers them."""
    hold(gate)
    gate.handover.fetch("other.miosa.app", HERE)
    assert await gate.ask.answer(["nobody.miosa.app"], HERE) == Verdict(404, "no_such_resource")
    gate.table.put(a_row("suspended.org", gate.clock.now(), names=("suspended.org",)))
    assert await gate.ask.answer(["suspended.org"], HERE) == Verdict(403, "suspended")


async def test_no_first_certificate_before_the_held_ones_are_known(gate: Asked) -> None:
    """The name's zone may be among them. What has one keeps it."""
    gate.handover.complete = False
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(503, "not_ready")
    assert len(gate.budgets) == 0
    gate.evidence.note("shop.miosa.app")
    assert await gate.ask.answer(["shop.miosa.app"]) == Verdict(200, "issued")


async def test_an_opinion_says_that_a_certificate_is_held(gate: Asked) -> None:
    """To operators and before a pre-fetch, whether or not a Caddy has fetched it yet."""
    hold(gate)
    assert await gate.ask.opinion("shop.miosa.app") == Verdict(403, "held_certificate")
    route = await gate.resolver.resolve(b"shop.miosa.app")
    assert gate.ask.judge("shop.miosa.app", route.decision) == Verdict(403, "held_certificate")
    assert len(gate.budgets) == 0

"""The budgets: each one, when it has room again, and what nobody may forget."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.domains.certificates import Attempt, Outcome
from router.gate.budgets import Budgets
from router.gate.policy import CLEAR, BudgetState
from router.settings import Gate

DAY = 86400.0


class Spent:
    """Budgets, a clock, and what they told of."""

    def __init__(self, **limits: object) -> None:
        self.clock = ManualClock()
        self.budgets = Budgets(Gate().model_copy(update=limits), self.clock)
        self.budgets.ready()
        self.told: list[Attempt] = []
        self.budgets.on_change(lambda attempt: self.told.append(replace(attempt)))

    def issue(self, host: str, outcome: Outcome | None = Outcome.ISSUED) -> None:
        """One attempt, begun as the gate does, and its end."""
        assert self.budgets.state(host) == CLEAR
        self.budgets.open(host, "acme")
        if outcome is not None:
            self.budgets.settle(host, outcome)

    def says(self, host: str) -> tuple[str | None, float]:
        standing = self.budgets.state(host)
        return standing.reason, round(standing.retry_after, 3)


@pytest.fixture
def spent() -> Spent:
    return Spent()


def test_an_attempt_is_free_while_it_lasts(spent: Spent) -> None:
    """And is over when somebody has seen the certificate."""
    spent.issue("a.org", None)
    assert spent.budgets.state("a.org") == BudgetState("in_flight")
    spent.budgets.open("a.org", "acme")
    assert (len(spent.budgets), spent.budgets.in_flight) == (1, 1)
    spent.budgets.settle("a.org", Outcome.ISSUED)
    assert spent.budgets.in_flight == 0
    assert [(one.outcome, one.closed_at is None) for one in spent.told] == [("open", True), ("issued", False)]
    assert (spent.told[0].host, spent.told[0].domain, spent.told[0].tenant_id) == ("a.org", "a.org", "acme")


def test_three_for_one_name_in_seven_days(spent: Spent) -> None:
    """The fourth has to wait until the first is seven days old."""
    for _ in range(3):
        spent.issue("a.b.org")
        spent.clock.advance(DAY)
    assert spent.says("a.b.org") == ("budget_host", 4 * DAY)
    assert spent.budgets.state("c.b.org") == CLEAR
    spent.clock.advance(4 * DAY)
    assert spent.says("a.b.org") == (None, 0)


@pytest.mark.parametrize(
    ("names", "another", "elsewhere"),
    [
        ("x{}.shop.example", "shop.example", "shop2.example"),
        ("x{}.shop.co.uk", "a.b.shop.co.uk", "x1.other.co.uk"),
        ("x{}.me.github.io", "me.github.io", "you.github.io"),
        ("x{}.xn--bcher-kva.example", "xn--bcher-kva.example", "y.example"),
    ],
)
def test_forty_for_one_registered_domain_in_seven_days(names: str, another: str, elsewhere: str) -> None:
    """By the public suffix list, its private section included."""
    spent = Spent(account=1000)
    for number in range(40):
        spent.issue(names.format(number))
        spent.clock.advance(60.0)
    assert spent.says(another) == ("budget_registered_domain", 7 * DAY - 2400)
    assert spent.budgets.state(elsewhere) == CLEAR


def test_what_is_a_public_suffix_itself_counts_as_itself(spent: Spent) -> None:
    """As at the authority."""
    spent.issue("github.io")
    assert spent.told[0].domain == "github.io"


def test_two_hundred_and_forty_for_the_account_in_three_hours(spent: Spent) -> None:
    """However many domains they are for, and whatever became of them."""
    for number in range(240):
        spent.issue(f"x{number}.org", Outcome.FAILED if number % 2 else Outcome.ISSUED)
        spent.clock.advance(10.0)
    assert spent.says("new.org") == ("budget_account", 3 * 3600 - 2400)
    spent.clock.advance(3 * 3600 - 2400)
    assert spent.budgets.state("new.org") == CLEAR


def test_ten_at_once(spent: Spent) -> None:
    """Until one has ended, or has had its place for thirty seconds: nobody may see its end for longer."""
    for number in range(10):
        spent.issue(f"x{number}.org", None)
        spent.clock.advance(2.0)
    assert spent.says("new.org") == ("budget_account", 10)
    spent.budgets.settle("x3.org", Outcome.ISSUED)
    assert spent.says("new.org") == (None, 0)
    spent.issue("y.org", None)
    assert spent.says("new.org") == ("budget_account", 10)
    spent.clock.advance(10.0)
    assert spent.says("new.org") == (None, 0)
    assert spent.says("x0.org")[0] == "in_flight"


def hog(spent: Spent, tenant: str, name: str, *, most: int = 1000, every: float = 0.0) -> int:
    """How many names a tenant gets that wants as many as it can have."""
    for number in range(most):
        host = name.format(number)
        if spent.budgets.state(host, tenant) != CLEAR:
            return number
        spent.budgets.open(host, tenant)
        spent.clock.advance(every)
    return most


@pytest.mark.parametrize("outcome", [None, Outcome.ISSUED], ids=["at once", "in ten seconds"])
def test_one_tenant_may_have_all_places_and_keeps_none_from_others(spent: Spent, outcome: Outcome | None) -> None:
    """Those who come later have their share at once, each of them; whoever has had it waits."""
    tell = (lambda one: None) if outcome is None else (lambda one: spent.budgets.settle(one.host, outcome))
    spent.budgets.on_change(lambda one: tell(one) if one.outcome is Outcome.OPEN else None)
    assert hog(spent, "a", "x{}.a.org") == 10
    assert hog(spent, "b", "x{}.b.org") == 5
    assert hog(spent, "a", "y{}.a.org") == 0
    assert [hog(spent, tenant, "x{}." + tenant + ".org") for tenant in ("c", "d", "e")] == [3, 2, 0]
    spent.clock.advance(30.0)
    assert hog(spent, "e", "x{}.e.org") == 10


def test_one_domain_keeps_no_place_from_a_tenants_others(spent: Spent) -> None:
    """Ten names of one domain that nobody sees the end of: another domain of the same customer goes on."""
    assert hog(spent, "a", "x{}.one.org") == 10
    assert hog(spent, "a", "x{}.two.org") == 5


def test_one_tenant_may_have_the_whole_account_and_keeps_some_for_others(spent: Spent) -> None:
    """240 in three hours over many domains; others have thirty more, which the authority's 300 leave."""
    spent = Spent(in_flight=1000, starts=1000)
    assert hog(spent, "a", "x.a{}.org", every=1.0) == 240
    assert hog(spent, "b", "x.b{}.org", most=20) == 20
    assert hog(spent, "c", "x.c{}.org") == 10
    assert hog(spent, "a", "y.a{}.org") == 0
    assert len(spent.budgets) == 270


def test_the_platforms_own_names_are_shared(spent: Spent) -> None:
    """Whoever comes first has half of what is left; later ones always find some, and all together have forty."""
    spent = Spent(in_flight=1000, starts=1000)
    spent.budgets = Budgets(spent.budgets._settings, spent.clock, ["miosa.app"])
    spent.budgets.ready()
    got = [hog(spent, tenant, tenant + "{}.miosa.app") for tenant in "abcdef"]
    assert got == [20, 10, 5, 3, 1, 1]
    assert spent.budgets.spent("miosa.app") == 40
    assert spent.says("more.miosa.app")[0] == "budget_registered_domain"
    assert hog(spent, "a", "x{}.a.org", most=30) == 30
    spent.clock.advance(7 * DAY)
    assert hog(spent, "f", "later{}.sandbox.miosa.app") == 20


def test_a_customers_domain_is_shared_once_another_wants_some_of_it(spent: Spent) -> None:
    """Its owner alone has all forty, week after week; with somebody else beside him half."""
    spent = Spent(in_flight=1000, starts=1000)
    assert hog(spent, "a", "x{}.saas.org") == 40
    assert spent.budgets.state("theirs.saas.org", "b").reason == "budget_registered_domain"
    spent.clock.advance(6 * DAY)
    assert spent.budgets.state("theirs.saas.org", "b") == BudgetState("budget_registered_domain", DAY)
    spent.clock.advance(DAY)
    assert hog(spent, "a", "y{}.saas.org") == 20
    assert hog(spent, "b", "z{}.saas.org") == 10


def test_ten_in_ten_seconds(spent: Spent) -> None:
    """However soon they ended."""
    for number in range(10):
        spent.issue(f"x{number}.org")
        spent.clock.advance(0.5)
    assert spent.says("new.org") == ("budget_account", 5)
    spent.clock.advance(5.0)
    assert spent.says("new.org") == (None, 0)


@pytest.mark.parametrize("failure", [Outcome.FAILED, Outcome.EXPIRED])
def test_each_failure_makes_the_next_wait_longer(spent: Spent, failure: Outcome) -> None:
    """1, 10, 100 minutes, then a day, for ever; a success ends the series."""
    if failure is Outcome.EXPIRED:
        spent = Spent(host=100)
    for wait in (60.0, 600.0, 6000.0, DAY, DAY):
        spent.issue("a.org", None if failure is Outcome.EXPIRED else failure)
        if failure is Outcome.EXPIRED:
            spent.clock.advance(200.0)
        assert spent.says("a.org") == ("failure_backoff", wait)
        spent.clock.advance(wait)
    spent.issue("a.org", Outcome.ISSUED)
    spent.issue("a.org", failure)
    assert spent.says("a.org") == ("failure_backoff", 60.0)


def test_silence_is_a_failure_after_two_hundred_seconds(spent: Spent) -> None:
    """Somebody may still see the certificate later: then it was none."""
    spent.issue("a.org", None)
    spent.clock.advance(199.9)
    assert spent.says("a.org")[0] == "in_flight"
    spent.clock.advance(0.1)
    assert spent.says("a.org") == ("failure_backoff", 60.0)
    assert spent.told[-1].outcome is Outcome.EXPIRED
    spent.budgets.settle("a.org", Outcome.ISSUED)
    assert spent.says("a.org") == (None, 0)
    spent.budgets.settle("a.org", Outcome.FAILED)
    assert spent.told[-1].outcome is Outcome.ISSUED


def test_what_failed_for_sure_costs_its_domain_nothing(spent: Spent) -> None:
    """It issued nothing. What nobody saw the end of may have."""
    spent = Spent(registered_domain=2, host=1)
    spent.issue("a.shop.org", Outcome.FAILED)
    spent.issue("b.shop.org", Outcome.FAILED)
    assert spent.budgets.state("c.shop.org") == CLEAR
    spent.issue("d.shop.org", Outcome.EXPIRED)
    assert spent.says("d.shop.org")[0] == "budget_host"
    spent.issue("e.shop.org", Outcome.EXPIRED)
    assert spent.says("c.shop.org")[0] == "budget_registered_domain"


def test_the_first_budget_that_is_spent_is_named() -> None:
    """In the order of the table."""
    spent = Spent(host=1, registered_domain=1, account=1)
    spent.issue("a.org", Outcome.EXPIRED)
    assert spent.says("a.org")[0] == "budget_host"
    assert spent.says("b.a.org")[0] == "budget_registered_domain"
    assert spent.says("b.org")[0] == "budget_account"


def test_budgets_can_be_off() -> None:
    """Where the authority is one's own: nothing is counted, nothing is kept."""
    clock = ManualClock()
    budgets = Budgets(Gate(budgets=False), clock)
    for _ in range(50):
        assert budgets.state("a.org") == CLEAR
        budgets.open("a.org", None)
    assert len(budgets) == 0


def test_nothing_begins_that_can_not_be_kept(spent: Spent) -> None:
    """Before it is known what was spent, and while what is spent can't be written down."""
    budgets = Budgets(Gate(), spent.clock)
    assert budgets.state("a.org") == BudgetState("not_ready")
    spent.budgets.full = True
    assert spent.budgets.state("a.org") == BudgetState("not_ready")
    spent.budgets.full = False
    assert spent.budgets.state("a.org") == CLEAR


def attempt(clock: ManualClock, **values: object) -> Attempt:
    """Another node's, begun now."""
    given = {"id": "1", "host": "a.org", "domain": "a.org", "tenant_id": None, "opened_at": clock.now().timestamp()}
    return Attempt(**(given | values))  # type: ignore[arg-type]


def test_other_nodes_attempts_count(spent: Spent) -> None:
    """Open, ended, and heard of twice."""
    theirs = attempt(spent.clock)
    spent.budgets.merge([theirs])
    assert spent.says("a.org")[0] == "in_flight"
    ended = replace(theirs, outcome=Outcome.FAILED, closed_at=theirs.opened_at)
    spent.budgets.merge([ended, replace(theirs, outcome=Outcome.OPEN)])
    assert spent.says("a.org") == ("failure_backoff", 60.0)
    assert (len(spent.budgets), spent.told) == (1, [])


def test_a_clock_that_was_ahead_blocks_nobody_for_long(spent: Spent) -> None:
    """Another node's, by a year: its attempts count as begun when they were heard of."""
    ahead = spent.clock.now().timestamp() + 365 * DAY
    theirs = [attempt(spent.clock, id=str(number), host=f"x{number}.org", opened_at=ahead) for number in range(9)]
    failed = attempt(spent.clock, id="f", host="f.org", opened_at=ahead, closed_at=ahead, outcome=Outcome.FAILED)
    spent.budgets.merge([*theirs, failed])
    assert spent.says("new.org") == ("budget_account", 10)
    assert spent.says("x1.org")[0] == "in_flight"
    spent.clock.advance(60.0)
    assert spent.says("f.org") == (None, 0)
    spent.clock.advance(140.0)
    spent.budgets.sweep()
    assert spent.budgets.in_flight == 0
    spent.clock.advance(8 * DAY)
    spent.budgets.sweep()
    assert len(spent.budgets) == 0


def test_a_clock_that_is_set_back_blocks_nobody_for_long() -> None:
    """Our own: what was begun in what is now the future counts as begun now."""
    clock = SetClock()
    budgets = Budgets(Gate(), clock)
    budgets.ready()
    for number in range(10):
        budgets.open(f"x{number}.org", None)
    budgets.settle("x0.org", Outcome.FAILED)
    clock.set(timedelta(days=-30))
    standing = budgets.state("new.org")
    assert (standing.reason, round(standing.retry_after, 3)) == ("budget_account", 10)
    clock.advance(60.0)
    assert budgets.state("x0.org") == CLEAR
    clock.advance(140.0)
    budgets.sweep()
    assert (budgets.in_flight, budgets.state("new.org")) == (0, CLEAR)


class SetClock(ManualClock):
    """Somebody sets its wall clock."""

    def set(self, by: timedelta) -> None:
        self._start += by


def test_a_restart_forgets_nothing(spent: Spent) -> None:
    """What was told of, taken back, leaves the same."""
    kinds: list[Outcome | None] = [Outcome.ISSUED, Outcome.FAILED, Outcome.EXPIRED, None]
    for number in range(8):
        spent.issue(f"x{number % 4}.shop.org", kinds[number % 4])
        spent.clock.advance(300.0)
    successor = Budgets(Gate(), spent.clock)
    newest = {one.id: one for one in spent.told}
    successor.merge(reversed(newest.values()))
    successor.ready()
    for host in ("x0.shop.org", "x1.shop.org", "x2.shop.org", "x3.shop.org", "other.org"):
        assert successor.state(host) == spent.budgets.state(host)


def test_what_no_longer_counts_is_forgotten(spent: Spent) -> None:
    """Seven days later nothing is left of it."""
    spent.issue("a.org", None)
    spent.clock.advance(1000.0)
    spent.issue("b.org")
    spent.budgets.sweep()
    assert len(spent.budgets) == 2
    spent.clock.advance(7 * DAY - 500.0)
    spent.budgets.sweep()
    assert len(spent.budgets) == 1
    spent.clock.advance(DAY)
    spent.budgets.sweep()
    assert (len(spent.budgets), spent.budgets._by_host, spent.budgets._by_domain) == (0, {}, {})


@pytest.mark.parametrize("say", [lambda one: one.settle("nobody.org", Outcome.ISSUED), lambda one: one.merge([])])
def test_news_of_nothing_is_nothing(spent: Spent, say: Callable[[Budgets], None]) -> None:
    """A certificate that no attempt of ours led to."""
    say(spent.budgets)
    assert (len(spent.budgets), spent.told) == (0, [])

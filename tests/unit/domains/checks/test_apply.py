"""What a check means for any domain: the next state of its checks, and the proof that it may need."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.domains.checks.apply import Results, check_cooldown, judged, next_state, noted, overtaken
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import Evidence, Need, Others, others_of
from router.domains.checks.schedule import WAITING_TIME, CheckState, Method, begin
from router.errors import CHECKED_JUST_NOW, RouterError
from router.routes.records import DomainStatus
from tests.support.checks import about_to_fail, leads_elsewhere, leads_here
from tests.support.domains import NOW

PENDING, VERIFIED, FAILED = DomainStatus.PENDING, DomainStatus.VERIFIED, DomainStatus.FAILED
NAME = "app.example.com"
SHARED = replace(leads_here(NAME), evidence=Evidence(own=False, names=(NAME,)))


def applied(
    status: DomainStatus, check: Check, *, in_doubt: bool = False, state: CheckState | None = None
) -> tuple[CheckState, DomainStatus | None]:
    return next_state(state or begin(NOW), status, check, NOW, jitter=0.5, in_doubt=in_doubt)


def test_a_check_moves_a_domain() -> None:
    """To verified where it leads here, to failed where it has led elsewhere for long enough."""
    assert applied(PENDING, leads_here(NAME))[1] is VERIFIED
    assert applied(VERIFIED, leads_here(NAME))[1] is None
    assert applied(VERIFIED, leads_elsewhere(), state=about_to_fail(begin(NOW), NOW))[1] is FAILED
    waited = replace(begin(NOW), waiting_since=NOW - WAITING_TIME)
    assert applied(PENDING, leads_elsewhere(), state=waited)[1] is FAILED


def test_nothing_ends_while_the_clock_is_in_doubt() -> None:
    """The time that seems to have passed may not have."""
    state = about_to_fail(begin(NOW), NOW)
    new, to = applied(VERIFIED, leads_elsewhere(), in_doubt=True, state=state)
    assert to is None
    assert new.next_check_at > NOW
    assert applied(PENDING, leads_here(NAME), in_doubt=True)[1] is VERIFIED


@pytest.mark.parametrize(
    ("verdict", "before", "forbidden"),
    [
        (CaaVerdict.FORBIDDEN, False, True),
        (CaaVerdict.ALLOWED, True, False),
        (CaaVerdict.UNKNOWN, True, True),
        (CaaVerdict.UNKNOWN, False, False),
    ],
)
def test_what_caa_records_say_is_kept_while_nobody_can_tell(verdict: CaaVerdict, before: bool, forbidden: bool) -> None:
    """And replaced as soon as somebody can."""
    check = replace(leads_here(NAME), caa=CaaFinding(verdict))
    state = replace(begin(NOW), caa_forbidden=before)
    assert applied(PENDING, check, state=state)[0].caa_forbidden is forbidden


class Rows:
    """Every store of names: nothing of others' but what is said."""

    def __init__(self, **says: Any) -> None:
        self._says = says

    def __getattr__(self, name: str) -> Any:
        async def say(*_: object) -> Any:
            return self._says.get(name, frozenset() if name == "own_tokens" else False)

        return say


class Tx:
    """One transaction on such stores."""

    def __init__(self, custom: Rows | None = None, zones: Rows | None = None, claims: Rows | None = None) -> None:
        self.custom_domains = custom or Rows()
        self.preview_domains = zones or Rows()
        self.claims = claims or Rows()


@pytest.mark.parametrize(
    ("tx", "evidence", "others"),
    [
        (Tx(), {}, Others()),
        (Tx(), {"tokens": ("0b",)}, Others(target=True)),
        (Tx(Rows(own_tokens=frozenset({"0b"}))), {"tokens": ("0b",)}, Others()),
        (Tx(zones=Rows(own_tokens=frozenset({"0b"}))), {"tokens": ("0b",)}, Others()),
        (Tx(claims=Rows(foreign=True)), {}, Others(claimed=True)),
        (Tx(Rows(released=[NAME])), {}, Others(recent=True)),
        (Tx(zones=Rows(released=[NAME])), {}, Others(recent=True, around=True)),
        (Tx(zones=Rows(foreign=True)), {}, Others(around=True)),
        (Tx(Rows(foreign_of=True)), {}, Others(domain=True)),
        (Tx(zones=Rows(foreign_of=True)), {}, Others(domain=True)),
        (Tx(claims=Rows(foreign_of=True)), {}, Others(domain=True)),
        (Tx(Rows(released_of=True)), {}, Others(domain=True)),
        (Tx(zones=Rows(released_of=True)), {}, Others(domain=True)),
        (Tx(zones=Rows(has_verified=True)), {}, Others(own_zone=True)),
        (Tx(zones=Rows(has_verified=True)), {"names": (NAME, "alias.example.org")}, Others()),
    ],
)
@pytest.mark.asyncio
async def test_what_others_have_to_do_with_a_name(tx: Any, evidence: dict[str, Any], others: Others) -> None:
    """Each store of names is asked for its part."""
    shown = Evidence(**{"own": False, "names": (NAME,), **evidence})
    assert await others_of(tx, shown, "acme", NOW) == others


@pytest.mark.parametrize(
    ("check", "tx", "result", "need"),
    [
        (leads_here(NAME), Tx(claims=Rows(foreign=True)), CheckResult.VALID, None),
        (SHARED, Tx(), CheckResult.VALID, None),
        (SHARED, Tx(claims=Rows(foreign=True)), CheckResult.WRONG, Need.CLAIMED),
        (leads_elsewhere(), Tx(claims=Rows(foreign=True)), CheckResult.WRONG, None),
        (replace(SHARED, evidence=None), Tx(), CheckResult.UNKNOWN, None),
    ],
    ids=["a proof", "nobody else", "another's claim", "elsewhere", "it routed when the check began"],
)
@pytest.mark.asyncio
async def test_a_check_is_judged_by_what_the_store_knows(
    check: Check, tx: Any, result: CheckResult, need: Need | None
) -> None:
    """A proof is enough; shared records are where nobody else can be meant."""
    found = await judged(tx, check, "acme", NOW)
    assert (found.result, found.need) == (result, need)
    assert found.method is (Method.CNAME if result is CheckResult.VALID else None)


def test_checks_may_be_requested_again_after_a_while() -> None:
    """Too early is an error with the seconds to wait."""
    check_cooldown(begin(NOW), NOW, 10.0)
    state = replace(begin(NOW), asked_at=NOW - timedelta(seconds=2.5))
    with pytest.raises(RouterError) as refused:
        check_cooldown(state, NOW, 10.0)
    assert (refused.value.problem, refused.value.retry_after) == (CHECKED_JUST_NOW, 8)
    check_cooldown(state, NOW + timedelta(seconds=8), 10.0)


class Asked(Results):
    """What both kinds of results share, for a test."""

    async def request(self, tx: Any, state: CheckState) -> CheckState:
        return await self._requested(tx, state, NAME, "acme")


@pytest.mark.parametrize("contested", [False, True])
@pytest.mark.asyncio
async def test_a_check_that_is_requested(contested: bool) -> None:
    """The schedule begins anew, and the days of waiting as well where no other tenant claims the name."""
    store: Any = None  # the transaction is given
    clock = ManualClock()
    state = replace(begin(clock.now() - timedelta(days=3)), checks=7)
    new = await Asked(store, clock).request(Tx(claims=Rows(foreign=contested)), state)
    assert (new.checks, new.asked_at) == (0, clock.now())
    assert (new.waiting_since == state.waiting_since) is contested
    with pytest.raises(RouterError):
        await Asked(store, clock).request(Tx(), new)


def test_a_check_that_another_has_overtaken() -> None:
    """It does not count, unless it was requested."""
    seen, now = begin(NOW), replace(begin(NOW), checked_at=NOW)
    assert [overtaken(now, seen, requested=requested) for requested in (False, True)] == [True, False]
    assert not overtaken(seen, seen, requested=False)


def test_what_a_check_shows_stays_until_another_tells_something() -> None:
    """A check without a result keeps what the last one saw."""
    assert noted({"old": True}, replace(leads_here(NAME), result=CheckResult.UNKNOWN), NOW) == {"old": True}
    shown = noted({"old": True}, leads_here(NAME), NOW)
    assert shown is not None
    assert "records" in shown

"""When certificates are renewed, failures tried again and delegations checked; and the pace of ten thousand zones."""

import bisect
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.certificates.attempts import Spent
from router.certificates.authority import RenewalWindow
from router.certificates.budget import refusal
from router.certificates.delegation import Delegation, DelegationState
from router.certificates.planning import ask_again_at, in_turn, jitter_of, next_check_at, renew_at, wait_after
from router.domains.certificates import Leaf
from router.settings import Gate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIFETIMES = [timedelta(days=90), timedelta(days=64), timedelta(days=45), timedelta(hours=160)]


def leaf(lifetime: timedelta, at: datetime = NOW) -> Leaf:
    return Leaf(issuer="CN=x", serial="1", not_before=at, not_after=at + lifetime)


def zone(tenant_id: str | None, name: str = "a.example", **other: object) -> Delegation:
    fields = {"domain": name, "tenant_id": tenant_id, "token": "a" * 32, "next_check_at": NOW, "created_at": NOW}
    return Delegation(**{**fields, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("lifetime", LIFETIMES)
@given(jitter=st.floats(0, 1, exclude_max=True))
def test_renewal_by_share(lifetime: timedelta, jitter: float) -> None:
    """Between 7/12 and 2/3 of the lifetime; the same jitter is the same instant."""
    at = renew_at(leaf(lifetime), jitter)
    assert lifetime * 7 / 12 - timedelta(seconds=1) <= at - NOW <= lifetime * 2 / 3
    assert at == renew_at(leaf(lifetime), jitter)


@given(
    jitter=st.floats(0, 1, exclude_max=True),
    start=st.integers(-400, 400),
    length=st.integers(-10, 400),
)
def test_renewal_by_window(jitter: float, start: int, length: int) -> None:
    """Within the authority's window; never in a circle, and never when the end is near, whatever it says."""
    begin = NOW + start * DAY
    window = RenewalWindow(begin, begin + length * DAY, 3600.0)
    at = renew_at(leaf(90 * DAY), jitter, window, issued_at=NOW)
    assert NOW + timedelta(hours=6) <= at <= NOW + 75 * DAY
    if start >= 1 and length >= 0 and start + length <= 75:
        assert begin <= at <= begin + length * DAY


@pytest.mark.parametrize(("said", "wait"), [(1.0, 60.0), (21600.0, 21600.0), (1e9, 86400.0), (float("-inf"), 60.0)])
def test_when_to_ask_again(said: float, wait: float) -> None:
    """As the authority says, between a minute and a day; six hours where it said nothing."""
    assert ask_again_at(NOW, RenewalWindow(NOW, NOW, said)) - NOW == timedelta(seconds=wait)
    assert ask_again_at(NOW, None) - NOW == timedelta(hours=6)


def test_waits_after_failures() -> None:
    """1, 10, 100 minutes, a day; with a certificate near its end at most an eighth of what it has, and ten minutes at least."""
    backoff = Gate().backoff
    waits = [wait_after(failures, backoff, None).total_seconds() for failures in (1, 2, 3, 4, 50)]
    assert waits == [60, 600, 6000, 86400, 86400]
    assert wait_after(4, backoff, 2 * DAY) == timedelta(hours=6)
    assert wait_after(4, backoff, timedelta()) == timedelta(minutes=10)
    assert wait_after(1, backoff, timedelta()) == timedelta(minutes=1)


@pytest.mark.parametrize("state", list(DelegationState))
def test_checks_of_delegations(state: DelegationState) -> None:
    """Every few seconds while a zone is new, so that a certificate comes within a minute of its records; rarely later."""
    new = next_check_at(zone("t"), state, NOW, 0.5) - NOW
    old = next_check_at(zone("t", created_at=NOW - 100 * DAY), state, NOW, 0.5) - NOW
    if state in (DelegationState.PRESENT, DelegationState.FORBIDDEN):
        assert new == old == timedelta(hours=6)
    else:
        assert new == timedelta(seconds=15)
        assert old == timedelta(minutes=10) if state is DelegationState.UNREACHABLE else timedelta(hours=1)


def test_tenants_take_turns() -> None:
    """Each one's first zone before anybody's second; in their order."""
    zones = [zone("many", f"{n}.example") for n in range(5)] + [zone("few", "few.example"), zone(None, "platform")]
    assert [one.domain for one in in_turn(zones, 4)] == ["0.example", "few.example", "platform", "1.example"]


def test_a_tenant_that_has_had_none_passes_one_that_has_had_all() -> None:
    """Zones of one tenant have taken all that zones may: another's still get some, and not without end."""
    gate, now = Gate(), NOW.timestamp()
    old = now - gate.starts_window - 1

    def refused(zones: int, own: int) -> bool:
        spent = Spent(host=(), registered_domain=(), account=(old,) * zones, zones=(old,) * zones, tenant=(old,) * own)
        return refusal(spent, gate, now, renewal=False, by_ari=False) is not None

    half = gate.account // 2
    assert refused(half, half)
    assert not refused(half, 0)
    assert not refused(half, half // 8 - 1)
    assert refused(half, half // 8)
    assert refused(half + half // 4, 0)


def _first_orders(zones: int, gate: Gate) -> list[float]:
    """When each zone's first order is placed, if all are delegated at once."""
    placed: list[float] = []
    now = NOW.timestamp()
    while len(placed) < zones:
        newest = tuple(placed[: -gate.account - 1 : -1])
        spent = Spent(host=(), registered_domain=(), account=newest, zones=newest, tenant=newest)
        found = refusal(spent, gate, now, renewal=False, by_ari=False)
        if found is None:
            placed.append(now)
        else:
            now += max(found.wait, 1.0)
    return placed


@pytest.mark.parametrize(("lifetime", "limit"), list(zip(LIFETIMES, (300, 300, 300, 500), strict=True)))
def test_the_pace_of_ten_thousand_zones(lifetime: timedelta, limit: int) -> None:
    """All delegated at once: first orders take half of what the account may have in three hours, and are done in eleven days. The
    renewals of the next two hundred days, without the authority's renewal information, stay below the 300 orders that Let's
    Encrypt gives an account in three hours, for lifetimes of 45 days and more. Those of six days need that information, with which
    they are not counted."""
    gate = Gate()
    placed = _first_orders(10_000, gate)
    assert _most(placed, gate.account_window) <= gate.account // 2
    assert placed[-1] - placed[0] < 11 * 86400
    renewals = []
    for number, first in enumerate(placed):
        at = datetime.fromtimestamp(first, UTC)
        for turn in range(int(200 * DAY / lifetime) + 1):
            at = renew_at(leaf(lifetime, at), jitter_of(f"{number} {turn}"))
            renewals.append(at.timestamp())
    assert _most(renewals, 3 * 3600) <= limit


def _most(times: list[float], window: float) -> int:
    """The most of them within any window of so many seconds."""
    times = sorted(times)
    return max((place - bisect.bisect_right(times, at - window) + 1 for place, at in enumerate(times)), default=0)

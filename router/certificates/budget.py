"""Whether a zone's order may be placed now: below the authority's limits, which it shares with the certificates of single hosts
that Caddy orders (`gate/budgets.py` has the numbers, and counts the same attempts).

A renewal for the same names costs nothing of these: with ARI the authority exempts it from every limit, without from all but
the one of the exact set (https://letsencrypt.org/docs/rate-limits/). Of the account's orders zones take half: ten
thousand zones that are delegated at once must leave visitors of single hosts theirs. A tenant that has had less than an eighth of
that half is let in beyond it, by a quarter: who brings a thousand zones, or sets and clears one again and again, keeps nobody else
waiting.
"""

from dataclasses import dataclass

from router.certificates.attempts import Spent
from router.settings import Gate


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which budget is spent, and in how many seconds there is room again."""

    reason: str
    wait: float


def refusal(spent: Spent, gate: Gate, now: float, *, renewal: bool, by_ari: bool) -> Refusal | None:
    """None: the order may be placed. `now` in seconds since 1970."""
    if not gate.budgets or by_ari:
        return None
    exact = _window("budget_host", spent.host, gate.host, gate.host_window, now)
    if renewal or exact is not None:
        return exact
    return (
        _window(
            "budget_registered_domain",
            spent.registered_domain,
            gate.registered_domain,
            gate.registered_domain_window,
            now,
        )
        or _window("budget_account", spent.account, gate.account, gate.account_window, now)
        or _of_zones(spent, max(1, gate.account // 2), gate.account_window, now)
        or _of_zones(spent, max(1, gate.starts // 2), gate.starts_window, now)
    )


def longest(gate: Gate) -> int:
    """How many attempts of each kind have to be known to decide."""
    return max(gate.host, gate.registered_domain, gate.account)


def _of_zones(spent: Spent, limit: int, window: float, now: float) -> Refusal | None:
    had = sum(one > now - window for one in spent.tenant)
    room = limit + max(1, limit // 4) if had < max(1, limit // 8) else limit
    return _window("budget_account", spent.zones, room, window, now)


def _window(reason: str, opened: tuple[float, ...], limit: int, window: float, now: float) -> Refusal | None:
    # What a clock that was ahead has dated later than now counts as of now.
    counted = [min(one, now) for one in opened if one > now - window]
    return Refusal(reason, counted[limit - 1] + window - now) if len(counted) >= limit else None

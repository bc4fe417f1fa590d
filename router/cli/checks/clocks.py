"""This machine's clock, against the others that can be asked: the database's, Redis's, Caddy's."""

from email.utils import parsedate_to_datetime

from router.cli.checks.caddy import plain_http
from router.cli.checks.finding import Finding, Report, error, unknown
from router.cli.checks.known import Known
from router.cli.running_node import get

_APART = 30.0  # seconds: as the alert has it


async def check(known: Known) -> Report:
    ahead: dict[str, float] = {}
    if not isinstance(known.store, str) and known.store.kind != "SQLite":  # SQLite's is this machine's own
        ahead["the database"] = known.store.clock_ahead
    redis = None if known.redis is None or isinstance(known.redis, str) else known.redis.clock_ahead
    if redis is not None:
        ahead["Redis"] = redis
    caddy = await _caddy(known)
    if caddy is not None:
        ahead["Caddy"] = caddy
    if not ahead:
        return Report(
            [
                unknown(
                    "clock_unknown",
                    "no other clock could be asked (PostgreSQL's, Redis's, Caddy's)",
                    "so whether this machine's is right is not known",
                    "compare it with `chronyc tracking` or `timedatectl`",
                )
            ]
        )
    return Report(
        [_wrong(whose, seconds) for whose, seconds in ahead.items() if abs(seconds) > _APART],
        f"at most {max(map(abs, ahead.values())):.1f} s from that of {', '.join(ahead)}",
    )


def _wrong(whose: str, seconds: float) -> Finding:
    return error(
        "clock_wrong",
        f"this machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of {whose}",
        "so sessions, links and certificates count as expired too early or too late",
        "correct whichever is wrong with NTP or chrony (RUNBOOK, A wrong clock)",
    )


async def _caddy(known: Known) -> float | None:
    """By how many seconds our clock is ahead of the Date that Caddy answers with; None where it gives none."""
    bind = plain_http(known.settings)
    response = None if bind is None else await get(bind, "/")
    date = None if response is None else response.headers.get("Date")
    if date is None:
        return None
    try:
        return known.clock.now().timestamp() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None

"""The checks of `miosa-router doctor`: all at the same time, each under a deadline.

A check is a function of what is known (`known.py`) to a report (`finding.py`). What could not be found out is `unknown`, and
so is a check that takes too long or fails: never fine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from router.base.clock import Clock
from router.cli.checks import (
    caddy,
    certificates,
    challenges,
    clocks,
    domain_connect,
    listeners,
    machine,
    names,
    node,
    stores,
    together,
)
from router.cli.checks.finding import Report, unknown
from router.cli.checks.known import Known, find_out
from router.settings import Settings

DEADLINE = 10.0  # seconds for one check

Check = Callable[[Known], Awaitable[Report]]

CHECKS: Mapping[str, Check] = {
    "node": node.check,
    "listeners": listeners.check,
    "store": stores.check_store,
    "redis": stores.check_redis,
    "clock": clocks.check,
    "names": names.check,
    "caddy": caddy.check,
    "ask": caddy.check_ask,
    "certificates": certificates.check,
    "challenges": challenges.check,
    "domain_connect": domain_connect.check,
    "disk": machine.check_disk,
    "files": machine.check_files,
    "settings": together.check,
}

_log = structlog.get_logger("router.cli.checks")


async def examine(settings: Settings, clock: Clock) -> Mapping[str, Report]:
    """The report of each check, by its name."""
    known = await find_out(settings, clock)
    reports = await asyncio.gather(*(report(name, known) for name in CHECKS))
    return dict(zip(CHECKS, reports, strict=True))


async def report(name: str, known: Known, deadline: float = DEADLINE) -> Report:
    """The report of the check of that name, within `deadline` seconds."""
    try:
        async with asyncio.timeout(deadline):
            return await CHECKS[name](known)
    except TimeoutError:
        what = f"the check of {name} did not end within {deadline:g} s"
    except Exception as error:  # noqa: BLE001 - any error is a check that found nothing out; the others still count
        _log.exception("check failed", check=name)
        what = f"the check of {name} failed ({type(error).__name__})"
    return Report(
        [unknown("check_failed", what, "so nothing is known of it", "run `doctor` again, and look at the log")]
    )

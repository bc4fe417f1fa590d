"""What applying a check's result means for custom and preview domains alike: the next check, the move, the proof needed.

A check takes seconds, and meanwhile another one may have been applied, or the domain removed. A check that was requested
counts in any case; one from the schedule counts only if no other was applied since it began, so that an old result never
overrules a new one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from router.base.clock import Clock
from router.base.leases import GuardedTransactions
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import need_of
from router.domains.checks.schedule import ASK_EVERY, ENDS, CheckState, after, asked, put_off, too_soon
from router.domains.states import check_move
from router.domains.transaction import Tx
from router.errors import CHECKED_JUST_NOW, RouterError
from router.routes.records import DomainStatus


def next_state(
    state: CheckState, status: DomainStatus, check: Check, now: datetime, *, jitter: float, in_doubt: bool
) -> tuple[CheckState, DomainStatus | None]:
    """The state of a domain's checks after this one, and the status that the domain enters, None where it stays.

    While the clock is `in_doubt` nothing fails or is removed for the time that has passed.
    """
    new, to = after(state, status, check.result, now, jitter=jitter, method=check.method)
    if to in ENDS and in_doubt:
        new, to = put_off(state, check.result, now), None
    if check.caa_forbids is not None:
        new = replace(new, caa_forbidden=check.caa_forbids)
    if to is not None:
        check_move(status, to)
    return new, to


class Results:
    """What storing requests for checks and their results needs, whatever the domain is."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        ask_every: float = ASK_EVERY,
        in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """`ask_every` is how many seconds lie between two requested checks of one domain. While the clock is `in_doubt`
        nothing fails or is removed for the time that has passed."""
        self._store = store
        self._clock = clock
        self._ask_every = ask_every
        self._in_doubt = in_doubt

    async def _requested(self, tx: Tx, state: CheckState, name: str, tenant_id: str) -> CheckState:
        """The state after a tenant has requested a check: the schedule begins anew. Raises RouterError CHECKED_JUST_NOW."""
        now = self._clock.now()
        check_cooldown(state, now, self._ask_every)
        contested = await tx.claims.foreign(name, tenant_id, now)
        return asked(state, now, contested=contested)


def overtaken(now: CheckState, seen: CheckState, *, requested: bool) -> bool:
    """Whether another check was applied since this one, which was not requested, began."""
    return now.checked_at != seen.checked_at and not requested


def noted(detail: Mapping[str, Any] | None, check: Check, now: datetime) -> Mapping[str, Any] | None:
    """What is shown of the last check that told anything."""
    return detail if check.result is CheckResult.UNKNOWN else check.noted(now)


async def judged(tx: Tx, check: Check, tenant_id: str, now: datetime) -> Check:
    """A check of a domain that does not route yet, after what the store knows of other tenants: it may need a proof."""
    if check.result is not CheckResult.VALID:
        return check
    if check.evidence is None:  # the domain routed when the check began
        return check.unproven(None)
    need = await need_of(tx, check.evidence, tenant_id, now)
    return check if need is None else check.unproven(need)


def check_cooldown(state: CheckState, now: datetime, every: float) -> None:
    """Raises RouterError CHECKED_JUST_NOW where a check was requested less than `every` seconds ago."""
    left = too_soon(state, now, every)
    if left is not None:
        raise RouterError(CHECKED_JUST_NOW, retry_after=math.ceil(left))

"""ZoneCertificates: the job that has zones' certificates ordered and renewed, on one process of the fleet at a time.

What is to be done stands in the store: delegations to be checked, orders with a step that is due, certificates that the
authority is to be asked about. Each is a task; a few of each kind run at once, and what fails is due still.
Nothing of it waits for anything else of another zone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from router.base.clock import Clock
from router.base.leases import GuardedTransactions, Lease
from router.base.tasks import Tasks
from router.certificates.challenges import ChallengeError
from router.certificates.delegations import Delegations
from router.certificates.issuing import Issuing
from router.certificates.renewals import Renewals
from router.certificates.transaction import Tx
from router.errors import RouterError, StoreUnavailableError

EVERY = 1.0  # seconds between two runs
RUN_TIME = 60.0  # seconds within which a run begins anything
GRACE = 5.0  # seconds more for what is under way; each step may be repeated
WITHIN = 120.0
ORDERS = 32  # that are driven at once
_CHECKS = 16
_ASKS = 4
_POLL = 1.0  # seconds between two looks at what is due, and between two steps of one thing
_PLAN_EVERY = 5.0  # seconds between two looks at which zones want an order

_TIDY_EVERY = 60.0  # seconds between two looks for zones without a delegation, and for certificates near their end

_log = structlog.get_logger("router.jobs.certificates")


class ZoneCertificates:
    """See the module. `platform` is the platform's own zone, where it is to have such a certificate; `in_doubt`: whether the
    clock may be wrong, by which no order is opened then."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        delegations: Delegations,
        renewals: Renewals,
        issuing: Issuing,
        platform: str | None,
        in_doubt: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._delegations = delegations
        self._renewals = renewals
        self._issuing = issuing
        self._platform = platform
        self._in_doubt = in_doubt
        self._planned = self._tidied = float("-inf")

    async def run(self, lease: Lease) -> None:
        """Work until nothing is due, or for `RUN_TIME`: what hangs then is cancelled. Raises StoreUnavailableError."""
        tasks, busy, ended = Tasks("zone certificates"), dict[str, asyncio.Task[None]](), dict[str, float]()
        end = self._clock.monotonic() + RUN_TIME
        await self._issuing.replace_account_key(lease)
        try:
            while True:
                now = self._clock.monotonic()
                if now < end:
                    lately = {name for name, at in ended.items() if now - at < _POLL}
                    for name, work in await self._due(lease, busy.keys() | lately):
                        busy[name] = tasks.start(name, self._do(name, work()))
                if not busy or now >= end + GRACE:
                    return
                await asyncio.wait(busy.values(), timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
                done = {name for name, task in busy.items() if task.done()}
                ended |= dict.fromkeys(done, self._clock.monotonic())
                busy = {name: task for name, task in busy.items() if name not in done}
        finally:
            await tasks.close()

    async def _due(self, lease: Lease, busy: set[str]) -> list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]]:
        """What is to be done now, as far as there is room for it."""
        now = self._clock.now()
        begun: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = []

        def begin(kind: str, key: str, limit: int, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
            name = f"{kind} {key}"
            running = sum(other.startswith(f"{kind} ") for other in (*busy, *(one for one, _ in begun)))
            if name not in busy and running < limit:
                begun.append((name, work))

        async with self._store.read() as tx:
            orders = await tx.acme_orders.due(now, 2 * ORDERS)
            checks = await tx.delegations.due(now, 2 * _CHECKS)
        for order in orders:
            begin("order", order.id, ORDERS, partial(self._issuing.advance, order.id, lease))
        for zone in checks:
            begin("check", zone.domain, _CHECKS, partial(self._delegations.check, zone.domain, under=lease))
        if self._clock.monotonic() - self._planned >= _PLAN_EVERY:
            self._planned = self._clock.monotonic()
            async with self._store.read() as tx:
                closed = await tx.acme_orders.unwithdrawn(_ASKS)
            for order in closed:
                begin("withdraw", order.id, _ASKS, partial(self._issuing.withdraw, order, lease))
            for zone in [] if self._in_doubt() else await self._renewals.wanting():
                begin("open", zone.domain, _CHECKS, partial(self._renewals.open, zone, lease))
            for held in await self._renewals.to_ask():
                begin("ask", held.domain, _ASKS, partial(self._renewals.ask, held, lease))
        if self._clock.monotonic() - self._tidied >= _TIDY_EVERY:
            self._tidied = self._clock.monotonic()
            begin("tidy", "up", 1, partial(self._tidy, lease))
        return begun

    async def _tidy(self, lease: Lease) -> None:
        await self._delegations.make_missing(self._platform, lease)
        await self._renewals.tell_ending(lease)

    async def _do(self, name: str, work: Awaitable[object]) -> None:
        try:
            await work
        except (RouterError, ChallengeError, StoreUnavailableError) as error:
            _log.warning("certificate work put off", work=name, error=str(error))

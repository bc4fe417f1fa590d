"""What becomes of orders, as it is stored: each step in one transaction under the job's lease, with the attempt that it costs, the
event that its owner gets, and the certificate that it brings (`order.py` has an order's life).

A step forward is stored only while the zone is still its owner's: otherwise the order is abandoned. Every method raises `Moved` where
somebody else has moved the order since it was read, and StoreUnavailableError.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from router.base.clock import Clock, iso
from router.base.leases import GuardedTransactions, Lease
from router.certificates import events
from router.certificates.authority import RateLimitedError
from router.certificates.budget import longest, refusal
from router.certificates.held import HeldCertificate, Origin
from router.certificates.order import MOVES, Order, OrderState
from router.certificates.planning import wait_after
from router.certificates.transaction import Tx
from router.domains.certificates import Outcome
from router.domains.names import registered_domain
from router.settings import Gate

DEADLINE = timedelta(hours=1)  # for an order, from when it is placed
_TAKEN = timedelta(seconds=60)  # for a call to the authority: longer than any takes
_RETRY = 5.0  # seconds until the first new try of what was not answered; each doubles
_MAX_RETRY = 300.0
_NOT_SAID = 3600.0  # seconds to wait after a rate limit without Retry-After
_MAX_LIMITED = 7 * 86400.0
_KEY_CHANGES = timedelta(seconds=5)  # for which an order waits while the account gets another key
_S = OrderState

_log = structlog.get_logger("router.certificates")


class Moved(Exception):  # noqa: N818 - no error: somebody else has moved the order, or its zone
    """The row is not as it was."""


class OrderBook:
    """See the module. `directory` is the authority's, `gate` has the budgets and the pauses after failures."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        directory: str,
        gate: Gate,
        on_end: Callable[[str], object] = lambda _result: None,
    ) -> None:
        """`on_end` hears how each order ended: `issued`, `failed`, `rate_limited`, `abandoned`."""
        self._store = store
        self._clock = clock
        self._directory = directory
        self._gate = gate
        self._on_end = on_end

    async def begin(self, order: Order, lease: Lease) -> bool:
        """Let a planned order be placed; False where it has to wait: for a budget, or for the account's next key."""
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            await tx.certificate_attempts.hold()
            if not await self._wanted(tx, order):
                await self._abandon(tx, order, now)
                return False
            account = await tx.acme_accounts.get(self._directory)
            if account is not None and account.next_sealed_key is not None:
                await self._save(tx, replace(order, next_at=now + _KEY_CHANGES), order)
                return False
            held = await tx.held_certificates.get(order.domain, Origin.MANAGED)
            refused = await self._refusal(tx, order, now, renewal=held is not None)
            if refused is not None:
                reason, wait = refused
                limited = _error(
                    "budget",
                    reason,
                    f"as many certificates have been ordered lately as the certificate authority allows ({reason})",
                )
                await self._put_off(tx, order, limited, now + timedelta(seconds=max(wait, 1.0)), now)
                return False
            if held is None:
                await tx.certificate_attempts.open(
                    order.id, order.names[0], registered_domain(order.domain), order.tenant_id, now.timestamp()
                )
            await self._save(
                tx,
                replace(order, state=_S.PLACING, next_at=now + _TAKEN, deadline_at=now + DEADLINE),
                order,
            )
            return True

    async def move(self, order: Order, lease: Lease, **changes: Any) -> None:
        """A step that succeeded, with what it found."""
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            if not await self._wanted(tx, order):
                await self._abandon(tx, order, now)
                return
            await self._save(tx, replace(order, **changes), order)

    async def hold(self, order: Order, held: HeldCertificate, lease: Lease) -> None:
        """It is issued: this is what the zone is served from now on."""
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            if not await self._wanted(tx, order):
                await self._abandon(tx, order, now)
                return
            await self._save(
                tx,
                replace(order, state=_S.ISSUED, sealed_key=None, csr=None, attempts=0, error=None, closed_at=now),
                order,
            )
            await tx.held_certificates.put(held)
            await tx.certificate_attempts.close(order.id, Outcome.ISSUED, now.timestamp())
            await events.emit(tx, "certificate.issued", order.domain, now, **_facts(held))
        _log.info("certificate issued", zone=order.domain, serial=held.serial, not_after=iso(held.not_after))
        self._on_end("issued")

    async def limited(self, order: Order, limited: RateLimitedError, lease: Lease) -> None:
        """The authority gives no more for now: later, when it said, or in an hour."""
        wait = min(max(limited.retry_after or _NOT_SAID, 1.0), _MAX_LIMITED)
        now = self._clock.now()
        error = _error("rate_limited", "rateLimited", limited.detail)
        async with self._store.begin(lease) as tx:
            if order.state is _S.PLACING:
                await tx.certificate_attempts.close(order.id, Outcome.FAILED, now.timestamp())
                await self._put_off(tx, order, error, now + timedelta(seconds=wait), now)
            else:
                await self._save(tx, replace(order, next_at=now + timedelta(seconds=wait), error=error), order)

    async def again(self, order: Order, kind: str, detail: str, lease: Lease) -> None:
        """It was not answered: later, and longer each time."""
        before = order.error or {}
        tries = before.get("tries", 0) + 1 if before.get("kind") == kind else 1
        wait = min(_RETRY * 2 ** (tries - 1), _MAX_RETRY)
        error = {**_error(kind, kind, detail), "tries": tries}
        _log.warning("certificate order waits", zone=order.domain, state=order.state.value, reason=kind, error=detail)
        await self.move(order, lease, error=error, next_at=self._clock.now() + timedelta(seconds=wait))

    async def fail(
        self,
        order: Order,
        code: str,
        detail: str,
        lease: Lease,
        *,
        names: tuple[str, ...] = (),
        again: timedelta | None = None,
    ) -> None:
        """`again`: it was not the zone's fault, so the next order may be opened after so long."""
        now = self._clock.now()
        attempts = order.attempts + (1 if again is None else 0)
        async with self._store.begin(lease) as tx:
            held = await tx.held_certificates.get(order.domain, Origin.MANAGED)
            left = None if held is None else max(held.not_after - now, timedelta())
            wait = again or wait_after(attempts, self._gate.backoff, left)
            error = {**_error("failed", code, detail), "names": list(names)}
            failed = replace(
                order,
                state=_S.FAILED,
                sealed_key=None,
                csr=None,
                attempts=attempts,
                error=error,
                next_at=now + wait,
                closed_at=now,
            )
            await self._save(tx, failed, order)
            # Only of one that was being issued it is not known what came of it.
            outcome = Outcome.EXPIRED if order.state is _S.FINALIZING else Outcome.FAILED
            await tx.certificate_attempts.close(order.id, outcome, now.timestamp())
            await events.emit(
                tx,
                "certificate.failed",
                order.domain,
                now,
                reason=code,
                error=detail,
                next_attempt_at=iso(failed.next_at),
            )
        _log.warning("certificate order failed", zone=order.domain, reason=code, error=detail, attempts=attempts)
        self._on_end("failed")

    # Inside a transaction.

    async def _refusal(self, tx: Tx, order: Order, now: datetime, *, renewal: bool) -> tuple[str, float] | None:
        gate, seconds, zone = self._gate, now.timestamp(), order.names[0]
        spent = await tx.certificate_attempts.spent(
            zone,
            registered_domain(order.domain),
            host_since=seconds - gate.host_window,
            domain_since=seconds - gate.registered_domain_window,
            account_since=seconds - gate.account_window,
            tenant_id=order.tenant_id,
            limit=longest(gate),
        )
        found = refusal(spent, gate, seconds, renewal=renewal, by_ari=order.replaces is not None)
        return None if found is None else (found.reason, found.wait)

    async def _put_off(self, tx: Tx, order: Order, error: Mapping[str, Any], next_at: datetime, now: datetime) -> None:
        """It has to wait for a limit, ours or the authority's. Its owner is told once for each reason."""
        if order.error is None or order.error.get("kind") != error["kind"]:
            await events.emit(
                tx,
                "certificate.rate_limited",
                order.domain,
                now,
                reason=error["code"],
                error=error["detail"],
                next_attempt_at=iso(next_at),
            )
            self._on_end("rate_limited")
        await self._save(tx, replace(order, state=_S.PLANNED, next_at=next_at, error=error), order)

    async def _wanted(self, tx: Tx, order: Order) -> bool:
        """Whether the zone is still its owner's, and this authority the one to ask. In a transaction that writes the zone's
        delegation is locked until its end: nobody takes the zone away meanwhile."""
        delegation = await tx.delegations.get(order.domain)
        return delegation is not None and delegation.token == order.token and order.directory == self._directory

    async def _abandon(self, tx: Tx, order: Order, now: datetime) -> None:
        """This one, unless that was done: the zone's next owner may have an order by now. Raises Moved."""
        current = await tx.acme_orders.get(order.id)
        if current is None or not current.open:
            raise Moved
        await tx.acme_orders.abandon(order.domain, now)
        self._on_end("abandoned")

    async def _save(self, tx: Tx, new: Order, old: Order) -> None:
        if new.state is not old.state and new.state not in MOVES[old.state]:
            raise AssertionError(f"an order that is {old.state} cannot become {new.state}")
        if not await tx.acme_orders.save(new, old.state):
            raise Moved


def _error(kind: str, code: str, detail: str) -> dict[str, Any]:
    """`kind` is `failed`, `rate_limited`, `budget`, or what was not answered; `code` the authority's word, or ours."""
    return {"kind": kind, "code": code, "detail": detail}


def _facts(held: HeldCertificate) -> dict[str, str | list[str]]:
    return {
        "names": list(held.names),
        "issuer": held.issuer,
        "serial": held.serial,
        "not_before": iso(held.not_before),
        "not_after": iso(held.not_after),
    }

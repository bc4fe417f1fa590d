"""Drives an order, step by step (`order.py` has its life). Each step is stored under the job's lease before the next one
begins, so a process that dies leaves a row from which another one goes on:

    placing without url    the account's list of orders is asked, where the authority has one; else the order is placed
                           again: Let's Encrypt answers with the one that is pending for the same names
    placed                 the TXT values are in the row; they are published again
    answered, finalizing   the authority is asked how the order stands; the key is in the row before it gets the CSR

What the authority or a name server of the operator's does not answer is tried again until the order's deadline.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from router.base.clock import Clock, iso
from router.base.ids import new_id
from router.base.leases import GuardedTransactions, Lease
from router.base.secret_box import SecretBox, SecretLostError
from router.certificates import events
from router.certificates.accounts import GONE, Accounts
from router.certificates.authority import (
    Authority,
    AuthorityError,
    BadAnswerError,
    OrderSeen,
    Problem,
    RateLimitedError,
    RefusedError,
    Stage,
    UnreachableError,
)
from router.certificates.budget import longest, refusal
from router.certificates.challenges import ChallengeError, ChallengeRecords
from router.certificates.held import HeldCertificate, Origin, key_purpose
from router.certificates.issued import Issued, read_issued
from router.certificates.keys import make_csr, new_key
from router.certificates.order import MOVES, Order, OrderState, order_key_purpose
from router.certificates.planning import jitter_of, renew_at, wait_after
from router.certificates.transaction import Tx
from router.domains.certificates import Leaf, Outcome
from router.domains.names import registered_domain
from router.settings import Gate

DEADLINE = timedelta(hours=1)  # for an order, from when it is placed
_TAKEN = timedelta(seconds=60)  # for a call to the authority: longer than any takes
_POLL = 2.0  # seconds between two looks at an order that is under way
_MAX_POLL = 60.0
_RETRY = 5.0  # seconds until the first new try of what was not answered; each doubles
_MAX_RETRY = 300.0
_NOT_SAID = 3600.0  # seconds to wait after a rate limit without Retry-After
_MAX_LIMITED = 7 * 86400.0
# What the zone's owner is told: the details are about the operator's own servers and keys.
_NOT_PUBLISHED = (
    "the platform could not publish what proves the zone to the authority; its operator finds why in the router's log"
)
_GONE_AGAIN = timedelta(minutes=1)
_KEY_CHANGES = timedelta(seconds=5)  # for which an order waits while the account gets another key
_S = OrderState

_log = structlog.get_logger("router.certificates")


class _Moved(Exception):  # noqa: N818 - no error: somebody else has moved the order, or its zone
    """The row is not as it was."""


class Issuing:
    """Drives orders. `gate` has the budgets and the pauses after failures; `in_doubt`: whether the clock may be wrong."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        authority: Authority,
        accounts: Accounts,
        records: ChallengeRecords,
        box: SecretBox,
        gate: Gate,
        on_end: Callable[[str], object] = lambda _result: None,
    ) -> None:
        """`on_end` hears how each order ended: `issued`, `failed`, `rate_limited`, `abandoned`."""
        self._store = store
        self._clock = clock
        self._authority = authority
        self._accounts = accounts
        self._records = records
        self._box = box
        self._gate = gate
        self._on_end = on_end

    async def advance(self, order_id: str, lease: Lease) -> None:
        """Go on with an order until it has to wait or has ended. Raises StoreUnavailableError."""
        began_here = False
        while True:
            async with self._store.read() as tx:
                order = await tx.acme_orders.get(order_id)
            now = self._clock.now()
            if (
                order is None
                or not order.open
                or (order.next_at > now and not (began_here and order.state is _S.PLACING))
            ):
                return
            try:
                if order.state is not _S.PLANNED and now >= order.deadline_at:
                    await self._fail(order, "timeout", "the order was not finished in time", lease)
                elif order.state is _S.PLANNED:
                    began_here = await self._begin(order, lease)
                else:
                    await self._try(order, lease, began_here=began_here)
                    began_here = False
            except _Moved:
                return

    async def replace_account_key(self, lease: Lease) -> None:
        """Where another key is wanted for the account. What the authority has against it is in the log. Raises
        StoreUnavailableError."""
        try:
            await self._accounts.replace_key(lease)
        except AuthorityError as error:
            _log.warning("account key not replaced", error=error.detail)

    async def withdraw(self, order: Order, lease: Lease) -> None:
        """Let the TXT values of a closed order be answered no more. Raises ChallengeError, StoreUnavailableError."""
        async with self._store.read() as tx:
            newest = (await tx.acme_orders.last([order.domain])).get(order.domain)
        if newest is not None and newest.open and newest.token == order.token and newest.txt:
            await self._records.publish(order.token, newest.txt)
        else:
            await self._records.withdraw(order.token)
        async with self._store.begin(lease) as tx:
            await tx.acme_orders.withdrawn(order.id)

    # One step each.

    async def _begin(self, order: Order, lease: Lease) -> bool:
        """Whether there is budget for it."""
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            await tx.certificate_attempts.hold()
            if not await self._wanted(tx, order):
                await self._abandon(tx, order, now)
                return False
            account = await tx.acme_accounts.get(self._authority.directory)
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

    async def _try(self, order: Order, lease: Lease, *, began_here: bool) -> None:
        """The step of a state, and what becomes of it where it fails."""
        try:
            await self._accounts.open(lease)
            match order.state:
                case _S.PLACING:
                    await self._place(order, lease, began_here=began_here)
                case _S.PLACED:
                    await self._publish(order, lease)
                case _S.PUBLISHED:
                    await self._authority.answer(_url(order))
                    await self._move(order, lease, state=_S.ANSWERED, next_at=self._in(_POLL))
                case _S.ANSWERED:
                    await self._look(order, await self._authority.look(_url(order)), lease)
                case _:
                    await self._finalize(order, lease)
        except RateLimitedError as limited:
            await self._limited(order, limited, lease)
        except (UnreachableError, BadAnswerError) as error:
            kind = "unreachable" if isinstance(error, UnreachableError) else "bad_answer"
            await self._again(order, kind, error.detail, lease)
        except ChallengeError as error:
            _log.warning("challenge not published", zone=order.domain, error=error.detail)
            await self._again(order, "dns_not_published", _NOT_PUBLISHED, lease)
        except RefusedError as refused:
            await self._refused(order, refused, lease)

    async def _place(self, order: Order, lease: Lease, *, began_here: bool) -> None:
        url = None if began_here else await self._authority.find(order.names)
        if url is not None:
            seen = await self._authority.look(url)
        else:
            try:
                seen = await self._authority.place(order.names, replaces=order.replaces)
            except RefusedError as refused:
                if refused.kind not in ("alreadyReplaced", "malformed") or order.replaces is None:
                    raise
                # The next try is an order like any other, and costs what one costs.
                await self._move(order, lease, state=_S.PLANNED, replaces=None, next_at=self._clock.now())
                return
        if seen.stage is Stage.INVALID:
            await self._invalid(order, seen, lease)
            return
        txt = tuple(dict.fromkeys(one.txt for one in seen.challenges if not one.done))
        await self._move(order, lease, state=_S.PLACED, url=seen.url, txt=txt, error=None, next_at=self._clock.now())

    async def _publish(self, order: Order, lease: Lease) -> None:
        if not order.txt:
            await self._look(order, await self._authority.look(_url(order)), lease)
            return
        await self._records.publish(order.token, order.txt)
        await self._move(order, lease, state=_S.PUBLISHED, next_at=self._clock.now())

    async def _look(self, order: Order, seen: OrderSeen, lease: Lease) -> None:
        """Of an order whose names are being proved, or are."""
        if seen.stage is Stage.INVALID:
            await self._invalid(order, seen, lease)
        elif seen.stage is Stage.PENDING:
            await self._wait(order, seen, lease)
        elif seen.stage is Stage.READY:
            key = new_key()
            sealed = self._box.seal(key, purpose=order_key_purpose(order.id))
            csr = make_csr(key, order.names)
            await self._move(
                order, lease, state=_S.FINALIZING, sealed_key=sealed, csr=csr, error=None, next_at=self._clock.now()
            )
        else:
            raise BadAnswerError("the authority has issued a certificate for which it got no request of ours")

    async def _finalize(self, order: Order, lease: Lease) -> None:
        seen = await self._authority.look(_url(order))
        if seen.stage is Stage.READY:
            seen = await self._authority.finalize(_url(order), order.csr or "")
        if seen.stage is Stage.INVALID:
            await self._invalid(order, seen, lease)
        elif seen.stage is Stage.VALID and seen.certificate is not None:
            try:
                key = self._box.open(order.sealed_key or "", purpose=order_key_purpose(order.id))
            except SecretLostError:
                await self._fail(order, "key_lost", "the router cannot read the certificate's key any more", lease)
                return
            issued = read_issued(await self._authority.fetch(seen.certificate), key, order.names)
            await self._hold(order, issued, key, lease)
        else:
            await self._wait(order, seen, lease)

    async def _hold(self, order: Order, issued: Issued, key: str, lease: Lease) -> None:
        now, certificate_id = self._clock.now(), new_id()
        leaf = Leaf(
            issuer=issued.issuer, serial=issued.serial, not_before=issued.not_before, not_after=issued.not_after
        )
        held = HeldCertificate(
            id=certificate_id,
            domain=order.domain,
            tenant_id=order.tenant_id,
            origin=Origin.MANAGED,
            names=issued.names,
            issuer=issued.issuer,
            serial=issued.serial,
            not_before=issued.not_before,
            not_after=issued.not_after,
            chain=issued.chain,
            sealed_key=self._box.seal(key, purpose=key_purpose(certificate_id)),
            renew_at=renew_at(leaf, jitter_of(certificate_id)),
            ari_id=issued.ari_id,
            ari_at=None if issued.ari_id is None else now,
            directory=order.directory,
            created_at=now,
        )
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

    # What did not succeed.

    async def _refused(self, order: Order, refused: RefusedError, lease: Lease) -> None:
        if refused.kind == GONE:
            self._accounts.forget()
            await self._again(order, refused.kind, refused.detail, lease)
        elif refused.kind == "orderNotReady" and order.state is _S.FINALIZING:
            await self._again(order, refused.kind, refused.detail, lease)
        elif refused.kind == "notFound":
            await self._fail(order, refused.kind, refused.detail, lease, again=_GONE_AGAIN)
        elif refused.kind == "accountKeyLost":
            await self._again(order, refused.kind, refused.detail, lease)
        else:
            await self._fail(order, refused.kind, refused.detail, lease, names=refused.names)

    async def _invalid(self, order: Order, seen: OrderSeen, lease: Lease) -> None:
        problem = seen.problem or Problem("unknown", "the authority did not say why")
        await self._fail(order, problem.kind, problem.detail, lease, names=problem.names)

    async def _limited(self, order: Order, limited: RateLimitedError, lease: Lease) -> None:
        wait = min(max(limited.retry_after or _NOT_SAID, 1.0), _MAX_LIMITED)
        now = self._clock.now()
        error = _error("rate_limited", "rateLimited", limited.detail)
        async with self._store.begin(lease) as tx:
            if order.state is _S.PLACING:
                await tx.certificate_attempts.close(order.id, Outcome.FAILED, now.timestamp())
                await self._put_off(tx, order, error, now + timedelta(seconds=wait), now)
            else:
                await self._save(tx, replace(order, next_at=now + timedelta(seconds=wait), error=error), order)

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

    async def _again(self, order: Order, kind: str, detail: str, lease: Lease) -> None:
        """It was not answered: later, and longer each time."""
        before = order.error or {}
        tries = before.get("tries", 0) + 1 if before.get("kind") == kind else 1
        wait = min(_RETRY * 2 ** (tries - 1), _MAX_RETRY)
        error = {**_error(kind, kind, detail), "tries": tries}
        _log.warning("certificate order waits", zone=order.domain, state=order.state.value, reason=kind, error=detail)
        await self._move(order, lease, error=error, next_at=self._in(wait))

    async def _fail(
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

    async def _abandon(self, tx: Tx, order: Order, now: datetime) -> None:
        """This one, unless that was done: the zone's next owner may have an order by now. Raises _Moved."""
        current = await tx.acme_orders.get(order.id)
        if current is None or not current.open:
            raise _Moved
        await tx.acme_orders.abandon(order.domain, now)
        self._on_end("abandoned")

    # How rows are stored.

    async def _wanted(self, tx: Tx, order: Order) -> bool:
        """Whether the zone is still its owner's, and this authority the one to ask. In a transaction that writes the zone's
        delegation is locked until its end: nobody takes the zone away meanwhile."""
        delegation = await tx.delegations.get(order.domain)
        return (
            delegation is not None and delegation.token == order.token and order.directory == self._authority.directory
        )

    async def _wait(self, order: Order, seen: OrderSeen, lease: Lease) -> None:
        wait = min(max(seen.retry_after or _POLL, _POLL), _MAX_POLL)
        await self._move(order, lease, next_at=self._in(wait))

    async def _move(self, order: Order, lease: Lease, **changes: Any) -> None:
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            if not await self._wanted(tx, order):
                await self._abandon(tx, order, now)
                return
            await self._save(tx, replace(order, **changes), order)

    async def _save(self, tx: Tx, new: Order, old: Order) -> None:
        if new.state is not old.state and new.state not in MOVES[old.state]:
            raise AssertionError(f"an order that is {old.state} cannot become {new.state}")
        if not await tx.acme_orders.save(new, old.state):
            raise _Moved

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _url(order: Order) -> str:
    if order.url is None:
        raise BadAnswerError("the order has no address")
    return order.url


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

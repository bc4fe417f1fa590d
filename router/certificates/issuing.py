"""Drives an order, step by step (`order.py` has its life). Each step is stored under the job's lease before the next one
begins, so a process that dies leaves a row from which another one goes on:

    placing without url    the account's list of orders is asked, where the authority has one; else the order is placed
                           again: Let's Encrypt answers with the one that is pending for the same names
    placed                 the TXT values are in the row; they are published again
    answered, finalizing   the authority is asked how the order stands; the key is in the row before it gets the CSR

What the authority or a name server of the operator's does not answer is tried again until the order's deadline.
"""

from datetime import datetime, timedelta

import structlog

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.leases import GuardedTransactions, Lease
from router.base.secret_box import SecretBox, SecretLostError
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
from router.certificates.challenges import ChallengeError, ChallengeRecords
from router.certificates.held import HeldCertificate, Origin, key_purpose
from router.certificates.issued import Issued, read_issued
from router.certificates.keys import make_csr, new_key
from router.certificates.order import Order, OrderState, order_key_purpose
from router.certificates.order_book import Moved, OrderBook
from router.certificates.planning import jitter_of, renew_at
from router.certificates.transaction import Tx
from router.domains.certificates import Leaf

_POLL = 2.0  # seconds between two looks at an order that is under way
_MAX_POLL = 60.0
# What the zone's owner is told: the details are about the operator's own servers and keys.
_NOT_PUBLISHED = (
    "the platform could not publish what proves the zone to the authority; its operator finds why in the router's log"
)
_GONE_AGAIN = timedelta(minutes=1)
_S = OrderState

_log = structlog.get_logger("router.certificates")


class Issuing:
    """Drives orders. `book` stores what becomes of them."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        authority: Authority,
        accounts: Accounts,
        records: ChallengeRecords,
        box: SecretBox,
        book: OrderBook,
    ) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._accounts = accounts
        self._records = records
        self._box = box
        self._book = book

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
                    await self._book.fail(order, "timeout", "the order was not finished in time", lease)
                elif order.state is _S.PLANNED:
                    began_here = await self._book.begin(order, lease)
                else:
                    await self._try(order, lease, began_here=began_here)
                    began_here = False
            except Moved:
                return

    async def replace_account_key(self, lease: Lease) -> None:
        """Where another key is wanted for the account. What the authority has against it is in the log. Raises
        StoreUnavailableError."""
        try:
            await self._accounts.replace_key(lease)
        except AuthorityError as error:
            _log.warning("account key not replaced", error=error.detail)

    async def withdraw(self, order: Order, lease: Lease) -> None:
        """Let the TXT values of a closed order be answered no more, but those that the zone's next one has too: an authority may ask
        for the same again, where it goes on with an authorization. Raises ChallengeError, StoreUnavailableError."""
        async with self._store.read() as tx:
            newest = (await tx.acme_orders.last([order.domain])).get(order.domain)
        kept = newest.txt if newest is not None and newest.open and newest.token == order.token else ()
        values = [value for value in order.txt if value not in kept]
        if values:
            await self._records.withdraw(order.token, values)
        async with self._store.begin(lease) as tx:
            await tx.acme_orders.withdrawn(order.id)

    # One step each.

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
                    await self._book.move(order, lease, state=_S.ANSWERED, next_at=self._in(_POLL))
                case _S.ANSWERED:
                    await self._look(order, await self._authority.look(_url(order)), lease)
                case _:
                    await self._finalize(order, lease)
        except RateLimitedError as limited:
            await self._book.limited(order, limited, lease)
        except (UnreachableError, BadAnswerError) as error:
            kind = "unreachable" if isinstance(error, UnreachableError) else "bad_answer"
            await self._book.again(order, kind, error.detail, lease)
        except ChallengeError as error:
            _log.warning("challenge not published", zone=order.domain, error=error.detail)
            await self._book.again(order, "dns_not_published", _NOT_PUBLISHED, lease)
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
                await self._book.move(order, lease, state=_S.PLANNED, replaces=None, next_at=self._clock.now())
                return
        if seen.stage is Stage.INVALID:
            await self._invalid(order, seen, lease)
            return
        txt = tuple(dict.fromkeys(one.txt for one in seen.challenges if not one.done))
        await self._book.move(
            order, lease, state=_S.PLACED, url=seen.url, txt=txt, error=None, next_at=self._clock.now()
        )

    async def _publish(self, order: Order, lease: Lease) -> None:
        if not order.txt:
            await self._look(order, await self._authority.look(_url(order)), lease)
            return
        await self._records.publish(order.token, order.txt)
        await self._book.move(order, lease, state=_S.PUBLISHED, next_at=self._clock.now())

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
            await self._book.move(
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
                await self._book.fail(order, "key_lost", "the router cannot read the certificate's key any more", lease)
                return
            issued = read_issued(await self._authority.fetch(seen.certificate), key, order.names)
            await self._book.hold(order, self._held(order, issued, key), lease)
        else:
            await self._wait(order, seen, lease)

    def _held(self, order: Order, issued: Issued, key: str) -> HeldCertificate:
        now, certificate_id = self._clock.now(), new_id()
        leaf = Leaf(
            issuer=issued.issuer, serial=issued.serial, not_before=issued.not_before, not_after=issued.not_after
        )
        return HeldCertificate(
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

    # What did not succeed.

    async def _refused(self, order: Order, refused: RefusedError, lease: Lease) -> None:
        if refused.kind == GONE:
            self._accounts.forget()
            await self._book.again(order, refused.kind, refused.detail, lease)
        elif refused.kind == "orderNotReady" and order.state is _S.FINALIZING:
            await self._book.again(order, refused.kind, refused.detail, lease)
        elif refused.kind == "notFound":
            await self._book.fail(order, refused.kind, refused.detail, lease, again=_GONE_AGAIN)
        elif refused.kind == "accountKeyLost":
            await self._book.again(order, refused.kind, refused.detail, lease)
        else:
            await self._book.fail(order, refused.kind, refused.detail, lease, names=refused.names)

    async def _invalid(self, order: Order, seen: OrderSeen, lease: Lease) -> None:
        problem = seen.problem or Problem("unknown", "the authority did not say why")
        await self._book.fail(order, problem.kind, problem.detail, lease, names=problem.names)

    async def _wait(self, order: Order, seen: OrderSeen, lease: Lease) -> None:
        wait = min(max(seen.retry_after or _POLL, _POLL), _MAX_POLL)
        await self._book.move(order, lease, next_at=self._in(wait))

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _url(order: Order) -> str:
    if order.url is None:
        raise BadAnswerError("the order has no address")
    return order.url

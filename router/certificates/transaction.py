"""One transaction as the services of this package see it; `store.transaction.Transaction` offers all of it."""

from collections.abc import Collection, Sequence
from typing import Protocol

from router.base.events import EventSink
from router.certificates.account import AccountRows
from router.certificates.attempts import AttemptRows
from router.certificates.delegation import DelegationRows
from router.certificates.held import HeldRows
from router.certificates.order import OrderRows
from router.certificates.request import RequestRows
from router.domains.owners import OwnerRows
from router.domains.preview_domains import PreviewDomain


class ZoneRows(Protocol):
    """Of preview domains this package needs only whose a zone is."""

    async def at(self, domains: Collection[str]) -> Sequence[PreviewDomain]:
        """Those whose domain is one of these."""


class Tx(Protocol):
    """What `begin()` and `read()` of the store give."""

    @property
    def delegations(self) -> DelegationRows: ...

    @property
    def held_certificates(self) -> HeldRows: ...

    @property
    def acme_orders(self) -> OrderRows: ...

    @property
    def acme_accounts(self) -> AccountRows: ...

    @property
    def certificate_requests(self) -> RequestRows: ...

    @property
    def certificate_attempts(self) -> AttemptRows: ...

    @property
    def preview_domains(self) -> ZoneRows: ...

    @property
    def owners(self) -> OwnerRows: ...

    @property
    def events(self) -> EventSink: ...

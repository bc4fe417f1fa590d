"""One transaction as the services of this package see it.

`claims.py`, `custom.py`, `preview_domains.py` and `owners.py` say what their rows can do; `store.transaction.Transaction`
offers all of them.
"""

from typing import TYPE_CHECKING, Protocol

from router.base.events import EventSink
from router.domains.owners import OwnerRows

if TYPE_CHECKING:  # those files import this one
    from router.domains.claims import ClaimRows
    from router.domains.custom import DomainRows
    from router.domains.preview_domains import ZoneRows


class Tx(Protocol):
    """What `begin()` and `read()` of the store give."""

    @property
    def claims(self) -> "ClaimRows": ...

    @property
    def custom_domains(self) -> "DomainRows": ...

    @property
    def preview_domains(self) -> "ZoneRows": ...

    @property
    def owners(self) -> OwnerRows: ...

    @property
    def events(self) -> EventSink: ...

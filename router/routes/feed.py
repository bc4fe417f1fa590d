"""The store as everything that follows its changes sees it: versioned records, and the outbox of committed changes."""

from collections.abc import Sequence
from typing import Protocol

from router.routes.records import Change, Snapshot


class VersionedSource(Protocol):
    """Records with their versions."""

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """All of `keys`, as of one instant. Raises StoreUnavailableError."""


class Feed(Protocol):
    """The outbox. All but `moved` and `pause` raise StoreUnavailableError."""

    def moved(self) -> bool:
        """Whether another process may have committed since the last call; True where that is not known."""

    async def pause(self) -> None:
        """Wait until it is time to ask `moved` again: a moment, or until a signal where there are signals."""

    async def newest(self) -> int:
        """The number of the newest change, 0 before the first."""

    async def oldest(self) -> int:
        """The number of the oldest change that is still kept, 0 before the first."""

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most `most` of the changes after this one, in their order."""


class RecordStore(Protocol):
    """A store: the database's, or a worker's client of it."""

    @property
    def records(self) -> VersionedSource: ...

    @property
    def feed(self) -> Feed: ...

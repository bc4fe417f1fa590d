"""The in-memory twin of the stores that records come from; passes the same contract tests."""

from collections.abc import Sequence

from router.errors import StoreUnavailableError
from router.routes.batches import Found
from router.routes.records import (
    NameRecord,
    Record,
    ResourceRecord,
    SigningKeysRecord,
    ZoneRecord,
    name_key,
    signing_key,
    slug_key,
    zone_key,
)
from router.routes.wakes import WakeRecord, wake_key


class MemoryRecords:
    """A RecordSource whose records are put in by hand. `down` makes every fetch fail; `fetches` counts them."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self.down = False
        self.fetches = 0

    def put(self, *records: Record) -> tuple[str, ...]:
        """Store records under their keys, which come back (for `Resolver.drop`)."""
        keys = tuple(_key(record) for record in records)
        self._records.update(zip(keys, records, strict=True))
        return keys

    def put_under(self, key: str, record: Record) -> None:
        """Store a record that does not say what its key is."""
        self._records[key] = record

    def remove(self, *keys: str) -> tuple[str, ...]:
        """Remove records; the keys come back."""
        for key in keys:
            self._records.pop(key, None)
        return keys

    async def fetch(self, keys: Sequence[str]) -> Found:
        self.fetches += 1
        if self.down:
            raise StoreUnavailableError("switched off")
        return Found({key: self._records.get(key) for key in keys}, sources=dict.fromkeys(keys, "memory"))


def _key(record: Record) -> str:
    if isinstance(record, NameRecord):
        return name_key(record.fqdn)
    if isinstance(record, ResourceRecord):
        return slug_key(record.slug)
    if isinstance(record, SigningKeysRecord):
        return signing_key(record.purpose)
    if isinstance(record, WakeRecord):
        return wake_key(record.resource_id)
    assert isinstance(record, ZoneRecord), "`put_under` is for API keys"
    return zone_key(record.domain)

"""`X-Miosa-Identity` as requests carry it: signed once for each visitor, and sent again for two minutes.

IdentityLines    the headers of one host's visitors
IdentityKeys     what one worker signs them with
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from router.access.entry import Entry
from router.access.identity import NAME, REUSED, claims_of
from router.access.rules import AccessRules
from router.proxy.signing_key_cache import SigningKeyCache
from router.routes.records import SigningKeysRecord

if TYPE_CHECKING:
    from router.access.identity_signer import IdentitySigner

_MAX_LINES: Final = 1024  # visitors of one host that are remembered, at some 700 bytes each


class IdentityLines:
    """See the module. They are those of one policy: a route that changes has others."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules = rules
        self._signer: IdentitySigner | None = None
        self._lines: dict[tuple[str, str, str], tuple[bytes, float]] = {}

    def of(self, entry: Entry, signer: "IdentitySigner | None", now: float, date: Callable[[], float]) -> bytes | None:
        """The line, with its end, that says who came in by `entry`; None where nothing can sign it now. `now` is of a coarse
        monotonic clock, `date` tells the time in seconds of the epoch."""
        if signer is not self._signer:  # a key may have been withdrawn
            self._signer = signer
            self._lines.clear()
        if signer is None:
            return None
        who = (entry.how, entry.subject, entry.email)
        known = self._lines.get(who)
        if known is not None and now < known[1]:
            return known[0]
        at = date()
        token = signer.sign(claims_of(signer.issuer, self._rules, entry, at), at)
        if token is None:
            return None
        if len(self._lines) >= _MAX_LINES:
            self._lines.clear()
        line = NAME + b": " + token + b"\r\n"
        self._lines[who] = (line, now + REUSED)
        return line


class IdentityKeys:
    """See the module. Nothing is read, and no library loaded, before the first request that needs it."""

    def __init__(
        self, cache: SigningKeyCache, load: Callable[[], "Callable[[SigningKeysRecord], IdentitySigner]"]
    ) -> None:
        """`load` may take a while: it is called once, in a thread, and returns what makes a signer of the keys."""
        self._cache = cache
        self._load = load
        self._loading = asyncio.Lock()
        self._make: Callable[[SigningKeysRecord], IdentitySigner] | None = None
        self._signer: IdentitySigner | None = None

    @property
    def signer(self) -> "IdentitySigner | None":
        """None: then `ready` has to be awaited."""
        record = self._cache.record
        if record is None or self._make is None:
            return None
        if self._signer is None or self._signer.keys is not record:
            self._signer = self._make(record)
        return self._signer

    async def ready(self) -> None:
        """Return when there is a signer. Raises StoreUnavailableError where the keys can't be read in time."""
        async with self._loading:
            if self._make is None:
                self._make = await asyncio.to_thread(self._load)
                self._cache.start()
        await self._cache.ready()

    def drop(self, keys: Iterable[str]) -> None:
        """The records under these keys have changed."""
        self._cache.drop(keys)

    def drop_all(self) -> None:
        """Changes may have been missed."""
        self._cache.drop_all()

    async def close(self) -> None:
        """Stop reading."""
        await self._cache.close()

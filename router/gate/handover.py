"""From certificates of single hosts to held ones: who fetches ours, and when Caddy is to let go of its own.

A host that had a certificate of its own before its zone's was held keeps it in Caddy's memory until it is due for renewal.
Caddy then asks the gate, in a handshake that it answers with the old certificate as long as that is valid; on a refusal it
drops the old one, and the next handshake fetches ours by `/certificate`. So ask refuses that renewal (`held_certificate`), but
only where nothing can fail by it:

    this Caddy has fetched from us within `FRESH` seconds     else it may not know of `/certificate`, and would have nothing
    the old certificate is known to be valid still            a refusal after its end fails the handshake (`MemoryEvidence`)
    it was not refused already within `ONCE` seconds          who asks again has not taken ours

A renewal that is not refused is allowed as any other. Caddy asks about no name that it has no certificate for and that ours
covers, since it fetches from us first; where it does all the same, something is wrong with that, and budgets count as ever.

Caddys are told apart by their addresses, since their questions have nothing else; all of loopback is one.
"""

from cachetools import TTLCache

from router.base.clock import Clock
from router.certificates.held import Origin
from router.gate.held_table import HeldTable

FRESH = 600.0  # seconds
ONCE = 3600.0  # seconds
LOOPBACK = "loopback"  # for every address of this machine's own
_MAX_CADDYS = 256  # addresses that are remembered
_MAX_NAMES = 10_000  # refused names that are remembered; others are allowed to renew while it is full


class HandOver:
    """Of one node, with the certificates that it holds. `complete` is False while the store's have not all been read: no
    certificate of a single host may be begun then, since its zone's may be among them. `unreadable` are the domains of stored
    certificates whose key can't be decrypted here."""

    def __init__(self, table: HeldTable, clock: Clock) -> None:
        self._table = table
        self._now = clock.monotonic
        self._fetched: dict[str, float] = {}  # when, by Caddy's address; the latest at the end
        self._last = float("-inf")
        self._refused: TTLCache[str, None] = TTLCache(_MAX_NAMES, ONCE, timer=clock.monotonic)
        self.complete = True
        self.unreadable: set[tuple[str, Origin]] = set()

    def __len__(self) -> int:
        return len(self._table)

    def fetch(self, name: str, caddy: str) -> bytes | None:
        """What `/certificate` answers this Caddy for a name, see `HeldTable.answer`."""
        now = self._last = self._now()
        self._fetched.pop(caddy, None)
        self._fetched[caddy] = now
        if len(self._fetched) > _MAX_CADDYS:
            del self._fetched[next(iter(self._fetched))]
        return self._table.answer(name.lower())

    @property
    def was_fetched(self) -> bool:
        """Whether any Caddy has fetched since the start."""
        return bool(self._fetched)

    @property
    def is_fetched(self) -> bool:
        """Whether any Caddy has fetched lately."""
        return self._now() - self._last <= FRESH

    def has(self, name: str) -> bool:
        """Whether a valid certificate is held for a canonical name."""
        return self._table.has(name)

    def holds(self, domain: str) -> bool:
        """Whether a valid certificate for `*.` this domain is held."""
        return self._table.covers(domain)

    def lacks_key(self, zone: str) -> bool:
        """Whether the zone's certificate is stored, and its key can't be decrypted here."""
        return (zone, Origin.MANAGED) in self.unreadable

    def covers(self, domain: str) -> bool:
        """The same, where Caddy takes it from us: then names right under the domain get none of their own."""
        return self.is_fetched and self._table.covers(domain)

    def takes(self, name: str, caddy: str) -> bool:
        """Whether this Caddy serves the name with what we hold, as soon as it has none of its own."""
        at = self._fetched.get(caddy)
        return at is not None and self._now() - at <= FRESH and self._table.has(name)

    def may_refuse(self, name: str) -> bool:
        """Whether a name's renewal was not refused lately."""
        self._refused.expire()
        return name not in self._refused and len(self._refused) < _MAX_NAMES

    def refused(self, name: str) -> None:
        """A name's renewal was refused."""
        self._refused[name] = None

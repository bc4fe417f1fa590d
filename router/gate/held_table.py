"""The held certificates in memory: by the name of a TLS handshake, the answer that Caddy gets.

Each certificate is looked up by its `domain`, which has at most one of each origin; one that was uploaded for a preview domain has
`*.` in front of that. It is served for that name itself and for the names right under it and under its `sandbox.`, where the
certificate covers them; whatever else the certificate covers may belong to somebody else and is never served from it. The first of these that is valid now is the answer:

    1. uploaded, for exactly this name
    2. uploaded, a wildcard: of the domain right above, then of the domain above `sandbox.`
    3. managed, in the same order

Private keys are sealed in memory as they are in the store (`base/secret_box.py`). Only the answers to the names that were
asked for last are kept whole, `HOT` of them. Intermediate certificates are kept once, since thousands share them.

10,000 zones take less than 60 MiB (`python -m bench.held`).
"""

from collections.abc import Collection
from typing import Final

from router.base.clock import Clock
from router.base.secret_box import SecretBox
from router.certificates.held import HeldCertificate, Origin, key_purpose, upload_name
from router.hostname import SANDBOX

HOT = 1000  # answers that are kept as they are sent, of about 6 KB each

_END: Final = b"-----END CERTIFICATE-----\n"
_ZONE: Final = upload_name("")  # what the domain of one that was uploaded for a preview domain begins with
_BELOW_SANDBOX: Final = f"{SANDBOX}."
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/pem-certificate-chain\r\n"
    b"Cache-Control: no-store\r\n"
    b"Content-Length: %d\r\n\r\n"
)


class _Chain:
    """Intermediate certificates in PEM, and how many certificates have them."""

    def __init__(self, pem: bytes) -> None:
        self.pem = pem
        self.users = 0


class _Held:
    """One certificate. Instants are seconds since 1970."""

    def __init__(self, row: HeldCertificate, leaf: bytes, chain: _Chain) -> None:
        self.id = row.id
        self.leaf = leaf
        self.chain = chain
        self.sealed_key = row.sealed_key
        self.not_before = row.not_before.timestamp()
        self.not_after = row.not_after.timestamp()
        domain = row.domain.removeprefix(_ZONE)
        self.exact = row.domain in row.names
        self.right_under = f"*.{domain}" in row.names
        self.under_sandbox = f"*.{_BELOW_SANDBOX}{domain}" in row.names

    def is_of(self, row: HeldCertificate) -> bool:
        """Whether it was made of this row: what is sealed is never the same twice."""
        return self.id == row.id and self.sealed_key == row.sealed_key and self.not_after == row.not_after.timestamp()

    def valid(self, now: float) -> bool:
        return self.not_before <= now < self.not_after


class HeldTable:
    """All held certificates. `hot` bounds the answers that are kept whole."""

    def __init__(self, box: SecretBox, clock: Clock, *, hot: int = HOT) -> None:
        self._box = box
        self._clock = clock
        self._hot = hot
        self._hosts: dict[str, _Held] = {}  # uploaded for custom domains, by domain
        self._zones: dict[str, _Held] = {}  # uploaded for preview domains
        self._managed: dict[str, _Held] = {}
        self._chains: dict[bytes, _Chain] = {}
        self._answers: dict[str, bytes] = {}  # by id, the one that was asked for last at the end

    def __len__(self) -> int:
        return len(self._hosts) + len(self._zones) + len(self._managed)

    def put(self, row: HeldCertificate) -> None:
        """Take a certificate in the place of what its domain had of its origin; one that was removed leaves nothing there.
        Raises SecretLostError where its key can't be opened: nothing is there then either."""
        place, domain = self._place(row.domain, row.origin)
        known = place.get(domain)
        if known is not None and row.removed_at is None and known.is_of(row):
            return
        self.drop(row.domain, row.origin)
        if row.removed_at is not None:
            return
        self._box.open(row.sealed_key, purpose=key_purpose(row.id))
        pem = row.chain.encode("ascii")
        end = pem.find(_END) + len(_END)
        chain = self._chains.setdefault(pem[end:], _Chain(pem[end:]))
        chain.users += 1
        place[domain] = _Held(row, pem[:end], chain)

    def drop(self, domain: str, origin: Origin) -> None:
        """Forget what a domain has of an origin."""
        place, name = self._place(domain, origin)
        held = place.pop(name, None)
        if held is None:
            return
        self._answers.pop(held.id, None)
        held.chain.users -= 1
        if not held.chain.users:
            del self._chains[held.chain.pem]

    def keep_only(self, found: Collection[tuple[str, Origin]]) -> None:
        """Forget what is not among these."""
        known = [(domain, Origin.UPLOADED) for domain in self._hosts]
        known += [(_ZONE + zone, Origin.UPLOADED) for zone in self._zones]
        known += [(zone, Origin.MANAGED) for zone in self._managed]
        for domain, origin in known:
            if (domain, origin) not in found:
                self.drop(domain, origin)

    def count(self, origin: Origin) -> int:
        """How many there are."""
        return len(self._managed) if origin is Origin.MANAGED else len(self._hosts) + len(self._zones)

    def answer(self, name: str) -> bytes | None:
        """The whole HTTP response with the certificate, its chain and its key for a name in lower case; None where no valid
        one is held."""
        held = self._find(name)
        if held is None:
            return None
        answer = self._answers.pop(held.id, None)
        if answer is None:
            answer = self._made(held)
            if len(self._answers) >= self._hot:
                del self._answers[next(iter(self._answers))]
        self._answers[held.id] = answer
        return answer

    def has(self, name: str) -> bool:
        """Whether a valid certificate is held for a name in lower case."""
        return self._find(name) is not None

    def covers(self, domain: str) -> bool:
        """Whether a valid certificate for `*.` this domain is held."""
        now = self._clock.now().timestamp()
        above = _above_sandbox(domain)
        return _wildcard(self._zones, domain, above, now) is not None or (
            _wildcard(self._managed, domain, above, now) is not None
        )

    def _find(self, name: str) -> _Held | None:
        now = self._clock.now().timestamp()
        parent = name.partition(".")[2]
        above = _above_sandbox(parent)
        own = self._hosts.get(name)
        if own is not None and own.exact and own.valid(now):
            return own
        wildcard = _wildcard(self._zones, parent, above, now)
        if wildcard is not None:
            return wildcard
        own = self._managed.get(name)
        if own is not None and own.exact and own.valid(now):
            return own
        return _wildcard(self._managed, parent, above, now)

    def _made(self, held: _Held) -> bytes:
        key = self._box.open(held.sealed_key, purpose=key_purpose(held.id)).encode("ascii")
        body = held.leaf + held.chain.pem + key
        return _HEAD % len(body) + body

    def _place(self, domain: str, origin: Origin) -> tuple[dict[str, _Held], str]:
        """Where what a row's domain has of an origin is, and under which name."""
        if origin is Origin.MANAGED:
            return self._managed, domain
        if domain.startswith(_ZONE):
            return self._zones, domain[len(_ZONE) :]
        return self._hosts, domain


def _above_sandbox(domain: str) -> str:
    """The domain above one that begins with `sandbox.`; empty for any other."""
    return domain[len(_BELOW_SANDBOX) :] if domain.startswith(_BELOW_SANDBOX) else ""


def _wildcard(held: dict[str, _Held], parent: str, above: str, now: float) -> _Held | None:
    """The valid certificate for `*.` the parent: its own, or that of the domain above `sandbox.`."""
    one = held.get(parent)
    if one is not None and one.right_under and one.valid(now):
        return one
    one = held.get(above)
    if one is not None and one.under_sandbox and one.valid(now):
        return one
    return None

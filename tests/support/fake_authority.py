"""An authority in memory, with a CA of its own and the faults that real ones have; and records that are published at once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from router.base.clock import Clock
from router.certificates.authority import (
    Challenge,
    OrderSeen,
    Problem,
    RefusedError,
    RenewalWindow,
    Stage,
)
from tests.support.held_certificates import DIRECTORY

_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake CA")])


@dataclass
class _Order:
    names: tuple[str, ...]
    replaces: str | None
    stage: Stage = Stage.PENDING
    problem: Problem | None = None
    chain: str | None = None
    looks: int = 0  # until it goes on by itself
    answered: bool = False


@dataclass
class FakeRecords:
    """A ChallengeRecords. `values` are what is published; `faults` are raised, one by one, in the place of publishing."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: list[Exception] = field(default_factory=list)

    async def publish(self, token: str, values: Sequence[str]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.values[token] = tuple(values)

    async def withdraw(self, token: str, values: Sequence[str]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        left = tuple(value for value in self.values.pop(token, ()) if value not in values)
        if left:
            self.values[token] = left


class FakeAuthority:
    """An Authority. `faults[method]` are raised, one by one, before the method does anything; `after[method]` after it has done
    everything, as where an answer gets lost. `lifetime` is of what it issues; `slow` how often it says "processing" first."""

    def __init__(self, clock: Clock, records: FakeRecords, *, lifetime: timedelta = timedelta(days=90)) -> None:
        self._clock = clock
        self._records = records
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.lifetime = lifetime
        self.directory = DIRECTORY
        self.orders: dict[str, _Order] = {}
        self.placed: Counter[tuple[str, ...]] = Counter()
        self.issued: Counter[tuple[str, ...]] = Counter()
        self.faults: dict[str, list[Exception]] = {}
        self.after: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self.lists_orders = True
        self.slow = 0
        self.window: Callable[[str], RenewalWindow | None] = lambda _ari_id: None
        self.refuses: Problem | None = None  # every validation
        self.proved: set[str] = set()  # names that need no challenge
        self.accounts: dict[str, str] = {}  # by key

    async def open_account(self, key: str, uri: str | None) -> str:
        self._called("open_account")
        if uri is None:
            return self.accounts.setdefault(key, f"https://ca.example/acct/{len(self.accounts) + 1}")
        if self.accounts.get(key) != uri:
            raise RefusedError("accountDoesNotExist", "no such account")
        return uri

    async def place(self, names: Sequence[str], *, replaces: str | None = None) -> OrderSeen:
        self._called("place")
        url = f"https://ca.example/order/{len(self.orders) + 1}"
        self.orders[url] = _Order(tuple(names), replaces)
        self.placed[tuple(names)] += 1
        self._lost("place")
        return self._seen(url)

    async def find(self, names: Sequence[str]) -> str | None:
        self._called("find")
        if not self.lists_orders:
            return None
        going = (Stage.PENDING, Stage.READY, Stage.PROCESSING)
        return next(
            (url for url, order in self.orders.items() if order.names == tuple(names) and order.stage in going), None
        )

    async def look(self, url: str) -> OrderSeen:
        self._called("look")
        order = self._order(url)
        if order.stage is Stage.PENDING and order.answered:
            if order.looks:
                order.looks -= 1
            elif self.refuses is not None:
                order.stage, order.problem = Stage.INVALID, self.refuses
            else:
                order.stage = Stage.READY
        elif order.stage is Stage.PROCESSING:
            if order.looks:
                order.looks -= 1
            else:
                order.stage = Stage.VALID
        return self._seen(url)

    async def answer(self, url: str) -> None:
        self._called("answer")
        order = self._order(url)
        published = {value for values in self._records.values.values() for value in values}
        for challenge in self._seen(url).challenges:
            if not challenge.done and challenge.txt not in published:
                order.stage, order.problem = Stage.INVALID, Problem("unauthorized", "no such TXT record")
        order.answered, order.looks = True, self.slow
        self._lost("answer")

    async def finalize(self, url: str, csr: str) -> OrderSeen:
        self._called("finalize")
        order = self._order(url)
        if order.stage is not Stage.READY:
            raise RefusedError("orderNotReady", "it is not ready")
        order.chain = self._issue(x509.load_pem_x509_csr(csr.encode()), order.names)
        self.issued[order.names] += 1
        order.stage, order.looks = Stage.PROCESSING, self.slow
        if not self.slow:
            order.stage = Stage.VALID
        self._lost("finalize")
        return self._seen(url)

    async def fetch(self, certificate: str) -> str:
        self._called("fetch")
        chain = self._order(certificate.removesuffix("/cert")).chain
        assert chain is not None
        return chain

    async def renewal_window(self, ari_id: str) -> RenewalWindow | None:
        self._called("renewal_window")
        return self.window(ari_id)

    async def revoke(self, chain: str, reason: int) -> None:
        self._called("revoke")

    async def roll_key(self, new_key: str) -> None:
        self._called("roll_key")
        (old,) = list(self.accounts)[-1:]
        self.accounts[new_key] = self.accounts.pop(old)
        self._lost("roll_key")

    async def close(self) -> None:
        """Nothing is under way."""

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if faults := self.faults.get(method):
            raise faults.pop(0)

    def _lost(self, method: str) -> None:
        if faults := self.after.get(method):
            raise faults.pop(0)

    def _order(self, url: str) -> _Order:
        if url not in self.orders:
            raise RefusedError("notFound", "no such order")
        return self.orders[url]

    def _seen(self, url: str) -> OrderSeen:
        order = self.orders[url]
        done = order.stage not in (Stage.PENDING, Stage.INVALID)
        challenges = tuple(Challenge(name, f"txt of {url} {name}", done or name in self.proved) for name in order.names)
        if order.stage is Stage.PENDING and all(challenge.done for challenge in challenges):
            order.stage = Stage.READY
        certificate = f"{url}/cert" if order.stage is Stage.VALID else None
        return OrderSeen(
            url=url, stage=order.stage, challenges=challenges, problem=order.problem, certificate=certificate
        )

    def _issue(self, csr: x509.CertificateSigningRequest, names: Sequence[str]) -> str:
        now: datetime = self._clock.now().replace(microsecond=0)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(_CA_NAME)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + self.lifetime)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return leaf.public_bytes(Encoding.PEM).decode()

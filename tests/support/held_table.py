"""Held certificates for tests of who gets them: a table with real keys, and one that only answers."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.secret_box import SecretBox
from router.certificates.held import HeldCertificate, HeldDelta, Origin, key_purpose
from router.domains.names import WILDCARDS

SECRET = b"k" * 31 + b"!"
BOX = SecretBox([SECRET])
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


class HeldAnswers:
    """Bodies by name, as a table that has certificates would answer them, and who asked for what."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self.bodies = dict(bodies)
        self.fetched: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.bodies)

    def fetch(self, name: str, caddy: str) -> bytes | None:
        self.fetched.append((name, caddy))
        body = self.bodies.get(name)
        return None if body is None else HEAD % len(body) + body


class MemoryHeldLog:
    """A twin of the store's log. `rows` are in the order in which they changed."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, HeldCertificate]] = []
        self.now = 1000.0
        self.error: Exception | None = None
        self.reads = 0

    def put(self, row: HeldCertificate) -> None:
        self.now += 1.0
        self.rows = [one for one in self.rows if (one[1].domain, one[1].origin) != (row.domain, row.origin)]
        self.rows.append((self.now, row))

    async def changes_since(self, since: float | None, limit: int, after: tuple[float, str] | None = None) -> HeldDelta:
        self.reads += 1
        if self.error is not None:
            raise self.error
        found = [
            (at, row)
            for at, row in self.rows
            if (row.removed_at is None if since is None else at > since) and (after is None or (at, row.id) > after)
        ][:limit]
        last = found[-1] if len(found) == limit else None
        return HeldDelta([row for _, row in found], self.now - 0.5, None if last is None else (last[0], last[1].id))


@functools.cache
def authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A CA of that name, which signs itself: its key, and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        _builder(own, own, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, built.sign(key, hashes.SHA256())


def authority_pem(name: str) -> str:
    """That CA's certificate."""
    return authority(name)[1].public_bytes(serialization.Encoding.PEM).decode()


@functools.cache
def signed(names: tuple[str, ...], issuer: str) -> tuple[str, str, str]:
    """(chain, key, serial) of a certificate for these names and of the CA that has signed it, in PEM. It is valid for years, whatever a
    row says of it: what a table looks at is the row."""
    ca_key, ca = authority(issuer)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "held")])
    leaf = (
        _builder(subject, ca.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, ca))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain.decode(), private.decode(), f"{leaf.serial_number:x}"


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2035, 1, 1, tzinfo=UTC))
    )


def a_row(domain: str, now: datetime, *, box: SecretBox = BOX, **other: Any) -> HeldCertificate:
    """A managed wildcard of 90 days that began an hour ago, with a real key, unless `other` says otherwise."""
    names = tuple(other.get("names", [f"{wildcard}.{domain.removeprefix('*.')}" for wildcard in WILDCARDS]))
    issuer = other.pop("issuer", "Test CA")
    chain, key, serial = signed(names, issuer)
    row_id = new_id()
    fields = {
        "id": row_id,
        "domain": domain,
        "tenant_id": None,
        "origin": Origin.MANAGED,
        "names": names,
        "issuer": issuer,
        "serial": serial,
        "not_before": now - timedelta(hours=1),
        "not_after": now + timedelta(days=90),
        "chain": chain,
        "sealed_key": box.seal(key, purpose=key_purpose(row_id)),
        "created_at": now,
    }
    return HeldCertificate(**{**fields, **other})


def an_uploaded(domain: str, clock: Clock, *names: str, **other: Any) -> HeldCertificate:
    """One that a customer has brought, for its own domain unless it has other names."""
    return a_row(domain, clock.now(), origin=Origin.UPLOADED, names=names or (domain,), issuer="Brought", **other)


def removed(row: HeldCertificate) -> HeldCertificate:
    """The tombstone of a row, as the store leaves it."""
    fields = {name: getattr(row, name) for name in row.__slots__}
    return HeldCertificate(
        **{**fields, "names": (), "chain": "", "sealed_key": "", "removed_at": datetime(2026, 1, 2, tzinfo=UTC)}
    )

"""A certificate authority in memory: a root, an intermediate, and certificates of any kind, right and wrong."""

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
_PEM = serialization.Encoding.PEM


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same one each time: making one takes a while."""
    return rsa.generate_private_key(65537, bits)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(_PEM).decode() for one in certificates)


def key_pem(key: Any, form: str = "PKCS8", password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(_PEM, getattr(serialization.PrivateFormat, form), encryption).decode()


@dataclass(frozen=True)
class Signer:
    """An authority's certificate and its key."""

    certificate: x509.Certificate
    key: Any

    def sign(
        self,
        names: tuple[str, ...] = (),
        *,
        key: Any = None,
        subject: str | None = None,
        days: tuple[float, float] = (-1, 80),
        now: dt.datetime = NOW,
        digest: Any = None,
        authority: bool | None = None,
        path_length: int | None = None,
        usages: tuple[Any, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
        signs: bool | None = None,
        extra: tuple[x509.ExtensionType, ...] = (),
    ) -> "Signer":
        """A certificate of this authority. `authority` None: without basic constraints; `signs` False: a key usage that lacks what is
        needed."""
        key = key if key is not None else ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(subject if subject is not None else (names or ("nobody",))[0]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        if authority is not None:
            builder = builder.add_extension(x509.BasicConstraints(authority, path_length), True)
        if usages is not None and not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        builder = _identified(builder, self.key, key)
        if signs is not None or authority:
            may = signs is not False
            builder = builder.add_extension(_usage(digital=may, certificates=may and bool(authority)), True)
        for extension in extra:
            builder = builder.add_extension(extension, False)
        return Signer(builder.sign(self.key, digest or hashes.SHA256()), key)

    def intermediate(self, subject: str = "Test Intermediate", **changes: Any) -> "Signer":
        return self.sign(**{"subject": subject, "authority": True, "path_length": 0, "days": (-100, 1000), **changes})


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def root(subject: str = "Test Root", key: Any = None, now: dt.datetime = NOW) -> Signer:
    """An authority that signs itself."""
    return self_signed(subject, key=key, authority=True, now=now)


def self_signed(
    subject: str, names: tuple[str, ...] = (), *, key: Any = None, authority: bool = False, now: dt.datetime = NOW
) -> Signer:
    key = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 100 * DAY)
        .not_valid_after(now + 3000 * DAY)
        .add_extension(x509.BasicConstraints(authority, None), True)
    )
    builder = _identified(builder, key, key)
    if authority:
        builder = builder.add_extension(_usage(digital=True, certificates=True), True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return Signer(builder.sign(key, hashes.SHA256()), key)


def _identified(builder: x509.CertificateBuilder, by: Any, key: Any) -> x509.CertificateBuilder:
    """With the identifiers of both keys, which strict clients want."""
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(*, digital: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital,
        content_commitment=not digital,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def bundle_of(*names: str, issuer: str = "Test Intermediate") -> tuple[str, str]:
    """A chain for these names, valid by any clock that tests have, and its key."""
    top = _ROOT.intermediate(issuer, days=(-1000, 5000))
    leaf = top.sign(names, authority=False, days=(-700, 4000))
    return pem(leaf.certificate, top.certificate), key_pem(leaf.key)


_ROOT = root()

"""PEM text (RFC 7468) to certificates and at most one private key. What it holds is a customer's: each block is bounded before
`cryptography` sees it, and nothing else than these two is taken."""

import base64
import binascii
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from router.base.x509_errors import UNREADABLE
from router.certificates.findings import CHAIN, KEY, Finding, RefusedCertificateError, refusal

MAX_TEXT: Final = 64 * 1024  # characters; a chain of five with RSA keys has 10,000
MAX_CERTIFICATES: Final = 10
MAX_SERIAL: Final = 160  # bits (RFC 5280 section 4.1.2.2)
MAX_KEY: Final = 3000  # bytes of DER; an RSA key of 4096 bits has 2,400

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
T = TypeVar("T")

_BEGIN: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_KEYS: Final = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
_CERTIFICATES: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_IGNORED: Final = frozenset({"EC PARAMETERS"})  # `openssl ecparam -genkey` writes it before the key, which has it too
_REMOVE: Final = "Remove it from the text."
_REMEDIES: Final = {
    "CERTIFICATE REQUEST": "Send what your authority answered the request with.",
    "NEW CERTIFICATE REQUEST": "Send what your authority answered the request with.",
    "PKCS7": "Convert it with `openssl pkcs7 -print_certs -in FILE -out certificate.pem`.",
    "TRUSTED CERTIFICATE": "Convert it with `openssl x509 -in FILE -out certificate.pem`.",
    "OPENSSH PRIVATE KEY": "Convert it with `ssh-keygen -p -m PEM -f FILE`.",
    "PUBLIC KEY": "Send the private key.",
}


@dataclass(frozen=True, slots=True)
class Pem:
    """What a text has, as it stands there. `key` is the one private key, checked to be whole; `foreign_key` says what it is
    where no browser takes it."""

    certificates: tuple[x509.Certificate, ...]
    key: PrivateKey | None = field(default=None, repr=False)
    foreign_key: str | None = None


def read(certificate: str, private_key: str | None = None) -> Pem:
    """The certificates of the one text, and the key of the other, or of the same. Raises RefusedCertificateError."""
    findings: list[Finding] = []
    blocks: list[tuple[str, str, bytes]] = []
    for name, text in ((CHAIN, certificate), (KEY, private_key or "")):
        found = _blocks(name, text, findings)
        if not found and not findings:
            if name == CHAIN:
                findings.append(refusal("certificate_missing" if not text.strip() else "not_pem"))
            elif text.strip():
                findings.append(refusal("key_unreadable", KEY))
        blocks += ((name, label, der) for label, der in found)
    _refuse(findings)
    ders = [der for _, label, der in blocks if label in _CERTIFICATES]
    keys = [(name, label, der) for name, label, der in blocks if label not in _CERTIFICATES]
    if not ders:
        findings.append(refusal("certificate_missing"))
    if len(ders) > MAX_CERTIFICATES:
        findings.append(refusal("too_many_certificates", count=len(ders), most=MAX_CERTIFICATES))
    if len(keys) > 1:
        findings.append(refusal("several_keys", KEY, count=len(keys)))
    _refuse(findings)
    certificates = tuple(_certificate(place, der, findings) for place, der in enumerate(ders, 1))
    key = _key(keys[0], findings) if keys else None
    _refuse(findings)
    known = tuple(one for one in certificates if one is not None)
    if key is None or isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return Pem(known, key)
    return Pem(known, None, describe_key(key))


def read_key(text: str) -> PrivateKey:
    """A key of our own, as it was kept."""
    key = serialization.load_pem_private_key(text.encode(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("not a key that is kept")
    return key


def write_key(key: PrivateKey) -> str:
    """As PKCS #8 in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def describe_key(key: object) -> str:
    """What kind a key, private or public, is: "EC on secp521r1", "Ed25519"."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return f"EC on {key.curve.name}"
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_") or "of an unknown kind"


def attempt(work: Callable[[], T]) -> T | None:
    """What `cryptography` makes of a customer's bytes; None where it can't read them. It reads most of a certificate only
    when that is asked for, and warns of what it will refuse in later versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return work()
        except UNREADABLE:
            return None


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise RefusedCertificateError(findings)


def _blocks(name: str, text: str, findings: list[Finding]) -> list[tuple[str, bytes]]:
    """The blocks of one text: label and DER. Words between them are left out, as `openssl` writes such."""
    if len(text) > MAX_TEXT:
        findings.append(refusal("too_large", name, size=len(text), most=MAX_TEXT))
        return []
    found: list[tuple[str, bytes]] = []
    position = 0
    while (begin := _BEGIN.search(text, position)) is not None:
        label = begin[1]
        end = text.find(f"-----END {label}-----", begin.end())
        if end < 0:
            findings.append(refusal("pem_broken", name, what=f"BEGIN {label} has no END"))
            break
        body, position = text[begin.end() : end], end
        if label == "ENCRYPTED PRIVATE KEY" or (label in _KEYS and "ENCRYPTED" in body):
            findings.append(refusal("key_encrypted", KEY))
        elif label in _KEYS | _CERTIFICATES:
            try:
                found.append((label, base64.b64decode("".join(body.split()), validate=True)))
            except (binascii.Error, ValueError):
                findings.append(
                    refusal("pem_broken", name, what=f"what is between BEGIN and END {label} is not base64")
                )
        elif label not in _IGNORED:
            remedy = _REMEDIES.get(label, _REMOVE)
            findings.append(refusal("not_a_certificate", name, what=label, remedy=remedy))
    return found


def _certificate(place: int, der: bytes, findings: list[Finding]) -> x509.Certificate | None:
    """One whose parts can all be read: after this none of them raises."""
    certificate = attempt(lambda: check_readable(x509.load_der_x509_certificate(der)))
    if certificate is None:
        why = "it is not a certificate, or has a part that is not as X.509 wants it"
        findings.append(refusal("certificate_unreadable", place=place, why=why))
    return certificate


def check_readable(certificate: x509.Certificate) -> x509.Certificate:
    """The certificate, each part of which has been read, so that none raises later. Raises one of UNREADABLE."""
    certificate.public_key()
    for extension in certificate.extensions:
        _ = extension.value
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.version
    if certificate.serial_number.bit_length() > MAX_SERIAL:
        raise ValueError("serial number")
    _ = certificate.signature_hash_algorithm
    certificate.subject.rfc4514_string()
    certificate.issuer.rfc4514_string()
    return certificate


def _key(block: tuple[str, str, bytes], findings: list[Finding]) -> PrivateKeyTypes | None:
    name, _, der = block
    if len(der) > MAX_KEY:
        findings.append(refusal("key_too_large", KEY))
        return None
    # OpenSSL's own check of an RSA key takes 250 ms for 4096 bits and holds the interpreter's lock; `_is_sound` takes none.
    key = attempt(lambda: serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True))
    if key is None or (isinstance(key, rsa.RSAPrivateKey) and not _is_sound(key)):
        findings.append(refusal("key_unreadable", name))
        return None
    return key


def _is_sound(key: rsa.RSAPrivateKey) -> bool:
    """Whether the numbers of an RSA key fit each other (RFC 8017 §3.2). That its factors are primes matters to its owner alone."""
    numbers = key.private_numbers()
    public, p, q, d = numbers.public_numbers, numbers.p, numbers.q, numbers.d
    if (
        p < 3
        or q < 3
        or p % 2 == 0
        or q % 2 == 0
        or p * q != public.n
        or not 3 <= public.e < 2**33
        or public.e % 2 == 0
    ):
        return False
    return (
        0 < d < public.n
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and 0 < numbers.iqmp < p
        and numbers.iqmp * q % p == 1
        and public.e * d % (p - 1) == 1
        and public.e * d % (q - 1) == 1
    )

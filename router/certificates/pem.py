"""What a customer uploads, from text to a certificate that can be served, or to all that is wrong with it.

What is refused: `findings.py`. The rules are those of browsers (CA/Browser Forum Baseline Requirements §6.1.5, §7.1) and of TLS 1.3
(RFC 8446 §4.4.2). Whether browsers trust the authority is not checked: that differs between them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from router.base.clock import iso
from router.certificates.chain import (
    MAX_RSA,
    MIN_RSA,
    check_issuers,
    check_signatures,
    display_name,
    extension,
    is_authority,
    order,
    public_bytes,
)
from router.certificates.findings import KEY, Finding, RefusedCertificateError, refusal, remark
from router.certificates.pem_blocks import PrivateKey, describe_key, read, read_key, write_key
from router.domains.names import WILDCARDS

_CURVES: Final = ("secp256r1", "secp384r1")
_LEAST_LEFT: Final = timedelta(hours=24)
SOON: Final = timedelta(days=30)
_MAX_SHOWN: Final = 5  # names of a certificate in a sentence


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate is for: `names` as they have to be in it, of which `any_of` says that one is enough."""

    names: tuple[str, ...]
    any_of: bool = False

    @classmethod
    def host(cls, fqdn: str) -> "Wanted":
        """A custom domain."""
        return cls((fqdn,))

    @classmethod
    def zone(cls, domain: str) -> "Wanted":
        """A preview domain: both of its wildcards, or one of them."""
        return cls(tuple(f"{wildcard}.{domain}" for wildcard in WILDCARDS), any_of=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A certificate that can be served. `chain` is PEM, the leaf first, without its root; `key` is PKCS #8 in PEM; `names` are those of what
    was wanted that it covers, and the only ones that it may be served for. `serial` is hexadecimal."""

    chain: str
    key: str = field(repr=False)
    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    remarks: tuple[Finding, ...] = ()


def inspect(
    certificate: str, private_key: str | None, *, wanted: Wanted, now: datetime, kept_keys: Sequence[str] = ()
) -> Uploaded:
    """What a customer's texts are. Where they have no key, the one of `kept_keys` that the certificate is for is taken.

    Raises RefusedCertificateError with everything that is wrong; what can't be looked at before something else is put right comes after
    that.
    """
    pem = read(certificate, private_key)
    if pem.foreign_key is not None:
        raise RefusedCertificateError([refusal("key_type", KEY, what=pem.foreign_key)])
    key = pem.key if pem.key is not None else _kept(pem.certificates, kept_keys)
    findings = check_signatures(pem.certificates)
    if findings:
        raise RefusedCertificateError(findings)
    remarks: list[Finding] = []
    chain = order(pem.certificates, public_bytes(key), remarks)
    leaf = chain[0]
    names = _covered(leaf, wanted)
    findings = [
        *_check_key(leaf),
        *_check_use(leaf),
        *_check_dates(leaf, now),
        *_check_names(leaf, wanted, names),
        *check_issuers(chain, now),
    ]
    if findings:
        raise RefusedCertificateError(findings)
    remarks += partly(wanted, names)
    if leaf.not_valid_after_utc - now < SOON:
        remarks.append(remark("ends_soon", date=iso(leaf.not_valid_after_utc)))
    return Uploaded(
        chain="".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain),
        key=write_key(key),
        names=names,
        issuer=display_name(leaf.issuer),
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        remarks=tuple(remarks),
    )


def partly(wanted: Wanted, names: Collection[str]) -> list[Finding]:
    """That only some of what was wanted is covered, where it is so."""
    missing = [name for name in wanted.names if name not in names]
    return [remark("covers_zone_partly", covered=_listed(names), missing=_listed(missing))] if missing else []


def _kept(certificates: Sequence[x509.Certificate], kept_keys: Sequence[str]) -> PrivateKey:
    """The key of ours that one of the certificates is for. Raises RefusedCertificateError."""
    if not kept_keys:
        raise RefusedCertificateError([refusal("key_missing", KEY)])
    certified = {public_bytes(one.public_key()) for one in certificates}
    for text in kept_keys:
        key = read_key(text)
        if public_bytes(key) in certified:
            return key
    raise RefusedCertificateError([refusal("kept_key_mismatch")])


def _check_key(leaf: x509.Certificate) -> list[Finding]:
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA:
            return [refusal("key_weak", bits=key.key_size)]
        return [refusal("key_too_large")] if key.key_size > MAX_RSA else []
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return []
    return [refusal("key_type", what=describe_key(key))]


def _check_use(leaf: x509.Certificate) -> list[Finding]:
    found = []
    if is_authority(leaf):
        found.append(refusal("leaf_is_authority"))
    extended, usage = extension(leaf, x509.ExtendedKeyUsage), extension(leaf, x509.KeyUsage)
    if extended is None or ExtendedKeyUsageOID.SERVER_AUTH not in extended:
        found.append(refusal("no_server_auth"))
    if usage is not None and not usage.digital_signature:
        found.append(refusal("key_usage"))
    features = extension(leaf, x509.TLSFeature)
    if features is not None and x509.TLSFeatureType.status_request in features:
        found.append(refusal("must_staple"))
    return found


def _check_dates(leaf: x509.Certificate, now: datetime) -> list[Finding]:
    ends, begins = leaf.not_valid_after_utc, leaf.not_valid_before_utc
    if ends <= now:
        return [refusal("expired", date=iso(ends))]
    if begins > now:
        return [refusal("not_yet_valid", date=iso(begins))]
    return [refusal("ends_within_a_day", date=iso(ends))] if ends - now < _LEAST_LEFT else []


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Its DNS names, canonical."""
    found = extension(leaf, x509.SubjectAlternativeName)
    return () if found is None else tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))


def _covered(leaf: x509.Certificate, wanted: Wanted) -> tuple[str, ...]:
    """Those of the wanted names that it is valid for. A wildcard stands for one label (RFC 9525 §6.3)."""
    found = frozenset(_names(leaf))
    return tuple(
        name
        for name in wanted.names
        if name in found or (not name.startswith("*.") and f"*.{name.partition('.')[2]}" in found)
    )


def _check_names(leaf: x509.Certificate, wanted: Wanted, covered: Collection[str]) -> list[Finding]:
    if covered and (wanted.any_of or len(covered) == len(wanted.names)):
        return []
    asked = _listed(wanted.names)
    names = _names(leaf)
    return (
        [refusal("names_not_covered", wanted=asked, found=_listed(names))]
        if names
        else [refusal("names_missing", wanted=asked)]
    )


def _listed(names: Collection[str]) -> str:
    """At most a few names, of what is printable."""
    shown = ["".join(one for one in name if one.isprintable())[:255] for name in list(names)[:_MAX_SHOWN]]
    more = len(names) - len(shown)
    return " and ".join(shown) if not more else f"{', '.join(shown)} and {more} more"

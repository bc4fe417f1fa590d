"""The order of a chain: the certificate of a key first, each one after it the issuer of the one before (RFC 8446 §4.4.2), every
signature verified. Certificates of a customer; those that are no part of it are refused, not dropped, since they may show a mistake.

Where the given order is right it stands. Else the issuers are looked for by name and signature, and where that finds
one for each, the order is put right.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from router.base.clock import iso
from router.certificates.findings import Finding, RefusedCertificateError, refusal, remark
from router.certificates.pem_blocks import describe_key

E = TypeVar("E", bound=x509.ExtensionType)

MIN_RSA: Final = 2048
MAX_RSA: Final = 4096

_MAX_NAME: Final = 100  # characters of a certificate's name in a sentence
_ISSUER_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_WEAK: Final = {"md5": "MD5", "sha1": "SHA-1"}


def public_bytes(key: object) -> bytes:
    """What two keys are compared by: the public key's SubjectPublicKeyInfo."""
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        key = key.public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]  # every public key has it


def name_of(certificate: x509.Certificate) -> str:
    """The subject of a certificate, for a sentence."""
    return display_name(certificate.subject)


def display_name(name: x509.Name) -> str:
    """A name's common name, or the whole of it where it has none; of what is printable, and not long."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    shown = "".join(one for one in text if one.isprintable())[:_MAX_NAME]
    return shown or "a certificate without a name"


def order(
    given: Sequence[x509.Certificate], leaf_key: bytes | None, remarks: list[Finding]
) -> tuple[x509.Certificate, ...]:
    """The chain without its root, the leaf first: the one of `leaf_key` (None: the first that is no authority's). Adds to `remarks` what was
    put right. Raises RefusedCertificateError."""
    certificates = list(dict.fromkeys(given))
    remarks += [remark("duplicate_left_out", subject=name_of(one)) for one in certificates if given.count(one) > 1]
    leaf = _leaf(certificates, leaf_key)
    if _signs_itself(leaf):
        raise RefusedCertificateError([refusal("self_signed")])
    chain = certificates if certificates[0] is leaf and _is_in_order(certificates) else _sorted(certificates, leaf)
    if chain != certificates:
        remarks.append(remark("order_corrected"))
    if len(chain) > 1 and _signs_itself(chain[-1]):
        remarks.append(remark("root_left_out", subject=name_of(chain[-1])))
        chain = chain[:-1]
    if len(chain) == 1:
        subject, issuer = name_of(leaf), display_name(leaf.issuer)
        raise RefusedCertificateError([refusal("chain_incomplete", subject=subject, issuer=issuer)])
    return tuple(chain)


def check_signatures(certificates: Sequence[x509.Certificate]) -> list[Finding]:
    """Which of them are signed with what can be forged. How a root signs itself does not matter."""
    found = []
    for certificate in certificates:
        algorithm = certificate.signature_hash_algorithm
        weak = _WEAK.get(algorithm.name) if algorithm is not None else None
        if weak is not None and not _signs_itself(certificate):
            found.append(refusal("signature_weak", subject=name_of(certificate), what=weak))
    return found


def check_issuers(chain: Sequence[x509.Certificate], now: datetime) -> list[Finding]:
    """What is wrong with the intermediates of a chain that is in order."""
    found: list[Finding] = []
    for below, issuer in enumerate(chain[1:]):
        subject = name_of(issuer)
        if not _may_issue(issuer, below):
            found.append(refusal("issuer_not_authority", subject=subject))
        if issuer.not_valid_after_utc <= now:
            found.append(refusal("issuer_expired", subject=subject, date=iso(issuer.not_valid_after_utc)))
        if issuer.not_valid_before_utc > now:
            found.append(refusal("issuer_not_yet_valid", subject=subject, date=iso(issuer.not_valid_before_utc)))
        if (problem := _key_problem(issuer)) is not None:
            found.append(refusal("issuer_key", subject=subject, what=problem))
    return found


def _leaf(certificates: Sequence[x509.Certificate], leaf_key: bytes | None) -> x509.Certificate:
    if leaf_key is None:
        return next((one for one in certificates if not is_authority(one)), certificates[0])
    matching = [one for one in certificates if public_bytes(one.public_key()) == leaf_key]
    if not matching:
        raise RefusedCertificateError([refusal("key_mismatch", "private_key")])
    if len(matching) > 1:
        raise RefusedCertificateError([refusal("several_leaves")])
    return matching[0]


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says CA:TRUE."""
    found = extension(certificate, x509.BasicConstraints)
    return found is not None and found.ca


def _is_in_order(certificates: Sequence[x509.Certificate]) -> bool:
    return all(_issued(*pair) for pair in itertools.pairwise(certificates))


def _sorted(certificates: Sequence[x509.Certificate], leaf: x509.Certificate) -> list[x509.Certificate]:
    """The chain from the leaf up, by name and signature. Raises RefusedCertificateError where it is not clear, or not all belong."""
    chain, rest = [leaf], [one for one in certificates if one is not leaf]
    while rest:
        named = [one for one in rest if one.subject == chain[-1].issuer]
        issuers = [one for one in named if _issued(chain[-1], one)]
        if len(issuers) > 1:
            raise RefusedCertificateError([refusal("chain_ambiguous", subject=name_of(chain[-1]))])
        if named and not issuers:
            subject, issuer = name_of(chain[-1]), name_of(named[0])
            raise RefusedCertificateError([refusal("chain_signature", subject=subject, issuer=issuer)])
        if not issuers:
            break
        chain += issuers
        rest.remove(issuers[0])
    if rest:
        missing = []
        if len(chain) == 1:
            missing = [refusal("chain_incomplete", subject=name_of(leaf), issuer=display_name(leaf.issuer))]
        raise RefusedCertificateError([*missing, *(refusal("chain_unrelated", subject=name_of(one)) for one in rest)])
    return chain


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has signed it. A key that is too large is not tried: it would take seconds."""
    if certificate.issuer != issuer.subject:
        return False
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey) and (key.key_size > MAX_RSA or key.public_numbers().e >= 2**33):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _signs_itself(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _may_issue(issuer: x509.Certificate, below: int) -> bool:
    """Whether it may sign certificates, with `below` other authorities between it and the leaf (RFC 5280 §4.2.1.9)."""
    constraints = extension(issuer, x509.BasicConstraints)
    usage = extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        return False
    return constraints.path_length is None or below <= constraints.path_length


def _key_problem(issuer: x509.Certificate) -> str | None:
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return None if MIN_RSA <= key.key_size <= MAX_RSA else f"it is RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if key.curve.name in _ISSUER_CURVES else f"it is on {key.curve.name}"
    return f"it is {describe_key(key)}"


def extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """The value of one of its extensions."""
    for found in certificate.extensions:
        if isinstance(found.value, kind):
            return found.value
    return None

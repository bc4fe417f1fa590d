"""What the authority has issued, read before it is held: nothing in it is taken on trust."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from router.base.x509_errors import UNREADABLE
from router.certificates.ari import ari_id
from router.certificates.authority import BadAnswerError
from router.certificates.pem_blocks import check_readable

MAX_CHAIN = 64 * 1024  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A chain in PEM, the leaf first, and what the leaf says. `ari_id` None: it has no key identifier of its issuer."""

    chain: str
    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    ari_id: str | None


def read_issued(chain: str, key: str, names: Sequence[str]) -> Issued:
    """The certificate that was ordered for these names with this key (PEM). Raises BadAnswerError where it is another one."""
    if len(chain) > MAX_CHAIN:
        raise BadAnswerError("the authority's certificate chain is too long")
    try:
        leaf, *above = map(check_readable, x509.load_pem_x509_certificates(chain.encode("ascii")))
        has = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except UNREADABLE as error:
        raise BadAnswerError("the authority's answer is no certificate chain") from error
    if {name.lower() for name in has} != {name.lower() for name in names}:
        raise BadAnswerError("the authority's certificate is for other names than were ordered")
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(*form) != load_pem_private_key(key.encode(), None).public_key().public_bytes(
        *form
    ):
        raise BadAnswerError("the authority's certificate is for another key than was ordered")
    return Issued(
        # As we write it: without anything that stands between the certificates.
        chain="".join(one.public_bytes(Encoding.PEM).decode() for one in (leaf, *above)),
        names=tuple(names),
        issuer=leaf.issuer.rfc4514_string()[:500],
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        ari_id=ari_id(leaf),
    )

"""What an authority calls a certificate."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from router.certificates.ari import ari_id


def leaf(serial: int, authority: x509.AuthorityKeyIdentifier | None) -> x509.Certificate:
    key, start = ec.generate_private_key(ec.SECP256R1()), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
    )
    if authority is not None:
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("serial", "wanted"),
    [
        (0x87654321, "AIdlQyE"),
        (0x07654321, "B2VDIQ"),
        (0x80, "AIA"),
        (0x7F, "fw"),
        (1, "AQ"),
        (2**159 - 1, "f_________________________8"),
    ],
)
def test_ids(serial: int, wanted: str) -> None:
    """The first one is the example of RFC 9773 §4.1."""
    key = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    found = ari_id(leaf(serial, x509.AuthorityKeyIdentifier(key, None, None)))
    assert found == f"aYhba4dGQEHhs3uEe6CuLN4ByNQ.{wanted}"


def test_a_certificate_that_does_not_say_whose_key_signed_it() -> None:
    """Has none."""
    assert ari_id(leaf(1, None)) is None
    name = x509.DirectoryName(x509.Name([]))
    assert ari_id(leaf(1, x509.AuthorityKeyIdentifier(None, [name], 1))) is None

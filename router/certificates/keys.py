"""Private keys and the requests that are made with them."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_MAX_COMMON_NAME = 64  # characters (RFC 5280 appendix A.1, ub-common-name)


def new_key() -> str:
    """A new private key on P-256, as PKCS#8 in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def make_csr(key: str, names: Sequence[str], *, common_name: bool = False) -> str:
    """A request for these names, in PEM. `common_name` puts the first one in the subject too, for authorities that want one, where
    it is short enough."""
    private = serialization.load_pem_private_key(key.encode(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("not a key of new_key()")
    subject = []
    if common_name and len(names[0]) <= _MAX_COMMON_NAME:
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, names[0]))
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=not subject)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

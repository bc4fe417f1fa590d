"""Keys and signatures of RS256 (RFC 7518 §3.3): RSASSA-PKCS1-v1_5 with SHA-256. A key is a PEM file of the operator's.

Its library takes 14 MB in a process: import this module where it is used.
"""

import base64
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_BITS: Final = 2048  # RFC 7518 §3.3
_DERIVED_BYTES: Final = 32


class RsaKey:
    """A private key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError, which says what is wrong: no PEM, with a password, another kind of key, or a short one."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise ValueError("it has a password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("it is no private key in PEM") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("it is no RSA key")  # noqa: TRY004 - the file's content is a value
        if key.key_size < MIN_BITS:
            raise ValueError(f"it has {key.key_size} bits, and {MIN_BITS} is the least")
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """The signature of a message. Takes about a millisecond."""
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def public_text(self) -> str:
        """Its public half (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7) in base64."""
        der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def derive(self, purpose: bytes) -> bytes:
        """A secret for one purpose, the same wherever the key is the same (HKDF, RFC 5869)."""
        der = self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return HKDF(algorithm=hashes.SHA256(), length=_DERIVED_BYTES, salt=None, info=purpose).derive(der)

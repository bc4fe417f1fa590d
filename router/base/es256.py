"""Keys and signatures of ES256 (RFC 7518 §3.4): ECDSA on P-256 with SHA-256. A key is kept as its private number, in hexadecimal.

Its library takes 14 MB in a process: import this module where it is used.
"""

import base64
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_SIZE: Final = 32  # bytes of a number
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


class PrivateKey:
    """Signs with a key that is kept so."""

    def __init__(self, number: str) -> None:
        self._key = ec.derive_private_key(int(number, 16), ec.SECP256R1())

    def sign(self, message: bytes) -> bytes:
        """Both numbers of a signature, one after the other."""
        r, s = decode_dss_signature(self._key.sign(message, _ECDSA))
        return r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big")

    def public_jwk(self, key_id: str) -> dict[str, str]:
        """Its public half, as it stands in a JWK Set (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        x, y = (encoded(number.to_bytes(_SIZE, "big")).decode() for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": key_id}


def new_private_number() -> str:
    """A new key."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return number.to_bytes(_SIZE, "big").hex()


def encoded(value: bytes) -> bytes:
    """In base64url without padding, as all of JOSE is."""
    return base64.urlsafe_b64encode(value).rstrip(b"=")

"""Certificates with one thing wrong that no signer would write."""

import base64
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

VERSIONS: Final = (1, 3, 4, 127)  # X.509 has 0 and 2, which it calls v1 and v3 (RFC 5280 section 4.1.2.1)
_V3: Final = b"\xa0\x03\x02\x01\x02"


def with_version(certificate: x509.Certificate, version: int) -> str:
    """As PEM, with this number where its version stands."""
    encoded = certificate.public_bytes(Encoding.DER)
    before, after = encoded.split(_V3, 1)
    changed = before + _V3[:-1] + bytes([version]) + after
    body = base64.encodebytes(changed).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"

"""What an authority calls a certificate when it is asked when to renew it (RFC 9773 §4.1)."""

import base64

from cryptography import x509


def ari_id(leaf: x509.Certificate) -> str | None:
    """The identifier of its issuer's key and its serial number, as in DER, each in base64url. None where the certificate does not
    identify its issuer's key: it has no renewal information then."""
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        return None
    if authority is None:
        return None
    serial = leaf.serial_number
    # DER has numbers signed: a first byte above 127 gets a zero in front of it.
    return f"{_encoded(authority)}.{_encoded(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

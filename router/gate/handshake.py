"""One TLS handshake with Caddy, as a visitor of the name would begin it: it makes Caddy get the certificate, if it has
none or the one it has is due, and shows which one it has."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from router.base.x509_errors import UNREADABLE
from router.domains.certificates import Leaf
from router.settings import split_bind

_CLOSE_TIMEOUT = 1.0  # seconds for the TLS closure


class NoCertificateError(Exception):
    """Caddy ended the handshake: it has no certificate for the name, and could not get one."""


class UnreachableError(Exception):
    """Unknown: Caddy was not reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate, and whether it is the name's own, or a wildcard's above it."""

    leaf: Leaf
    own: bool


class Handshake(Protocol):
    async def leaf(self, host: str) -> Leaf:
        """The certificate that a visitor of the name gets. Raises NoCertificateError, UnreachableError."""


class TlsHandshake:
    """With the listener at `address`, each within so many seconds.

    Who signed is not judged: the authority may be one's own, and it is Caddy that is asked, not a stranger. The name
    has to be in the certificate, or visitors would be turned away.
    """

    def __init__(self, address: str, within: float) -> None:
        self._host, self._port = split_bind(address)
        self._within = within
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    async def leaf(self, host: str) -> Leaf:
        """See `Handshake`."""
        return (await self.shown(host)).leaf

    async def shown(self, host: str) -> Shown:
        """As `leaf`, and whose it is."""
        try:
            async with asyncio.timeout(self._within):
                encoded = await self._shake(host)
        except ssl.SSLError as error:
            raise NoCertificateError(error.reason or str(error)) from error
        except (OSError, TimeoutError) as error:
            raise UnreachableError(str(error) or "no answer in time") from error
        try:
            names, leaf = _read(encoded)
        except UNREADABLE as error:
            raise NoCertificateError("the certificate can't be read") from error
        if host not in names and f"*.{host.partition('.')[2]}" not in names:
            raise NoCertificateError("the certificate is for another name")
        return Shown(leaf, own=host in names)

    async def _shake(self, host: str) -> bytes:
        _, writer = await asyncio.open_connection(
            self._host,
            self._port,
            ssl=self._context,
            server_hostname=host,
            ssl_handshake_timeout=self._within,
            ssl_shutdown_timeout=_CLOSE_TIMEOUT,
        )
        encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        if not isinstance(encoded, bytes):
            raise UnreachableError("it showed no certificate")
        return encoded


def _read(encoded: bytes) -> tuple[frozenset[str], Leaf]:
    """What a certificate (DER) is for, and what it says of itself. Raises one of UNREADABLE."""
    certificate = x509.load_der_x509_certificate(encoded)
    return _names(certificate), Leaf(
        issuer=_issuer(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """What a certificate is for, in lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _issuer(certificate: x509.Certificate) -> str:
    """The issuer's common name, or the whole of its name where it has none."""
    common = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else certificate.issuer.rfc4514_string()

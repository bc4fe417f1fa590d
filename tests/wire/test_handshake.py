"""A handshake as the gate makes it, with servers of every kind."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from router.gate.handshake import NoCertificateError, TlsHandshake, UnreachableError

pytestmark = pytest.mark.asyncio

FROM = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WITHIN = 5.0


def made(folder: Path, *names: str, issuer: str | None = "Test CA") -> ssl.SSLContext:
    """A server's context with a certificate for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
    if issuer is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, issuer))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name(attributes))
        .public_key(key.public_key())
        .serial_number(0xABCDEF)
        .not_valid_before(FROM)
        .not_valid_after(FROM + timedelta(days=90))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), True)
    certificate = builder.sign(key, hashes.SHA256())
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def serving(
    context: ssl.SSLContext | None, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None] | None = None
) -> AsyncIterator[str]:
    """The address of a server. Without a context it speaks no TLS; `talk` is called with each connection."""
    writers: list[asyncio.StreamWriter] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if talk is not None:
            talk(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@pytest.mark.parametrize("names", [("shop.example.org",), ("other.org", "Shop.Example.org"), ("*.example.org",)])
async def test_the_certificate_is_read(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Whoever signed it; the name is sent as a visitor sends it."""
    asked: list[str | None] = []
    context = made(tmp_path, *names)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serving(context) as address:
        leaf = await TlsHandshake(address, WITHIN).leaf("shop.example.org")
    assert asked == ["shop.example.org"]
    assert (leaf.issuer, leaf.serial) == ("Test CA", "abcdef")
    assert (leaf.not_before, leaf.not_after) == (FROM, FROM + timedelta(days=90))
    assert leaf.due_at == FROM + timedelta(days=60)


async def test_an_issuer_without_a_common_name(tmp_path: Path) -> None:
    """Is shown whole."""
    async with serving(made(tmp_path, "a.org", issuer=None)) as address:
        assert (await TlsHandshake(address, WITHIN).leaf("a.org")).issuer == "O=Tests"


@pytest.mark.parametrize("names", [(), ("example.org",), ("a.shop.example.org",), ("*.shop.example.org",)])
async def test_a_certificate_for_another_name_is_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Visitors would be turned away."""
    async with serving(made(tmp_path, *names)) as address:
        with pytest.raises(NoCertificateError, match="another name"):
            await TlsHandshake(address, WITHIN).leaf("shop.example.org")


async def test_an_alert_is_a_refusal() -> None:
    """As Caddy sends it for a name that it has no certificate for: fatal, internal_error (RFC 8446 §6)."""
    alert = b"\x15\x03\x03\x00\x02\x02\x50"
    async with serving(None, lambda _, writer: writer.write(alert)) as address:
        with pytest.raises(NoCertificateError, match="INTERNAL_ERROR"):
            await TlsHandshake(address, WITHIN).leaf("a.org")


async def test_who_is_not_there_is_unreachable() -> None:
    """Refused, cut off, or silent: nobody can tell."""
    async with serving(None) as address:
        with pytest.raises(UnreachableError):
            await TlsHandshake(address, 0.1).leaf("a.org")
    with pytest.raises(UnreachableError):
        await TlsHandshake(address, WITHIN).leaf("a.org")
    async with serving(None, lambda _, writer: writer.transport.abort()) as address:
        with pytest.raises(UnreachableError):
            await TlsHandshake(address, WITHIN).leaf("a.org")

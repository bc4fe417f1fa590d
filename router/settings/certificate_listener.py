"""`certificate_*`: a listener of its own for `/certificate`, with TLS on both sides, for a Caddy that is not on this machine.

The keys are flat in the file; `Settings.certificate_listener` gives them together, checked as a whole.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from router.settings.model import Field
from router.settings.types import Bind, Group, SettingsError

_FILES = ("certificate_tls_cert", "certificate_tls_key", "certificate_tls_client_ca")


class CertificateListenerSettings(Group):
    """What `Settings` has of this file."""

    certificate_bind: Bind | None = Field(
        None,
        description="Where a Caddy on another machine fetches the certificates that the router holds, with their keys, by TLS"
        " and only with a certificate of its own; on nodes with role `admin`. None: only a Caddy on this machine gets any, at"
        " `admin_bind`.",
    )
    certificate_tls_cert: Path | None = Field(
        None, description="Certificate that this listener shows, with its chain (PEM). Needed with `certificate_bind`."
    )
    certificate_tls_key: Path | None = Field(None, description="Its key (PEM). Needed with `certificate_bind`.")
    certificate_tls_client_ca: Path | None = Field(
        None,
        description="CA whose certificates clients must show (PEM): everybody who has one gets every key. Needed with `certificate_bind`.",
    )


@dataclass(frozen=True, slots=True)
class CertificateListener:
    """Where it listens, and how it speaks TLS."""

    bind: str
    tls: ssl.SSLContext


def listener_of(given: CertificateListenerSettings) -> CertificateListener | None:
    """The settings as one value, with the files read; None where there is no such listener. Raises SettingsError."""
    bind, cert, key, ca = (
        given.certificate_bind,
        given.certificate_tls_cert,
        given.certificate_tls_key,
        given.certificate_tls_client_ca,
    )
    if bind is None:
        lone = [(name, "is of use with certificate_bind only") for name in _FILES if getattr(given, name) is not None]
        if lone:
            raise SettingsError(lone)
        return None
    if cert is None or key is None or ca is None:
        missing = [name for name in _FILES if getattr(given, name) is None]
        raise SettingsError([("certificate_bind", f"needs {', '.join(missing)}")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError([("certificate_tls_cert", f"{cert} and {key} can't be used: {error}")]) from None
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([("certificate_tls_client_ca", f"{ca} can't be used: {error}")]) from None
    return CertificateListener(bind, context)


def _no_password() -> str:
    raise ValueError("the key has a password")

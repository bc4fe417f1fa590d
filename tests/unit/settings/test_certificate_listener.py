"""The listener with TLS on both sides: what belongs together, and files that can't be used."""

import ssl
from pathlib import Path

import pytest

from router.settings import CertificateListener, SettingsError, load
from tests.support.certificates import write_certificate


def _load(values: dict[str, object]) -> CertificateListener | None:
    return load(
        environ={f"MIOSA_ROUTER_CERTIFICATE_{name}": str(value) for name, value in values.items()}
    ).certificate_listener()


@pytest.fixture
def given(tmp_path: Path) -> dict[str, object]:
    cert, key = write_certificate(tmp_path, "router.example")
    return {"BIND": "127.0.0.1:8443", "TLS_CERT": cert, "TLS_KEY": key, "TLS_CLIENT_CA": cert}


def test_there_is_none_by_default() -> None:
    """Only Caddy on this machine gets certificates."""
    assert _load({}) is None


def test_clients_must_show_a_certificate(given: dict[str, object]) -> None:
    """TLS checks it, by version 1.2 at least."""
    listener = _load(given)
    assert listener is not None
    assert listener.bind == "127.0.0.1:8443"
    assert (listener.tls.verify_mode, listener.tls.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2)
    assert listener.tls.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize("missing", ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA"])
def test_all_or_none(given: dict[str, object], missing: str) -> None:
    """Without one of them it would be open, or not open at all; without an address the files do nothing."""
    del given[missing]
    with pytest.raises(SettingsError, match=f"certificate_bind: needs certificate_{missing.lower()}"):
        _load(given)
    del given["BIND"]
    with pytest.raises(SettingsError, match="is of use with certificate_bind only"):
        _load(given)


@pytest.mark.parametrize("wrong", ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA"])
@pytest.mark.parametrize("how", ["missing", "junk"])
def test_files_that_can_not_be_used(given: dict[str, object], tmp_path: Path, wrong: str, how: str) -> None:
    """Named at the start."""
    given[wrong] = file = tmp_path / "other.pem"
    if how == "junk":
        file.write_text("junk")
    with pytest.raises(SettingsError, match=r"certificate_tls_(cert|client_ca): .*can't be used"):
        _load(given)

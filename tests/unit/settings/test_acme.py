"""The settings of certificates for whole zones: what holds together, and what is refused in words."""

from pathlib import Path

import pytest

from router.settings import SettingsError, load
from router.settings.acme import LETS_ENCRYPT

KEY = "ab12" * 16
TSIG = "bWFrZSBvbmUgd2l0aCB0c2lnLWtleWdlbg=="
BY_RESPONDER = {
    "ACME_ZONE": "acme.example.com",
    "SECRETS_KEY": KEY,
    "ACME_DNS_BIND": "127.0.0.1:5353",
    "ACME_DNS_NAMES": "ns1.example.com",
}
BY_UPDATE = {
    "ACME_ZONE": "acme.example.com",
    "SECRETS_KEY": KEY,
    "ACME_DNS_UPDATE": "[::1]:53",
    "ACME_DNS_KEY_NAME": "updates",
    "ACME_DNS_KEY": TSIG,
}


def _load(values: dict[str, str]) -> object:
    return load(environ={f"MIOSA_ROUTER_{name}": value for name, value in values.items()}).acme()


def test_off_without_a_zone() -> None:
    """Whatever else is set."""
    assert _load({"ACME_PLATFORM": "true"}) is None


def test_by_a_responder_of_ours() -> None:
    """With the defaults of the rest."""
    acme = load(environ={f"MIOSA_ROUTER_{name}": value for name, value in BY_RESPONDER.items()}).acme()
    assert acme is not None
    assert (acme.zone, acme.directory, acme.bind, acme.update) == (
        "acme.example.com",
        LETS_ENCRYPT,
        ("127.0.0.1", 5353),
        None,
    )
    assert (acme.names, acme.platform, acme.profile, acme.contact) == (("ns1.example.com",), False, None, None)


def test_by_updates_of_the_operators_server() -> None:
    """Signed, with a key that no message shows."""
    acme = load(environ={f"MIOSA_ROUTER_{name}": value for name, value in BY_UPDATE.items()}).acme()
    assert acme is not None
    assert acme.update is not None
    assert (acme.bind, acme.update.host, acme.update.port, acme.update.algorithm) == (None, "::1", 53, "hmac-sha256")
    assert acme.update.key.get_secret_value() == TSIG
    assert TSIG not in repr(acme)


@pytest.mark.parametrize(
    ("values", "without", "key"),
    [
        (BY_RESPONDER, "SECRETS_KEY", "acme_zone"),
        (BY_RESPONDER, "ACME_DNS_BIND", "acme_zone"),
        (BY_RESPONDER, "ACME_DNS_NAMES", "acme_dns_names"),
        (BY_UPDATE, "ACME_DNS_UPDATE", "acme_zone"),
        (BY_UPDATE, "ACME_DNS_KEY", "acme_dns_update"),
        (BY_UPDATE, "ACME_DNS_KEY_NAME", "acme_dns_update"),
        (BY_RESPONDER | BY_UPDATE, "", "acme_zone"),
        (BY_RESPONDER | {"ACME_DNS_NAMES": "ns.example.com,ns1.acme.example.com"}, "", "acme_dns_addresses"),
        (BY_RESPONDER | {"ACME_DNS_ADDRESSES": "ns1.example.com=192.0.2.1"}, "", "acme_dns_addresses"),
        (BY_UPDATE | {"ACME_DNS_ADDRESSES": "ns1.acme.example.com=192.0.2.1"}, "", "acme_dns_addresses"),
        (BY_RESPONDER | {"ACME_CA_FILE": "/nowhere/ca.pem"}, "", "acme_ca_file"),
    ],
)
def test_what_does_not_hold_together(values: dict[str, str], without: str, key: str) -> None:
    """Each is named, with a sentence."""
    with pytest.raises(SettingsError) as caught:
        _load({name: value for name, value in values.items() if name != without})
    assert [where for where, _ in caught.value.problems] == [key]
    assert TSIG not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACME_ZONE", "acme..example"),
        ("ACME_DIRECTORY", "http://ca.example/dir"),
        ("ACME_CONTACT", "mailto:ops@example.com"),
        ("ACME_CONTACT", "nobody"),
        ("ACME_DNS_BIND", "53"),
        ("ACME_DNS_UPDATE", "ns1.example.com"),
        ("ACME_DNS_KEY", "short"),
        ("ACME_DNS_KEY", "c2hvcnQ="),
        ("ACME_DNS_KEY_ALGORITHM", "hmac-md5"),
        ("ACME_PROFILE", "Short Lived"),
    ],
)
def test_what_is_refused(name: str, value: str) -> None:
    """By its own key."""
    with pytest.raises(SettingsError) as caught:
        _load({name: value})
    assert [where for where, _ in caught.value.problems] == [name.lower()]


def test_addresses_of_name_servers_in_the_zone() -> None:
    """Several of one name, of both families, from a variable or a file."""
    names = {"ACME_DNS_NAMES": "ns1.acme.example.com,ns2.example.com"}
    both = "ns1.acme.example.com=192.0.2.1,ns1.acme.example.com=2001:db8::1"
    environ = {f"MIOSA_ROUTER_{name}": value for name, value in (BY_RESPONDER | names).items()}
    acme = load(environ=environ | {"MIOSA_ROUTER_ACME_DNS_ADDRESSES": both}).acme()
    assert acme is not None
    assert [str(address) for address in acme.addresses["ns1.acme.example.com"]] == ["192.0.2.1", "2001:db8::1"]
    for bad in ("ns1.acme.example.com", "ns1.acme.example.com=ns2", "=192.0.2.1"):
        with pytest.raises(SettingsError, match="acme_dns_addresses"):
            load(environ=environ | {"MIOSA_ROUTER_ACME_DNS_ADDRESSES": bad})


def test_a_private_authoritys_certificates(tmp_path: Path) -> None:
    """A file that is there."""
    file = tmp_path / "ca.pem"
    file.write_text("x", encoding="ascii")
    acme = load(
        environ={f"MIOSA_ROUTER_{name}": value for name, value in (BY_RESPONDER | {"ACME_CA_FILE": str(file)}).items()}
    ).acme()
    assert acme is not None
    assert acme.ca_file == file


@pytest.mark.parametrize(
    ("directory", "identities", "doubted"),
    [
        (LETS_ENCRYPT, "letsencrypt.org", False),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", "letsencrypt.org", False),
        ("https://acme.other.example/directory", "letsencrypt.org", True),
        ("https://notletsencrypt.org/directory", "letsencrypt.org", True),
        ("https://acme.other.example/directory", "other.example", False),
        ("https://acme.other.example/directory", "other.example,letsencrypt.org", False),
    ],
)
def test_another_authority_has_other_identities(directory: str, identities: str, doubted: bool) -> None:
    """CAA records are judged by `ca.identities`: who orders elsewhere and leaves them as they are is told so."""
    values = {**BY_RESPONDER, "ACME_DIRECTORY": directory, "CA__IDENTITIES": identities}
    settings = load(environ={f"MIOSA_ROUTER_{name}": value for name, value in values.items()})
    assert (settings.caa_doubt() is not None) is doubted
    assert settings.model_copy(update={"acme_zone": None}).caa_doubt() is None

"""`domain_connect.*`: what is refused before a node starts."""

import ipaddress

import pytest

from router.settings import SettingsError, parse

GOOD = {
    "provider_id": "miosa.ai",
    "key_file": "/etc/miosa-router/connect.pem",
    "key_domain": "domainconnect.miosa.ai",
    "return_url": "https://api.miosa.ai/domain-connect/return",
}


def test_no_link_unless_it_is_set_up() -> None:
    """Off at first; with what it needs, on."""
    assert parse({}).domain_connect.provider_id is None
    found = parse({"domain_connect": {**GOOD, "addresses": "192.0.2.1,2001:db8::1"}}).domain_connect
    assert (found.provider_id, found.key_name) == ("miosa.ai", "_dcpubkeyv1")
    assert found.addresses == (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1"))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"key_file": None}, "key_file"),
        ({"key_domain": None}, "key_domain"),
        ({"return_url": None}, "return_url"),
        # What does nothing is a mistake.
        ({"provider_id": None}, "key_file"),
        (
            {"provider_id": None, "key_file": None, "key_domain": None, "return_url": None, "addresses": ["192.0.2.1"]},
            "addresses",
        ),
        ({"provider_id": "not a name"}, "provider_id"),
        ({"return_url": "https://api.miosa.ai/"}, "return_url"),
        ({"return_url": "https://api.miosa.ai/domain-connect/return?next=x"}, "return_url"),
        ({"return_url": "https://a@api.miosa.ai/domain-connect/return"}, "return_url"),
        ({"return_url": "ftp://api.miosa.ai/domain-connect/return"}, "return_url"),
        ({"addresses": ["192.0.2.0/24"]}, "addresses"),
        ({"addresses": [f"192.0.2.{number}" for number in range(1, 10)]}, "addresses"),
        ({"key_name": "two.labels"}, "key_name"),
        ({"key": "x"}, "key"),
    ],
)
def test_what_can_not_be(change: dict[str, object], key: str) -> None:
    """Each is refused with its name."""
    with pytest.raises(SettingsError) as refused:
        parse({"domain_connect": {**GOOD, **change}})
    assert any(name.startswith(f"domain_connect.{key}") for name, _ in refused.value.problems), refused.value.problems

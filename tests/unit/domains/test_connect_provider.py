"""What strangers write into TXT records and settings: what is used, and what is as good as absent."""

import json
from typing import Any

import pytest

from router.domains.connect_provider import MAX_RECORDS, Provider, locations, read_provider

GOOD: dict[str, Any] = {
    "providerId": "virtucondomains.example",
    "providerName": "Virtucon Domains",
    "urlSyncUX": "https://domainconnect.virtucondomains.example/sync/",
    "urlAPI": "https://api.virtucondomains.example",
}
READ = Provider(
    name="Virtucon Domains",
    sync_url="https://domainconnect.virtucondomains.example/sync",
    api_url="https://api.virtucondomains.example",
)


@pytest.mark.parametrize(
    ("value", "location"),
    [
        ("domainconnect.example.com", "https://domainconnect.example.com"),
        ("domainconnect.example.com/dc", "https://domainconnect.example.com/dc"),
        ("domainconnect.example.com:8443/a/b/", "https://domainconnect.example.com:8443/a/b"),
        ("https://domainconnect.example.com", None),
        ("http://domainconnect.example.com", None),
        ("domainconnect.example.com?x=1", None),
        ("domainconnect.example.com/#x", None),
        ("user@domainconnect.example.com", None),
        ("localhost", None),
        ("localhost:8081/internal", None),
        ("domainconnect.example.com/../admin", "https://domainconnect.example.com/../admin"),
        ("domainconnect.example.com//other.example", None),
        ("domainconnect.example.com/%2e%2e", None),
        ("domainconnect.example.com\r\nHost: x", None),
        ("domain connect.example.com", None),
        ("[::1]:8082", None),
        ("-a.example.com", None),
        (f"{'a' * 300}.example.com", None),
        (f"a.example.com/{'a' * 300}", None),
        ("", None),
    ],
)
def test_where_a_provider_is(value: str, location: str | None) -> None:
    """An authority, perhaps with a path; what has a scheme, a query, a fragment, a user or blanks is none."""
    assert locations([value]) == ([] if location is None else [location])


def test_few_of_many_records() -> None:
    """A zone may have as many records as it likes: two are tried, and those that are none do not count."""
    assert len(locations(["http://x", *(f"a{number}.example.com" for number in range(50))])) == MAX_RECORDS


@pytest.mark.parametrize(
    ("change", "provider"),
    [
        ({}, READ),
        ({"providerDisplayName": "Virtucon"}, Provider(name="Virtucon", sync_url=READ.sync_url, api_url=READ.api_url)),
        (
            {"providerName": "a\x00\u202eb" + "c" * 100},
            Provider(name="ab" + "c" * 62, sync_url=READ.sync_url, api_url=READ.api_url),
        ),
        ({"vnd.example.fun": {"deep": [1]}, "crit": ["absent", "urlAPI"]}, READ),
        ({"urlAsyncUX": None, "width": 750, "nameServers": 7}, READ),
        # Not for people in a browser.
        ({"urlSyncUX": None}, None),
        ({"urlSyncUX": ""}, None),
        ({"urlSyncUX": "http://domainconnect.virtucondomains.example"}, None),
        ({"urlSyncUX": "javascript:alert(1)"}, None),
        ({"urlSyncUX": "https://domainconnect.virtucondomains.example/?x="}, None),
        ({"urlSyncUX": "https://domainconnect.virtucondomains.example/#"}, None),
        ({"urlSyncUX": "https://a@domainconnect.virtucondomains.example"}, None),
        ({"urlSyncUX": "https://" + "a" * 5000 + ".example"}, None),
        ({"urlSyncUX": ["https://a.example"]}, None),
        ({"urlAPI": "http://api.virtucondomains.example"}, None),
        ({"urlAPI": 5}, None),
        ({"providerName": None}, None),
        ({"providerName": " \u200b"}, None),
        ({"providerName": {"en": "x"}}, None),
        # It must be understood, and is not.
        ({"vnd.example.euOnly": True, "crit": ["vnd.example.euOnly"]}, None),
        ({"crit": "urlAPI"}, None),
    ],
)
def test_settings(change: dict[str, Any], provider: Provider | None) -> None:
    """https alone, bounded, shown without what could mislead; what must be understood and is not is a reason to stay away."""
    assert read_provider(json.dumps(GOOD | change).encode()) == provider


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"1" * 5000]
)
def test_what_is_no_settings(body: bytes) -> None:
    """Whatever it is, nothing is raised."""
    assert read_provider(body) is None

"""What a DNS provider says of itself for Domain Connect (draft-ietf-dconn-domainconnect §6), read. Pure.

All of it is a stranger's: whoever has a zone writes its TXT record, and whoever that names writes the settings. So each is bounded and has
one form, and what has another is as good as absent.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MAX_RECORDS = 2  # TXT records of one zone that are tried
_MAX_NAME = 64  # characters of a provider's name that are shown

# An authority, perhaps with a port, and perhaps a path: no scheme, query, fragment or user (§6.1).
_LOCATION = re.compile(
    r"(?=.{1,255}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?",
    re.IGNORECASE,
)
# What we understand of a provider's settings. One that must be understood and is not among them is a reason to stay away (§6.2.1).
_UNDERSTOOD = frozenset(
    {
        *("providerId", "providerName", "providerDisplayName", "urlSyncUX", "urlAPI", "nameServers", "crit"),
        *("urlAsyncUX", "urlControlPanel", "width", "height"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider that takes people's consent in the browser. `sync_url` is where they are sent, `api_url` where it says which templates
    it has; both without a slash at their end."""

    name: str
    sync_url: str
    api_url: str


def locations(values: Iterable[str]) -> list[str]:
    """The URLs of providers that the values of a `_domainconnect` record name, as far as they are tried."""
    found = [f"https://{value.rstrip('/')}" for value in values if _LOCATION.fullmatch(value) is not None]
    return found[:MAX_RECORDS]


def read_provider(body: bytes) -> Provider | None:
    """A provider's settings; None where they are none that we can use."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not _is_understood(document):
        return None
    name = document.get("providerDisplayName") or document.get("providerName")
    sync_url, api_url = _url(document.get("urlSyncUX")), _url(document.get("urlAPI"))
    if sync_url is None or api_url is None or not isinstance(name, str):
        return None
    shown = "".join(char for char in name if char.isprintable()).strip()[:_MAX_NAME]
    return Provider(name=shown, sync_url=sync_url, api_url=api_url) if shown else None


def _is_understood(document: dict[str, Any]) -> bool:
    critical = document.get("crit", [])
    return isinstance(critical, list) and not any(
        isinstance(name, str) and name in document and name not in _UNDERSTOOD for name in critical
    )


def _url(value: object) -> str | None:
    """A URL that something can be appended to: https, with a host, and no query (§6.2)."""
    if not isinstance(value, str):
        return None
    scheme, _, rest = value.partition("://")
    if scheme.lower() != "https" or _LOCATION.fullmatch(rest) is None:
        return None
    return f"https://{rest.rstrip('/')}"

"""Domain Connect as the settings say: what stands in our templates, the key that signs links, and the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from router.base.clock import Clock
from router.domains.connect_templates import Names
from router.domains.diagnosis.delegation_snapshot import Delegations
from router.domains.domain_connect import DomainConnect, Link
from router.domains.lookup import Lookup
from router.outbound.domain_connect import ProviderDiscovery
from router.outbound.provider_http import ProviderHttp
from router.settings import Settings, SettingsError
from router.store import Store
from router.tenancy.destinations import Destinations

if TYPE_CHECKING:
    from router.base.rs256 import RsaKey

_MAX_BODY: Final = 64 * 1024  # bytes of a DNS provider's answer: settings are one KiB, and a template a few


def names_of(settings: Settings, provider_name: str = "") -> Names | None:
    """What of the settings stands in our templates for Domain Connect; None where it is off."""
    connect = settings.domain_connect
    if connect.provider_id is None or connect.key_domain is None or connect.return_url is None:
        return None
    return Names(
        provider_id=connect.provider_id,
        provider_name=provider_name or connect.provider_id,
        key_domain=connect.key_domain,
        return_host=urlsplit(connect.return_url).hostname or "",
        verify_target=settings.verify_target,
        proxy_target=settings.proxy_target,
        addresses=connect.addresses,
        acme_zone=settings.acme_zone,
    )


def key_of(settings: Settings) -> "RsaKey | None":
    """The key that signs links of Domain Connect; None where it is off. Raises SettingsError where its file can't be used."""
    file = settings.domain_connect.key_file
    if file is None:
        return None
    from router.base.rs256 import RsaKey  # noqa: PLC0415 - its library takes 14 MB

    try:
        return RsaKey(file.read_bytes())
    except OSError as error:
        raise SettingsError([("domain_connect.key_file", f"{file} cannot be read: {error.strerror}")]) from error
    except ValueError as error:
        raise SettingsError([("domain_connect.key_file", f"{file} cannot be used: {error}")]) from None


@asynccontextmanager
async def open_domain_connect(
    store: Store,
    settings: Settings,
    clock: Clock,
    *,
    lookup: Lookup,
    destinations: Destinations,
    delegations: Delegations | None,
) -> AsyncIterator[DomainConnect | None]:
    """Domain Connect, as the settings say; None where it is off. Raises SettingsError."""
    names, key, connect = names_of(settings), key_of(settings), settings.domain_connect
    if names is None or key is None or connect.return_url is None:
        yield None
        return
    link = Link(provider_id=names.provider_id, key=key, key_name=connect.key_name, return_url=connect.return_url)
    http = ProviderHttp(lookup, destinations, clock, purpose="Domain Connect", max_body=_MAX_BODY)
    discovery = ProviderDiscovery(lookup, http, clock, provider_id=names.provider_id, services=names.services)
    try:
        yield DomainConnect(
            store, clock, link=link, discovery=discovery, delegations=delegations, ask_every=settings.checks.ask_every
        )
    finally:
        await discovery.close()

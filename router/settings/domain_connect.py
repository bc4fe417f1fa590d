"""`domain_connect.*`: customers' DNS records in one click, at the DNS providers that support Domain Connect."""

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from router.settings.model import AfterValidator, BeforeValidator, Field, ValidationInfo
from router.settings.types import Domain, Group, HttpUrl, Listed

RETURN_PATH = "/domain-connect/return"  # at the API listener


def _with_provider(value: object, info: ValidationInfo) -> object:
    provider = info.data.get("provider_id")
    if value is None and provider is not None:
        raise ValueError("must be set where domain_connect.provider_id is")
    if value and provider is None and "provider_id" in info.data:
        raise ValueError("does nothing without domain_connect.provider_id")
    return value


def _return_url(value: str) -> str:
    address = urlsplit(value)
    if address.path != RETURN_PATH or address.query or address.fragment or "@" in address.netloc:
        raise ValueError(f"must end with {RETURN_PATH}, the page that the API listener serves")
    return value


def _address(value: object) -> object:
    if isinstance(value, str):
        return ipaddress.ip_address(value)  # pydantic would name both families where it is none
    return value


Address = Annotated[ipaddress.IPv4Address | ipaddress.IPv6Address, BeforeValidator(_address)]


class DomainConnect(Group):
    """DNS records of customers in one click, where their DNS provider supports Domain Connect and has our templates
    (docs/domain-connect.md)."""

    provider_id: Domain | None = Field(
        None,
        description="Our name as a service provider, in our templates: a domain of ours. None: no links are offered.",
    )
    key_file: Annotated[Path | None, AfterValidator(_with_provider)] = Field(
        None,
        validate_default=True,
        description="PEM file with the RSA key that signs the links; the same on every node. Needed with `provider_id`.",
    )
    key_domain: Annotated[Domain | None, AfterValidator(_with_provider)] = Field(
        None,
        validate_default=True,
        description="Domain below which the public key is published as TXT records, as `miosa-router domain-connect public-key`"
        " prints them. Needed with `provider_id`.",
    )
    key_name: Annotated[str, Field(pattern=r"^_?[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?$")] = Field(
        "_dcpubkeyv1", description="Label of these records below `key_domain`. A new key gets a new label."
    )
    return_url: Annotated[
        Annotated[HttpUrl, AfterValidator(_return_url)] | None,
        AfterValidator(_with_provider),
    ] = Field(
        None,
        validate_default=True,
        description="Where providers send people back to, as browsers reach it: leads to `/domain-connect/return` at `api_bind`."
        " Needed with `provider_id`.",
    )
    addresses: Annotated[tuple[Address, ...], Listed, AfterValidator(_with_provider), Field(max_length=8)] = Field(
        (),
        description="The edge's addresses, for the A and AAAA records of domains that are the top of their zone; those of"
        " `verify_target`. Empty: these domains get no link.",
    )

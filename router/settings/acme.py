"""`acme_*`: certificates for whole zones, which the router orders itself by ACME (RFC 8555) and DNS-01.

The keys are flat in the file; `Settings.acme` gives them together, checked as a whole.
"""

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from router.base.addresses import Address
from router.settings.model import AfterValidator, Field, SecretStr
from router.settings.types import AddressesOf, Bind, Domain, Domains, Group, SettingsError, Word, split_bind

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def _https_url(value: str) -> str:
    if not value.startswith("https://") or not value.removeprefix("https://"):
        raise ValueError("must be an https:// address (RFC 8555 §6.1)")
    return value


def _tsig_key(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be base64, as `tsig-keygen` prints it") from None
    if len(key) < 16:
        raise ValueError("must have 16 bytes at least: make one with `tsig-keygen`")
    return value


class AcmeSettings(Group):
    """What `Settings` has of this file."""

    acme_zone: Domain | None = Field(
        None,
        description="Domain of yours under which the router answers ACME's DNS challenges: customers delegate theirs to names under it,"
        " and get one certificate for their whole preview domain. Needs `secrets_key`. None: all of this is off.",
    )
    acme_directory: Annotated[str, AfterValidator(_https_url)] = Field(
        LETS_ENCRYPT, description="Directory of the certificate authority that these certificates are ordered from."
    )
    acme_ca_file: Path | None = Field(
        None, description="CA certificates (PEM) that vouch for a private authority's https. None: the system's."
    )
    acme_contact: Annotated[str, Field(pattern=r"^[^@\s,;:]+@[^@\s,;:]+$")] | None = Field(
        None, description="E-mail address that the authority may write to."
    )
    acme_dns_bind: Bind | None = Field(
        None,
        description="Where each node with role `admin` answers DNS for `acme_zone`, by UDP and TCP. This or `acme_dns_update` is set.",
    )
    acme_dns_update: Bind | None = Field(
        None,
        description="Your own primary name server for `acme_zone`, which takes dynamic updates (RFC 2136) signed by `acme_dns_key`.",
    )
    acme_dns_key_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")] | None = Field(
        None, description="Name of the key that signs updates (TSIG, RFC 8945)."
    )
    acme_dns_key_algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        "hmac-sha256", description="The key's algorithm."
    )
    acme_dns_key: Annotated[SecretStr, AfterValidator(_tsig_key)] | None = Field(
        None, description="The key itself, in base64."
    )
    acme_dns_names: Domains = Field(
        (),
        description="Names of the servers that `acme_zone` is delegated to, for its NS and SOA records. Needed with `acme_dns_bind`.",
    )
    acme_dns_addresses: AddressesOf = Field(
        default_factory=dict,
        description="Addresses of those of `acme_dns_names` that lie in `acme_zone` itself; as a variable, `ns1.acme.example.net=192.0.2.1,…`."
        " The parent zone has the same addresses beside its NS records (glue).",
    )
    acme_platform: bool = Field(
        False,
        description="Whether the platform's own zone gets such certificates too; its challenges must be delegated.",
    )
    acme_profile: Word | None = Field(
        None,
        description="Profile that certificates are ordered with, such as `shortlived`. None: the authority's default.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsUpdate:
    """The operator's primary name server, and the key that signs updates."""

    host: str
    port: int
    key_name: str
    algorithm: str
    key: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """What is set, where `acme_zone` is. Exactly one of `bind` and `update` is there."""

    zone: str
    directory: str
    ca_file: Path | None
    contact: str | None
    bind: tuple[str, int] | None
    update: DnsUpdate | None
    names: tuple[str, ...]
    addresses: Mapping[str, tuple[Address, ...]]
    platform: bool
    profile: str | None


def caa_doubt(directory: str, identities: Collection[str]) -> str | None:
    """Why CAA records may be judged as of the wrong authority: those are `identities`, orders go to `directory`. None where there
    is no reason to think so."""
    host = urlsplit(directory).hostname or ""
    theirs = "letsencrypt.org"
    if host == theirs or host.endswith(f".{theirs}") or set(identities) != {theirs}:
        return None
    return (
        f"certificates of zones are ordered at {host} (`acme_directory`), and `ca.identities` names {theirs} alone: customers are told to let"
        " that authority issue, by CAA records, and not the one that does"
    )


def _address_problems(given: AcmeSettings, zone: str) -> list[tuple[str, str]]:
    """A name server that lies in the zone is found by its address only, which no other zone has."""
    inside = {name for name in given.acme_dns_names if name == zone or name.endswith(f".{zone}")}
    if given.acme_dns_bind is None:
        inside = set()
    problems = [
        ("acme_dns_addresses", f"must have an address of {name}, which lies in acme_zone")
        for name in sorted(inside - given.acme_dns_addresses.keys())
    ]
    problems += [
        ("acme_dns_addresses", f"has {name}, which is none of acme_dns_names in acme_zone")
        for name in sorted(given.acme_dns_addresses.keys() - inside)
    ]
    return problems


def together(given: AcmeSettings, *, can_seal: bool) -> Acme | None:
    """The settings as one value; None where they are off. `can_seal`: there is a `secrets_key`. Raises SettingsError."""
    if given.acme_zone is None:
        return None
    problems = []
    if not can_seal:
        problems.append(
            ("acme_zone", "needs secrets_key: the certificates' private keys are encrypted with it in the store")
        )
    if (given.acme_dns_bind is None) is (given.acme_dns_update is None):
        problems.append(("acme_zone", "needs exactly one of acme_dns_bind and acme_dns_update"))
    update = None
    if given.acme_dns_update is not None:
        if given.acme_dns_key_name is None or given.acme_dns_key is None:
            problems.append(("acme_dns_update", "needs acme_dns_key_name and acme_dns_key: updates are signed"))
        else:
            host, port = split_bind(given.acme_dns_update)
            update = DnsUpdate(
                host=host,
                port=port,
                key_name=given.acme_dns_key_name,
                algorithm=given.acme_dns_key_algorithm,
                key=given.acme_dns_key,
            )
    if given.acme_dns_bind is not None and not given.acme_dns_names:
        problems.append(
            ("acme_dns_names", "must name the servers that acme_zone is delegated to, for its NS and SOA records")
        )
    problems += _address_problems(given, given.acme_zone)
    if given.acme_ca_file is not None and not given.acme_ca_file.is_file():
        problems.append(("acme_ca_file", f"{given.acme_ca_file} is no file"))
    if problems:
        raise SettingsError(problems)
    return Acme(
        zone=given.acme_zone,
        directory=given.acme_directory,
        ca_file=given.acme_ca_file,
        contact=given.acme_contact,
        bind=None if given.acme_dns_bind is None else split_bind(given.acme_dns_bind),
        update=update,
        names=given.acme_dns_names,
        addresses=given.acme_dns_addresses,
        platform=given.acme_platform,
        profile=given.acme_profile,
    )

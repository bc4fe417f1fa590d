"""The settings: one frozen object, read once, from a TOML file and `MIOSA_ROUTER_*` variables.

Variables win over the file; `__` nests (`MIOSA_ROUTER_LIMITS__DIAL=1.5`). An unknown key or a bad value is refused
with the key's name. Each setting's description is its documentation: `docs/settings.md` is generated from it.
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from router.settings.acme import Acme, AcmeSettings, DnsUpdate, caa_doubt, together
from router.settings.api import Credits, Jwt, Rates, Webhooks
from router.settings.audit import Audit
from router.settings.certificate_listener import CertificateListener, CertificateListenerSettings, listener_of
from router.settings.certificates import Ca, Checks, Gate
from router.settings.console import Console
from router.settings.database_url import check_database_url
from router.settings.domain_connect import DomainConnect
from router.settings.limits import Limits
from router.settings.metrics import MetricSettings
from router.settings.model import AfterValidator, Field, SecretStr, ValidationInfo
from router.settings.operator import Operator, RuntimeDir
from router.settings.records import Records
from router.settings.secret_keys import SecretKeys, read_secret_keys
from router.settings.stores import Cache, Database, Redis
from router.settings.telemetry import Telemetry, is_installed
from router.settings.types import (
    Bind,
    Bytes,
    Count,
    Domain,
    Domains,
    HeadersOf,
    HttpUrl,
    Listed,
    Networks,
    Origins,
    Ports,
    RedisUrl,
    Servers,
    SettingsError,
    split_bind,
    split_server,
)
from router.settings.wake import Wake

__all__ = [
    "CERTIFICATES",
    "PREFIX",
    "SPECIAL_DOMAINS",
    "Acme",
    "Audit",
    "Ca",
    "Cache",
    "CertificateListener",
    "Checks",
    "Console",
    "Credits",
    "Database",
    "DnsUpdate",
    "DomainConnect",
    "Gate",
    "Jwt",
    "Limits",
    "MetricSettings",
    "Networks",
    "Operator",
    "Rates",
    "Records",
    "Redis",
    "Role",
    "Settings",
    "SettingsError",
    "Telemetry",
    "Wake",
    "Webhooks",
    "load",
    "parse",
    "read",
    "split_bind",
    "split_server",
]

PREFIX = "MIOSA_ROUTER_"
Role = Literal["proxy", "api", "admin", "jobs"]
# https://www.iana.org/assignments/special-use-domain-names, and what resolvers and software use beside DNS. Names of
# the first kind may come from a hosts file or multicast, so no one can prove to own one, and no authority issues for it.
SPECIAL_DOMAINS = (
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "test",
)
CERTIFICATES = "certificates"  # the file in `state_dir`


def _counted(value: MetricSettings, info: ValidationInfo) -> MetricSettings:
    records = info.data.get("records")
    if value.tenants and records is not None and not records.enabled:
        raise ValueError("tenants needs records.enabled: requests are counted by tenant from their records")
    return value


def _with_records(value: Telemetry, info: ValidationInfo) -> Telemetry:
    records = info.data.get("records")
    if value.endpoint is not None and records is not None and not records.enabled:
        raise ValueError("endpoint needs records.enabled: what is sent is made of the records of requests")
    return value


class Settings(CertificateListenerSettings, AcmeSettings):
    """Everything that can be set."""

    proxy_bind: Bind = Field("127.0.0.1:8080", description="Where traffic from Caddy arrives.")
    api_bind: Bind = Field("127.0.0.1:8081", description="Where the REST API listens.")
    admin_bind: Bind = Field(
        "127.0.0.1:8082", description="Where ask, health, metrics and explain listen. Keep it private."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1,
        description="Proxy processes. With more than one, a process of its own has the API, the admin listener and the jobs.",
    )
    roles: Annotated[frozenset[Role], Listed, Field(min_length=1)] = Field(
        frozenset({"proxy", "api", "admin", "jobs"}), description="What this node does."
    )
    database_url: Annotated[str, AfterValidator(check_database_url)] = Field(
        "sqlite:///miosa-router.db",
        description="The store: sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/name; several servers that stand in for each other: postgresql://user@/name?host=db1:5432,db2:5432&target_session_attrs=read-write.",
    )
    state_dir: Path | None = Field(
        None,
        description="Folder for what this node must know without the store: a copy of which names have certificates.",
    )
    runtime_dir: RuntimeDir | None = Field(
        None,
        description="Folder for the sockets at which the operators' tools (`operator.*`) reach this node; no other node may have the same. None: there are none.",
    )
    redis_url: RedisUrl | None = Field(
        None, description="Second-level cache and bus of a fleet. None: everything stays in the process."
    )
    platform_domain: Domain = Field("miosa.app", description="The zone in which every resource answers.")
    login_host: Domain | None = Field(
        None,
        description="Where people sign in by their tenant's login, with its certificate and its cookies; no resource has it. None: `login.` and the platform domain.",
    )
    reserved_domains: Domains = Field(
        ("miosa.ai", "miosa.app"), description="Names that no customer may register, nor any name under them."
    )
    special_domains: Annotated[tuple[str, ...], Listed] = Field(
        SPECIAL_DOMAINS,
        description="Names that public DNS does not have, or that belong to no one (RFC 6761, RFC 6762, IANA): neither they nor names "
        "under them may be registered.",
    )
    domains_per_tenant: Count = Field(
        1000,
        description="Most domains, custom and preview domains together, that one tenant may have; more are refused with 409.",
    )
    verify_target: Domain = Field(
        "verify.miosa.ai",
        description="Where a custom domain's CNAME must lead, or to a name below it that is the domain's own: `*.` of it must lead here too.",
    )
    proxy_target: Domain = Field(
        "proxy.miosa.ai",
        description="Where a preview domain's wildcard CNAMEs must lead; `*.` of it must lead here too.",
    )
    dns_servers: Servers = Field(
        (),
        description="Name servers (address or address:port) for every look-up; all are asked and compared."
        " None: those in charge of each name, from the root down, beside the system's resolvers.",
    )
    trusted_proxies: Networks = Field(
        (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128")),
        validate_default=True,
        description="Networks whose forwarding headers are believed.",
    )
    trusted_headers: HeadersOf = Field(
        default_factory=dict,
        description="Headers in which a proxy says who the client is (`CF-Connecting-IP`, `Client-Cert`, `X-Forwarded-User`"
        " and their like), by the network of trusted proxies that they are passed on from. All others are dropped.",
    )
    cookie_zones: Annotated[frozenset[Domain | Literal["*"]], Listed] = Field(
        frozenset(),
        description="Preview domains for all of which one of their hosts may set cookies; `*` for each."
        " In the others, and in the platform's, a cookie is for one host.",
    )
    backend_networks: Networks = Field(
        (
            ipaddress.IPv4Network("10.0.0.0/8"),
            ipaddress.IPv4Network("172.16.0.0/12"),
            ipaddress.IPv4Network("192.168.0.0/16"),
            ipaddress.IPv6Network("fd00::/8"),
        ),
        description="Networks that endpoints may lie in. Link-local and metadata addresses never count.",
    )
    reserved_ports: Ports = Field(frozenset(), description="The platform's agent ports inside a sandbox: never routed.")
    internal_token: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        None, description="Bearer token of /internal/v1. None: /internal/v1 is off."
    )
    secrets_key: SecretKeys | None = Field(
        None,
        description="Key that encrypts what the store has to keep secret and read again (client secrets of logins, private keys of certificates, credentials of log drains, captures): 64 hexadecimal digits, the same on every node. Several are separated by commas: the first encrypts, all decrypt. None: no login, certificate or credentials can be set, and captures are stored in the clear.",
    )
    secrets_key_file: Path | None = Field(
        None, description="File that has it, in the place of `secrets_key` or behind it; several, one per line."
    )
    public_scheme: Literal["https", "http"] = Field("https", description="Scheme of the URLs that the API makes.")
    public_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="Port of the URLs that the API makes. None: the scheme's own."
    )
    plain_http: Literal["serve", "redirect"] = Field(
        "serve",
        description="What plain HTTP gets: what the host leads to, or a redirect to HTTPS; a domain whose certificate is still being fetched explains that until then.",
    )
    access_log: str = Field("-", description="Access log: a file, `-` for standard output, empty for none.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else JSON.")
    log_buffer: Bytes = Field(
        1024 * 1024,
        description="Bytes of lines that may wait where the access log, or standard error, takes none at the moment; what comes on top is lost, and counted.",
    )
    identity_issuer: HttpUrl | None = Field(
        None,
        description="Names this edge in `X-Miosa-Identity`: the `iss` of a tenant is this with `/tenants/<id>` behind it. It is a"
        " name, which nobody fetches, and programs compare it: it should stay as it is. None: `https://` and `platform_domain`.",
    )
    docs_url: HttpUrl | None = Field(
        None,
        description="Base of `docs_url` in error answers: the page that explains the codes, each under its own anchor. None: `/errors`"
        " on the login host, where the router serves that page itself.",
    )
    cors_origins: Origins = Field(
        (),
        description="Origins of web pages whose programs may call the API from a browser; `*` for all. Never with"
        " cookies: they send a key.",
    )
    event_retention: Annotated[float, Field(ge=2 * 86400, le=3660 * 86400)] = Field(
        2_592_000.0, description="How long events are kept, with what came of their webhooks."
    )
    usage_retention: Annotated[float, Field(ge=32 * 86400, le=3660 * 86400)] = Field(
        34_560_000.0,
        description="How long it is kept when machines ran; older than 32 days, which no report reaches, by the day.",
    )
    removed_retention: Annotated[float, Field(ge=30 * 86400, le=3660 * 86400)] = Field(
        7_776_000.0,
        description="How long removed domains, released zones and the slugs of deleted resources are remembered. Until then no one else gets such a slug, and its hosts answer 410.",
    )
    prune_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="Largest share of a table's rows that may be deleted as too old while no process of this node was running; more is refused, since it would look the same if the clock were ahead. 1: no limit.",
    )
    database: Database = Field(default_factory=Database)
    jwt: Jwt = Field(default_factory=Jwt)
    limits: Limits = Field(default_factory=Limits)
    cache: Cache = Field(default_factory=Cache)
    redis: Redis = Field(default_factory=Redis)
    rates: Rates = Field(default_factory=Rates)
    gate: Gate = Field(default_factory=Gate)
    credits: Credits = Field(default_factory=Credits)
    webhooks: Webhooks = Field(default_factory=Webhooks)
    wake: Wake = Field(default_factory=Wake)
    records: Records = Field(default_factory=Records)
    metrics: Annotated[MetricSettings, AfterValidator(_counted)] = Field(default_factory=MetricSettings)
    telemetry: Annotated[Telemetry, AfterValidator(_with_records)] = Field(default_factory=Telemetry)
    operator: Operator = Field(default_factory=Operator)
    audit: Audit = Field(default_factory=Audit)
    ca: Ca = Field(default_factory=Ca)
    checks: Checks = Field(default_factory=Checks)
    domain_connect: DomainConnect = Field(default_factory=DomainConnect)
    console: Console = Field(default_factory=Console)

    @property
    def login_name(self) -> str:
        """The host where people sign in."""
        return self.login_host or f"login.{self.platform_domain}"

    @property
    def login_url(self) -> str:
        """Where people sign in, as browsers reach it."""
        return f"{self.public_scheme}://{self.login_name}{'' if self.public_port is None else f':{self.public_port}'}"

    @property
    def error_docs(self) -> str:
        """The page that explains the codes of errors; `#` and a code lead to its paragraph."""
        return self.docs_url or f"{self.login_url}/errors"

    def redirect_uri(self, tenant_id: str) -> str:
        """Where a tenant's provider sends browsers back to. Each tenant has its own, so that no provider is given another's
        codes."""
        return f"{self.login_url}/callback/{tenant_id}"

    @property
    def certificates_copy(self) -> Path | None:
        """The file in which this node keeps a copy of which names have certificates."""
        return None if self.state_dir is None else self.state_dir / CERTIFICATES

    def secret_keys(self) -> tuple[bytes, ...]:
        """What `secrets_key` or its file has, the key that encrypts first. Raises SettingsError."""
        return read_secret_keys(self.secrets_key, self.secrets_key_file)

    def acme(self) -> Acme | None:
        """What `acme_*` says, checked as a whole; None where no `acme_zone` is set. Raises SettingsError."""
        return together(self, can_seal=bool(self.secret_keys()))

    def check_telemetry(self) -> None:
        """Raises SettingsError where `telemetry.endpoint` is set and the package for it is not installed."""
        if self.telemetry.endpoint is not None and not is_installed():
            raise SettingsError([("telemetry.endpoint", "needs a package: pip install 'miosa-router[otel]'")])

    def caa_doubt(self) -> str | None:
        """Why CAA records may be judged as of another authority than the one that zones' certificates are ordered at."""
        return None if self.acme_zone is None else caa_doubt(self.acme_directory, self.ca.identities)

    def certificate_listener(self) -> CertificateListener | None:
        """What `certificate_*` says, its files read; None where there is no such listener. Raises SettingsError."""
        return listener_of(self)

    def folders(self) -> list[Path]:
        """The folders that the router writes to: of an SQLite store, of the state and of the access log."""
        found = [] if self.state_dir is None else [self.state_dir]
        if self.database_url.startswith("sqlite:///"):
            found.append(Path(self.database_url.removeprefix("sqlite:///").partition("?")[0]).parent)
        if self.access_log not in {"", "-"}:
            found.append(Path(self.access_log).parent)
        return found


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings once. `environ` defaults to the process's.

    Raises SettingsError with every offending key.
    """
    return parse(read(file, environ))


def read(file: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the file and the variables say, for `parse`. Raises SettingsError where that can't be told."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([(str(file), f"cannot be read: {error.strerror}")]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([(str(file), f"is not valid TOML: {error}")]) from error
    for variable, value in environ.items():
        if variable.startswith(PREFIX):
            _put(values, variable.removeprefix(PREFIX).lower().split("__"), value, variable)
    return values


def parse(values: Mapping[str, Any]) -> Settings:
    """The settings that `read` found. Raises SettingsError with every offending key."""
    from pydantic import ValidationError  # noqa: PLC0415 - a worker knows this function and never reads settings itself

    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError([_explain(item) for item in error.errors(include_url=False)]) from None


def _put(values: dict[str, Any], path: list[str], value: str, variable: str) -> None:
    for group in path[:-1]:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise SettingsError([(variable, f"{group} is not a group of settings")])
        values = inner
    values[path[-1]] = value


def _explain(item: Any) -> tuple[str, str]:
    key = ".".join(str(part) for part in item["loc"])
    what = "unknown setting" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
    return key, what

"""The settings: one frozen object, read once, from a TOML file and `MIOSA_ROUTER_*` variables.

Variables win over the file; `__` nests (`MIOSA_ROUTER_LIMITS__DIAL=1.5`). An unknown key or a bad value is refused
with the key's name. Each setting's description is its documentation: `docs/settings.md` is generated from it.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)

from router.hostname import InvalidNameError, canonical_name
from router.redis_url import parse_redis_url

PREFIX = "MIOSA_ROUTER_"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Role = Literal["proxy", "api", "admin", "jobs"]

_BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+):([0-9]{1,5})")


class SettingsError(Exception):
    """Settings that cannot be used. `problems` is [(key, what is wrong)]."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{key}: {what}" for key, what in problems))


def _split(value: object) -> object:
    """Variables and TOML strings may give lists as `a,b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _domain(value: str) -> str:
    try:
        return canonical_name(value)
    except InvalidNameError as error:
        if value == "localhost":  # the one single label that resolves everywhere without DNS
            return value
        raise ValueError(f"{value!r} {error}") from None


def _bind(value: str) -> str:
    match = _BIND.fullmatch(value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT")
    return value


def _server(value: str) -> str:
    try:
        split_server(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address, or ADDRESS:PORT") from None
    return value


def _network(value: object) -> object:
    # pydantic's own union of both families reports each fault twice, under names of its making.
    if not isinstance(value, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        raise ValueError("must be a network such as 10.0.0.0/8")  # noqa: TRY004 - pydantic reports ValueErrors only
    return ipaddress.ip_network(value)


def _database_url(value: str) -> str:
    scheme = next((scheme for scheme in ("sqlite:///", "postgresql://") if value.startswith(scheme)), value)
    if value == scheme:
        raise ValueError("must be sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/name")
    return value


def _http_url(value: str) -> str:
    address = urlsplit(value)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value


def _redis_url(value: str) -> str:
    parse_redis_url(value)
    return value


def _key_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters, digits and _.:-")
    return value


Domain = Annotated[str, AfterValidator(_domain)]
Bind = Annotated[str, AfterValidator(_bind)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(_split)]
Ports = Annotated[frozenset[Annotated[int, Field(ge=1, le=65535)]], BeforeValidator(_split)]
Servers = Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], BeforeValidator(_split)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
Seconds = Annotated[float, Field(gt=0, le=31 * 86400)]
SecondsOrZero = Annotated[float, Field(ge=0, le=31 * 86400)]
Window = Annotated[float, Field(gt=0, le=365 * 86400)]
Steps = Annotated[tuple[Seconds, ...], BeforeValidator(_split), Field(min_length=1)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Cost = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


def _not_below_header(value: int, info: ValidationInfo) -> int:
    if value < info.data.get("header", 0):
        raise ValueError("must not be less than header")
    return value


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Group):
    """What one client, backend or resource may use. Sizes in bytes, times in seconds."""

    request_line: Bytes = Field(16 * 1024, description="Longest request line; longer ones get 414.")
    header: Bytes = Field(16 * 1024, description="Longest header line; longer ones get 431.")
    headers: Annotated[Bytes, AfterValidator(_not_below_header)] = Field(
        64 * 1024, description="Longest head of a request or an answer, at least `header`; more gets 431 or 502."
    )
    header_count: Count = Field(128, description="Most header lines of a request or an answer; more gets 431 or 502.")
    head_time: Seconds = Field(10.0, description="Time for a request's head to arrive, from its first byte; then 408.")
    dial: Seconds = Field(2.0, description="Time to connect to a backend.")
    dial_tries: Count = Field(4, description="Tries to connect where the backend refuses or resets at once.")
    dial_window: Seconds = Field(1.0, description="Within which the tries to connect happen.")
    client_idle: Seconds = Field(75.0, description="How long a client's kept-alive connection may wait for a request.")
    half_close: Seconds = Field(
        2.0, description="How long a client that shut down its sending side waits for an answer."
    )
    backend_idle: Seconds = Field(30.0, description="How long a connection to a backend is kept without use.")
    body_idle: Seconds = Field(300.0, description="Longest silence inside a body or an event stream, either side.")
    tunnel_idle: Seconds = Field(3600.0, description="Longest silence inside a WebSocket or other upgrade.")
    tunnel_lifetime: Seconds = Field(86400.0, description="Longest life of a WebSocket or other upgrade.")
    connections: Count = Field(20_000, description="Client connections and tunnels per worker.")
    exchanges_per_resource: Count = Field(
        256, description="Exchanges and tunnels per resource and worker; more gets 429."
    )
    buffer: Bytes = Field(256 * 1024, description="Bytes held per direction of one exchange.")
    interim_responses: Count = Field(8, description="Most 1xx answers to one request; more gets 502.")
    body: Annotated[int, Field(ge=0)] = Field(0, description="Largest request body, 413 above; 0 is no limit.")
    publish_check: Seconds = Field(30.0, description="How long a program may take to answer before it is published.")
    drain_not_ready: SecondsOrZero = Field(5.0, description="SIGTERM: /readyz says no this long first.")
    drain_requests: SecondsOrZero = Field(30.0, description="SIGTERM: then requests may finish this long.")
    drain_tunnels: SecondsOrZero = Field(300.0, description="SIGTERM: then tunnels and event streams end.")
    process_start: Seconds = Field(
        30.0, description="With several workers: how long a process may take to be ready before it is replaced."
    )
    process_silence: Seconds = Field(
        5.0, description="With several workers: how long a process may give no sign of life before it is replaced."
    )


class Database(_Group):
    """How the store is talked to. Times in seconds. Each process that has the store has its own connections to
    PostgreSQL: of several on a node only the control process, which the workers ask."""

    connections: Count = Field(
        10, description="PostgreSQL: most connections for changes, and as many again for look-ups."
    )
    connect_time: Seconds = Field(3.0, description="PostgreSQL: time to connect.")
    statement_time: Seconds = Field(5.0, description="PostgreSQL: time for one statement.")
    lock_time: Seconds = Field(
        5.0, description="Time to wait for a lock that another holds, or for a connection to be free."
    )


class Cache(_Group):
    """The process's cache of routes. Times in seconds."""

    hosts: Count = Field(12_000, description="Routes kept, about 3 KB each; the oldest go first.")
    unknown_hosts: Count = Field(5_000, description="Unknown hosts remembered, apart, so that a scan evicts no route.")
    ttl: Seconds = Field(60.0, description="How long a route is used. A backstop: changes evict at once.")
    unknown_ttl: Seconds = Field(5.0, description="How long an unknown host is remembered. A backstop as well.")
    stale_if_error: Seconds = Field(300.0, description="How long past its ttl a route is used while the store is down.")
    fetches: Count = Field(4, description="Round trips to Redis and the store at once. Look-ups share them.")
    fetch_time: Seconds = Field(2.0, description="Time for one round trip; then the store counts as down.")


class Redis(_Group):
    """The cache that all processes share and the bus between them, where `redis_url` is set. Times in seconds."""

    prefix: Annotated[str, AfterValidator(_key_prefix)] = Field(
        "miosa-router:", description="What each of our keys begins with. Two fleets on one Redis need two."
    )
    operation_time: Seconds = Field(0.25, description="Time for one operation; then the store is asked instead.")
    connections: Count = Field(32, description="Operations at once per process, each on a connection of its own.")
    failures: Count = Field(5, description="Failures in a row after which Redis is left alone for a while.")
    pause: Seconds = Field(1.0, description="How long it is left alone; then one operation tries again.")
    ttl: Seconds = Field(3600.0, description="How long a record is kept. A backstop: changes replace it at once.")
    unknown_ttl: Seconds = Field(
        300.0, description="How long it is kept that there is no record. A scan fills Redis with these."
    )
    jitter: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share by which each ttl is varied, so that not all records expire at once."
    )
    heartbeat: Seconds = Field(1.0, description="How often the bus says that it is there, and is checked for losses.")
    silence: Seconds = Field(4.0, description="Without a word from the bus for so long it counts as lost.")
    ca_file: Path | None = Field(None, description="CA certificates for rediss://. None: the system's.")
    cert_file: Path | None = Field(None, description="Our certificate for rediss://, where the servers ask for one.")
    key_file: Path | None = Field(None, description="The key of `cert_file`.")
    check_names: bool = Field(True, description="Whether a server's certificate must be for the name in the address.")
    sentinel_username: str | None = Field(None, description="User for the Sentinels, where they ask for one.")
    sentinel_password: SecretStr | None = Field(None, description="Password for the Sentinels.")


class Jwt(_Group):
    """JSON Web Tokens that the API accepts beside keys. None are, unless a secret or a key file is set."""

    secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="Shared secret for HS256, at least 32 bytes."
    )
    jwks_file: Path | None = Field(None, description="JWKS file with public keys for RS256 or ES256.")
    issuer: str | None = Field(None, description="Required `iss` claim.")
    audience: str | None = Field(None, description="Required `aud` claim.")


class Rates(_Group):
    """How often the API may be asked, per minute."""

    workspace: Count = Field(300, description="Requests per workspace; per tenant for keys that have no workspace.")
    auth: Count = Field(20, description="Requests to endpoints that hand out or check credentials, per key or address.")
    anonymous: Count = Field(60, description="Requests without valid credentials, per client address.")


class Gate(_Group):
    """Which certificates Caddy may ask for. The numbers lie below Let's Encrypt's own. Times in seconds."""

    budgets: bool = Field(
        True, description="Whether first certificates are counted. Off where the authority is one's own."
    )
    host: Count = Field(3, description="Certificates for one exact name within `host_window`.")
    host_window: Window = Field(7 * 86400.0, description="See `host`.")
    registered_domain: Count = Field(
        40, description="Names of one registered domain that get a first certificate within `registered_domain_window`."
    )
    registered_domain_window: Window = Field(7 * 86400.0, description="See `registered_domain`.")
    account: Count = Field(240, description="First certificates for all names together within `account_window`.")
    account_window: Window = Field(3 * 3600.0, description="See `account`.")
    in_flight: Count = Field(10, description="First certificates that are being asked for at the same time.")
    starts: Count = Field(10, description="First certificates begun within `starts_window`.")
    starts_window: Window = Field(10.0, description="See `starts`; Caddy's own throttle is ten in ten seconds.")
    attempt_time: Seconds = Field(
        200.0, description="How long one may take to appear before it counts as failed; Caddy itself gives up at 180."
    )
    unwritten: Count = Field(
        100, description="Attempts that may wait for a store that is away; then no further one begins."
    )
    caddy: Bind | None = Field(
        None,
        description="Caddy's https listener. With it a domain's certificate is fetched before the first visitor comes, and again when it is due.",
    )
    handshake_time: Seconds = Field(
        190.0, description="How long Caddy may take for that; it gives up itself after 180, and says so."
    )
    handshakes: Count = Field(5, description="How many of these are under way at once.")
    backoff: Steps = Field(
        (60.0, 600.0, 6000.0, 86400.0),
        description="How long a name waits after its first, second, … failure in a row; the last one repeats.",
    )


class Webhooks(_Group):
    """Where customers may have events sent."""

    private_networks: Networks = Field(
        (),
        description="Networks beyond the Internet that webhooks may be sent to, over http as well. Never backend_networks.",
    )


class Credits(_Group):
    """What one hour of a running computer or sandbox costs, in credits, by its size."""

    xs: Cost = Field(15.0, description="An extra small one.")
    small: Cost = Field(30.0, description="A small one.")
    medium: Cost = Field(60.0, description="A medium one.")
    large: Cost = Field(120.0, description="A large one.")
    xl: Cost = Field(240.0, description="An extra large one.")
    unsized: Cost = Field(30.0, description="One whose size the platform has not said.")


class Ca(_Group):
    """The certificate authority that Caddy orders from, as customers' CAA records know it (RFC 8659, RFC 8657)."""

    identities: Annotated[Domains, Field(min_length=1)] = Field(
        ("letsencrypt.org",), description="Its names in CAA records. The first is the one that customers are told."
    )
    methods: Annotated[tuple[Word, ...], BeforeValidator(_split), Field(min_length=1)] = Field(
        ("http-01", "tls-alpn-01"), description="The ways of validation that Caddy uses, of which one must be allowed."
    )
    account_uri: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description="Address of the account that Caddy has there. None: records that name an account stay undecided.",
    )


class Checks(_Group):
    """Looks at customers' domains: whether they lead to us. Times in seconds."""

    background: bool = Field(
        True, description="Whether domains are looked at again and again by themselves, or only when somebody asks."
    )
    at_once: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="Domains looked at at once, over all nodes.")
    ask_every: SecondsOrZero = Field(10.0, description="Time between two looks that somebody asks for, per domain.")
    http_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        80, description="Port at which domains behind a CDN are asked whether they lead to us."
    )
    networks: Networks = Field((), description="Networks that may be asked so although they are not public.")


class Settings(_Group):
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
    roles: Annotated[frozenset[Role], BeforeValidator(_split), Field(min_length=1)] = Field(
        frozenset({"proxy", "api", "admin", "jobs"}), description="What this node does."
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        "sqlite:///miosa-router.db",
        description="The store: sqlite:///relative.db, sqlite:////absolute.db, postgresql://…",
    )
    state_dir: Path | None = Field(
        None,
        description="Folder for what this node must know without the store: a copy of which names have certificates.",
    )
    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        None, description="Second-level cache and bus of a fleet. None: everything stays in the process."
    )
    platform_domain: Domain = Field("miosa.app", description="The zone in which every resource answers.")
    reserved_domains: Domains = Field(
        ("miosa.ai", "miosa.app"), description="Nobody may register these or names under them."
    )
    verify_target: Domain = Field("verify.miosa.ai", description="Where a custom domain's CNAME must lead.")
    proxy_target: Domain = Field("proxy.miosa.ai", description="Where a preview domain's wildcard CNAMEs must lead.")
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
    wake_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="Where to ask for a stopped resource to be started."
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
    docs_url: Annotated[str, AfterValidator(_http_url)] = Field(
        "https://docs.miosa.ai/errors", description="Base of docs_url in error answers."
    )
    event_retention: Annotated[float, Field(ge=2 * 86400, le=3660 * 86400)] = Field(
        2_592_000.0, description="How long events are kept, with what came of their webhooks."
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
    ca: Ca = Field(default_factory=Ca)
    checks: Checks = Field(default_factory=Checks)


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


def split_bind(bind: str) -> tuple[str, int]:
    """`127.0.0.1:8080` or `[::1]:8080` as (host, port)."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def split_server(server: str) -> tuple[str, int | None]:
    """`192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53` as (address, port). Raises ValueError."""
    try:
        return str(ipaddress.ip_address(server)), None
    except ValueError:
        host, port = split_bind(_bind(server))
        if port == 0:
            raise ValueError("port 0") from None
        return str(ipaddress.ip_address(host)), port

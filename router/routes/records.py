"""The records that routing is decided from, and their keys. Values only: no I/O, no clock.

    name:<host>   who holds this exact custom domain, and the resource that it leads to
    zone:<D>      which scopes use D as their preview domain
    slug:<slug>   the resource with that slug

All keys of a host can be computed from the host alone, so one round trip fetches them; a name record therefore
carries its resource along. Three more are asked for by who opens what is not public (`policies.py`):

    key:<hash>    the API key with that SHA-256, in hexadecimal
    signing:<of>  the fleet's keys that sign `<of>`: `cookies`, `identity`
    session:<id>  the session of somebody who has signed in by their tenant's login

and one by who waits for a resource that sleeps (`wakes.py`):

    wake:<id>     how far the waking of the resource with that id has come
"""

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from router.hostname import HostMeaning
from router.routes.policies import OTHER_PORTS, AccessPolicy, PolicyByPort
from router.routes.wakes import Wake, WakeRecord

SESSION_ID: Final = "ses_"  # how the ids of sessions begin, and no other's

# What the program on a port speaks.
HTTP1: Final = "http1"
H2C: Final = "h2c"


class Kind(enum.StrEnum):
    """What a resource is."""

    SANDBOX = "sandbox"
    COMPUTER = "computer"
    DEPLOYMENT = "deployment"

    @property
    def plural(self) -> str:
        return "sandboxes" if self is Kind.SANDBOX else f"{self}s"


# What a program is told of the host that it is visited under; anything else is the name that it is told.
PRESERVE = "preserve"  # the truth
LOCALHOST = "localhost"
AUTO = "auto"  # the truth, until it refuses that as dev servers do


class State(enum.StrEnum):
    """What a resource's program is doing, as the platform says."""

    PROVISIONING = "provisioning"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    DESTROYED = "destroyed"


class Scope(enum.StrEnum):
    """Whose preview domain a zone is; in the order of precedence."""

    PROJECT = "project"
    WORKSPACE = "workspace"
    TENANT = "tenant"


class DomainStatus(enum.StrEnum):
    """A custom domain's state. Only `verified` and `active` route."""

    PENDING = "pending"
    VERIFIED = "verified"
    ACTIVE = "active"
    FAILED = "failed"
    REMOVED = "removed"

    @property
    def routes(self) -> bool:
        return self in (DomainStatus.VERIFIED, DomainStatus.ACTIVE)


class ListeningSocket(NamedTuple):
    """A port inside a resource that a program listens on, and the address that it is bound to."""

    port: int
    address: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a resource listens now. `generation` changes with each boot; `ports` maps public to real ports.

    `listening` is what programs listen on inside, by real ports; None where the platform does not say. Only the page of a closed port reads it.
    """

    address: str
    generation: str
    ports: Mapping[int, int] = field(default_factory=dict)
    listening: tuple[ListeningSocket, ...] | None = None

    def __post_init__(self) -> None:
        ipaddress.ip_address(self.address)

    def port(self, public: int) -> int:
        """The port to dial for a public one: the same number unless `ports` says otherwise."""
        return self.ports.get(public, public)


def usual_host_mode(kind: Kind) -> str:
    """The mode of ports for which nobody has said one."""
    return PRESERVE if kind is Kind.DEPLOYMENT else AUTO


@dataclass(frozen=True, slots=True)
class ResourceRecord:
    """One sandbox, computer or deployment, as far as routing cares.

    `exposed_ports` None means that every port is routable (the tenant's `auto_expose`). The default port is always
    routable. `host_modes` maps a port to what its program is told; absent is `usual_host_mode`. `schemes` maps a port to
    `https`; absent is `http`. `protocols` maps a port to `h2c`; absent is `http1`. `first_byte` is the longest wait in
    seconds for a response's head; None is `limits.first_byte`. `branding` is the tenant's, for our pages. `policies` says by
    port who may open it; a port that is in there neither by its number nor under `OTHER_PORTS` is open to everybody. `wake`
    says whose requests wake it where it sleeps, `keeps_awake` whether its traffic counts as use, `pings_keep_awake` whether a
    WebSocket on which only pings pass does. `deployment_version` is the id of the version that is live, empty for a machine.
    `capture_until` is until when headers and bodies are captured, in seconds of the epoch; 0.0: they are not.
    """

    id: str
    kind: Kind
    slug: str
    tenant_id: str
    workspace_id: str
    project_id: str
    state: State
    version: int
    default_port: int | None = None
    exposed_ports: frozenset[int] | None = frozenset()
    suspended: bool = False
    endpoint: Endpoint | None = None
    host_modes: Mapping[int, str] = field(default_factory=dict)
    schemes: Mapping[int, str] = field(default_factory=dict)
    protocols: Mapping[int, str] = field(default_factory=dict)
    first_byte: float | None = None
    branding: Mapping[str, str] = field(default_factory=dict)
    policies: PolicyByPort = field(default_factory=dict)
    wake: Wake = Wake.OFF
    keeps_awake: bool = True
    pings_keep_awake: bool = True
    deployment_version: str = ""
    capture_until: float = 0.0

    def policy(self, port: int) -> AccessPolicy | None:
        """Who may open `port`; None is everybody."""
        if not self.policies:
            return None
        policy = self.policies.get(port) or self.policies.get(OTHER_PORTS)
        return policy if policy is not None and policy.restricts else None

    def host_mode(self, port: int) -> str:
        """What the program on `port` is told. Who runs a deployment has set up its name; on a machine people develop."""
        return self.host_modes.get(port) or usual_host_mode(self.kind)

    def exposes(self, port: int) -> bool:
        """Whether `port` may be reached from outside."""
        return port == self.default_port or self.exposed_ports is None or port in self.exposed_ports


@dataclass(frozen=True, slots=True)
class NameRecord:
    """An exact custom domain. `resource` is None once what it led to is gone.

    `redirect_to` is the host to send visitors to with `redirect_status`, where the domain's redirect policy says so.
    `caa_forbidden` is that its CAA records let none of our certificate authorities issue, `not_pointing` that it did not
    lead to us when that was last known for certain. `challenge` is the last label of the path that a domain check
    asks for under this name, and the proof to respond with; None without a check.
    """

    fqdn: str
    status: DomainStatus
    suspended: bool
    tenant_id: str
    resource: ResourceRecord | None
    version: int
    redirect_to: str | None = None
    redirect_status: int = 308
    caa_forbidden: bool = False
    not_pointing: bool = False
    challenge: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ZoneMember:
    """One scope that uses a zone. `scope_id` is the project's, workspace's or tenant's id; the rest as in NameRecord."""

    scope: Scope
    scope_id: str
    tenant_id: str
    verified: bool
    caa_forbidden: bool = False
    not_pointing: bool = False

    def contains(self, resource: ResourceRecord) -> bool:
        """Whether the resource belongs to this scope. A tenant's zone never serves another tenant's resource."""
        if resource.tenant_id != self.tenant_id:
            return False
        if self.scope is Scope.TENANT:
            return True
        owner = resource.project_id if self.scope is Scope.PROJECT else resource.workspace_id
        return owner == self.scope_id


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    """A domain that at least one scope has configured as its preview domain."""

    domain: str
    claims: tuple[ZoneMember, ...]
    version: int

    @property
    def verified(self) -> bool:
        """Whether any scope's claim is."""
        return any(claim.verified for claim in self.claims)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key: whose it is and how far it reaches, in the words of `keys create --scope`. `scope_id` is the workspace's or
    project's id, else the tenant's. `until` is in seconds of the epoch, None for ever; `revoked` opens nothing."""

    id: str
    tenant_id: str
    scope: str
    scope_id: str
    version: int
    until: float | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the fleet. `secret` is in hexadecimal: a key for HMAC, or of `IDENTITY` the private number of one for ES256. It signs from `since` until the next one does, and what it has signed is
    believed until `until`; both in seconds of the epoch."""

    id: str
    secret: str
    since: float
    until: float


COOKIES: Final = "cookies"
IDENTITY: Final = "identity"


@dataclass(frozen=True, slots=True)
class SigningKeysRecord:
    """The fleet's keys for one purpose, the newest first."""

    purpose: str
    keys: tuple[SigningKey, ...]
    version: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session, and who has signed in: `subject` is their id at the provider, `email` what that has verified. It holds until
    `until`, in seconds of the epoch, unless it is `revoked`."""

    id: str
    tenant_id: str
    subject: str
    email: str | None
    version: int
    until: float
    revoked: bool = False


Record = NameRecord | ZoneRecord | ResourceRecord | KeyRecord | SigningKeysRecord | SessionRecord | WakeRecord


class Snapshot(dict[str, tuple[int, Record | None]]):
    """Records as of one instant: each key's version, and the record or None. Version 0 has never existed; or it is
    an API key's from before those had versions.

    `seen` is the number of the newest change that had been committed by that instant.
    """

    def __init__(self, records: Mapping[str, tuple[int, Record | None]], *, seen: int) -> None:
        super().__init__(records)
        self.seen = seen


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of the record under `key`. Numbers grow in the order of the commits."""

    number: int
    key: str
    at: datetime
    moved: bool = False  # nothing changed but where the resource listens


def name_key(host: str) -> str:
    return f"name:{host}"


def zone_key(domain: str) -> str:
    return f"zone:{domain}"


def slug_key(slug: str) -> str:
    return f"slug:{slug}"


def api_key_key(digest: str) -> str:
    return f"key:{digest}"


def signing_key(purpose: str) -> str:
    return f"signing:{purpose}"


def session_key(session_id: str) -> str:
    return f"session:{session_id}"


def keys_of(host: str, host_meanings: tuple[HostMeaning, ...]) -> tuple[str, ...]:
    """The record keys of a canonical host: at most five, each once."""
    keys = [name_key(host)]
    keys += [zone_key(reading.zone) for reading in host_meanings]
    keys += [slug_key(reading.slug) for reading in host_meanings]
    return tuple(dict.fromkeys(keys))

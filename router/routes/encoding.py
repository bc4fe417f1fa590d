"""How a record is kept in Redis, and told to another process: its version, a blank, and the record as JSON, or `-` where
there is none at that version.

The version stands in front so that a script can compare it without reading JSON. `f` is the format's number: a value
of a higher one was written by a program that means something else by it, and is as good as absent. Within a format,
fields are only ever added, and those that this version does not know are skipped. A record that not everybody may open is
of the second format: a program of the first would skip that, and open it.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from sys import intern
from typing import Any

from router.routes.policy_encoding import fields_of_policies, policies_in
from router.routes.records import (
    DomainStatus,
    Endpoint,
    KeyRecord,
    Kind,
    ListeningSocket,
    NameRecord,
    Record,
    ResourceRecord,
    Scope,
    SessionRecord,
    SigningKey,
    SigningKeysRecord,
    State,
    ZoneMember,
    ZoneRecord,
)
from router.routes.wakes import Wake, WakeRecord, WakeState

FORMAT = 2
_OPEN = 1  # the format of what everybody may open

_NONE = b"-"


class CorruptValueError(Exception):
    """A value that is not one of ours."""


class NewerFormatError(Exception):
    """A value that a newer version wrote for itself."""


def encode(version: int, record: Record | None) -> bytes:
    """A record, or that there is none (`record` None), at this version."""
    if record is None:
        return b"%d %b" % (version, _NONE)
    fields = {"f": _format(record), **_fields(record)}
    return b"%d %b" % (version, json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode())


def decode(key: str, value: bytes) -> tuple[int, Record | None]:
    """What `encode` was given, for the record of this key. Raises CorruptValueError, NewerFormatError."""
    head, _, body = value.partition(b" ")
    try:
        version = int(head)
        if body == _NONE:
            return version, None
        fields = json.loads(body)
        if fields["f"] > FORMAT:
            raise NewerFormatError(f"{key} is of format {fields['f']}, and this version knows {FORMAT}")
        return version, _READERS[key.partition(":")[0]](fields)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptValueError(f"{key} is not a record: {type(error).__name__}: {error}") from error


def _format(record: Record) -> int:
    resource = record.resource if isinstance(record, NameRecord) else record
    return FORMAT if isinstance(resource, ResourceRecord) and resource.policies else _OPEN


def _fields(record: Record) -> dict[str, Any]:
    if isinstance(record, ResourceRecord):
        return _of_resource(record)
    if isinstance(record, NameRecord):
        return _of_name(record)
    if isinstance(record, KeyRecord):
        return _of_key(record)
    if isinstance(record, WakeRecord):
        return _of_wake(record)
    if isinstance(record, SigningKeysRecord):
        return {
            "purpose": record.purpose,
            "keys": [[key.id, key.secret, key.since, key.until] for key in record.keys],
            "version": record.version,
        }
    if isinstance(record, SessionRecord):
        return _of_session(record)
    return {"domain": record.domain, "claims": [_of_claim(claim) for claim in record.claims], "version": record.version}


def _of_key(record: KeyRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": record.id,
        "tenant": record.tenant_id,
        "scope": record.scope,
        "scope_id": record.scope_id,
        "version": record.version,
    }
    if record.until is not None:
        fields["until"] = record.until
    return fields | {"revoked": True} if record.revoked else fields


def _of_wake(record: WakeRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": record.resource_id,
        "state": record.state,
        "since": record.since,
        "until": record.until,
        "version": record.version,
    }
    seldom = {"place": record.place, "code": record.code}
    return fields | {name: value for name, value in seldom.items() if value is not None}


def _of_session(record: SessionRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant_id,
        "subject": record.subject,
        "email": record.email,
        "version": record.version,
        "until": record.until,
        "revoked": record.revoked,
    }


def _of_claim(claim: ZoneMember) -> list[Any]:
    fields: list[Any] = [claim.scope, claim.scope_id, claim.tenant_id, claim.verified]
    if claim.caa_forbidden or claim.not_pointing:
        fields += [claim.caa_forbidden, claim.not_pointing]
    return fields


def _of_resource(record: ResourceRecord) -> dict[str, Any]:
    endpoint = record.endpoint
    where: list[Any] | None = None
    if endpoint is not None:
        where = [endpoint.address, endpoint.generation, {**endpoint.ports}]
        if endpoint.listening is not None:
            where.append(endpoint.listening)
    fields: dict[str, Any] = {
        "id": record.id,
        "kind": record.kind,
        "slug": record.slug,
        "tenant": record.tenant_id,
        "workspace": record.workspace_id,
        "project": record.project_id,
        "state": record.state,
        "version": record.version,
        "port": record.default_port,
        "exposed": None if record.exposed_ports is None else sorted(record.exposed_ports),
    }
    # Most resources have none of these.
    seldom = {
        "suspended": record.suspended,
        "endpoint": where,
        "hosts": {**record.host_modes},
        "schemes": {**record.schemes},
        "protocols": {**record.protocols},
        "first_byte": record.first_byte,
        "branding": {**record.branding},
        "wake": None if record.wake is Wake.OFF else record.wake,
        "uncounted": not record.keeps_awake,
        "uncounted_pings": not record.pings_keep_awake,
        "live": record.deployment_version,
        "capture_until": record.capture_until,
        **fields_of_policies(record.policies),
    }
    return fields | {name: value for name, value in seldom.items() if value}


def _resource(fields: Mapping[str, Any]) -> ResourceRecord:
    exposed, where = fields["exposed"], fields.get("endpoint")
    return ResourceRecord(
        id=fields["id"],
        kind=_KINDS[fields["kind"]],
        slug=fields["slug"],
        tenant_id=intern(fields["tenant"]),
        workspace_id=intern(fields["workspace"]),
        project_id=intern(fields["project"]),
        state=_STATES[fields["state"]],
        version=fields["version"],
        default_port=fields["port"],
        exposed_ports=None if exposed is None else _ports(tuple(exposed)),
        suspended=fields.get("suspended", False),
        endpoint=None if where is None else _endpoint(*where),
        host_modes=_by_port(fields.get("hosts", {})),
        schemes=_by_port(fields.get("schemes", {})),
        protocols=_by_port(fields.get("protocols", {})),
        first_byte=fields.get("first_byte"),
        branding=_shared(tuple(fields.get("branding", {}).items())),
        policies=_by_port(policies_in(fields)),
        wake=Wake.of(fields.get("wake", Wake.OFF)),
        keeps_awake=not fields.get("uncounted", False),
        pings_keep_awake=not fields.get("uncounted_pings", False),
        capture_until=float(fields.get("capture_until", 0.0)),
        deployment_version=str(fields.get("live", "")),
    )


def _key(fields: Mapping[str, Any]) -> KeyRecord:
    return KeyRecord(
        id=fields["id"],
        tenant_id=intern(fields["tenant"]),
        scope=intern(fields["scope"]),
        scope_id=fields["scope_id"],
        version=fields["version"],
        until=fields.get("until"),
        revoked=fields.get("revoked", False) is not False,
    )


def _wake(fields: Mapping[str, Any]) -> WakeRecord:
    return WakeRecord(
        resource_id=fields["id"],
        state=WakeState(fields["state"]),
        since=float(fields["since"]),
        until=float(fields["until"]),
        version=fields["version"],
        place=fields.get("place"),
        code=fields.get("code"),
    )


def _signing(fields: Mapping[str, Any]) -> SigningKeysRecord:
    keys = tuple(SigningKey(str(one[0]), str(one[1]), float(one[2]), float(one[3])) for one in fields["keys"])
    return SigningKeysRecord(fields["purpose"], keys, fields["version"])


def _session(fields: Mapping[str, Any]) -> SessionRecord:
    # What is not plainly false is a revocation, as with secrets.
    return SessionRecord(
        id=fields["id"],
        tenant_id=intern(fields["tenant"]),
        subject=fields["subject"],
        email=fields["email"],
        version=fields["version"],
        until=float(fields["until"]),
        revoked=fields["revoked"] is not False,
    )


def _endpoint(
    address: str,
    generation: str,
    ports: Mapping[str, int],
    listening: Sequence[Sequence[Any]] | None = None,
    *_: object,
) -> Endpoint:
    bound = None if listening is None else tuple(ListeningSocket(int(port), intern(on)) for port, on in listening)
    return Endpoint(address, intern(generation), _by_port(ports), bound)


def _of_name(record: NameRecord) -> dict[str, Any]:
    fields = {
        "fqdn": record.fqdn,
        "status": record.status,
        "suspended": record.suspended,
        "tenant": record.tenant_id,
        "resource": None if record.resource is None else _of_resource(record.resource),
        "version": record.version,
    }
    if record.redirect_to is not None:
        fields |= {"redirect_to": record.redirect_to, "redirect_status": record.redirect_status}
    seldom = {
        "caa_forbidden": record.caa_forbidden,
        "not_pointing": record.not_pointing,
        "challenge": record.challenge,
    }
    return fields | {name: value for name, value in seldom.items() if value}


def _name(fields: Mapping[str, Any]) -> NameRecord:
    resource, challenge = fields["resource"], fields.get("challenge")
    return NameRecord(
        fqdn=fields["fqdn"],
        status=DomainStatus(fields["status"]),
        suspended=fields["suspended"],
        tenant_id=fields["tenant"],
        resource=None if resource is None else _resource(resource),
        version=fields["version"],
        redirect_to=fields.get("redirect_to"),
        redirect_status=fields.get("redirect_status", 308),
        caa_forbidden=fields.get("caa_forbidden", False),
        not_pointing=fields.get("not_pointing", False),
        challenge=None if challenge is None else (str(challenge[0]), str(challenge[1])),
    )


def _zone(fields: Mapping[str, Any]) -> ZoneRecord:
    return ZoneRecord(fields["domain"], tuple(_claim(*claim) for claim in fields["claims"]), fields["version"])


def _claim(
    scope: str,
    scope_id: str,
    tenant_id: str,
    verified: bool,
    caa_forbidden: object = False,
    not_pointing: object = False,
    *_: object,
) -> ZoneMember:
    return ZoneMember(Scope(scope), scope_id, tenant_id, verified, caa_forbidden is True, not_pointing is True)


# A process keeps tens of thousands of records, and what many have in common it keeps once.

_NO_PORTS: Mapping[int, Any] = {}


def _by_port(items: Mapping[str, Any]) -> Mapping[int, Any]:
    return {int(port): value for port, value in items.items()} or _NO_PORTS


@functools.lru_cache(maxsize=1024)
def _ports(ports: tuple[Any, ...]) -> frozenset[int]:
    return frozenset(map(int, ports))


@functools.lru_cache(maxsize=1024)
def _shared(marks: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The marks for the pages. All records of a tenant share one object: a logo may have 64 KiB."""
    return dict(marks)


_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}
_READERS: Mapping[str, Callable[[Mapping[str, Any]], Record]] = {
    "slug": _resource,
    "name": _name,
    "zone": _zone,
    "key": _key,
    "signing": _signing,
    "wake": _wake,
    "session": _session,
}

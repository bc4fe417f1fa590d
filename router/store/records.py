"""Routing records out of SQL: what `routes.resolver` asks for when no cache knows.

All keys of a host are read as of one instant, and their versions with them. Ownership, suspension and `auto_expose` are
joined, so that a decision needs nothing else. `lookups.py` has the statements.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from router.domains.checks.schedule import Method
from router.domains.preview_domains import PreviewStatus
from router.domains.redirects import RedirectPolicy, redirect_target
from router.routes.batches import Found
from router.routes.records import (
    AUTO,
    HTTP1,
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
    Snapshot,
    State,
    ZoneMember,
    ZoneRecord,
    api_key_key,
    name_key,
    session_key,
    signing_key,
    slug_key,
    usual_host_mode,
    zone_key,
)
from router.routes.wakes import Wake, WakeRecord, WakeState, wake_key
from router.store.connection import Reader
from router.store.failures import translated
from router.store.lookup_queries import SEEN
from router.store.lookups import AtOnce, Lookups, OneByOne, at_once
from router.store.policies import is_public, policies_of
from router.store.wakes import wake_of
from router.tenancy.branding import on_pages

_HTTP = "http"


class SqlRecords:
    """routes.batches.RecordSource, cache.records.VersionedSource"""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        if reader.dialect.name != "sqlite":
            at_once()  # else the first visitor would wait for it

    async def fetch(self, keys: Sequence[str]) -> Found:
        """Raises StoreUnavailableError."""
        snapshot = await self.fetch_versioned(keys)
        return Found({key: record for key, (_, record) in snapshot.items()}, sources=dict.fromkeys(keys, "sql"))

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """Each key's version beside its record, absent ones included.

        A cache needs the versions of what is absent too, or a slow fill could hide a record that was made meanwhile.
        Raises StoreUnavailableError.
        """
        wanted = tuple(dict.fromkeys(keys))
        if self._reader.dialect.name == "sqlite":
            return await self._reader.run(lambda connection: _read(OneByOne(connection), wanted))
        sought = {
            "keys": list(wanted),
            "names": _named("name:", wanted),
            "slugs": _named("slug:", wanted),
            "zones": _named("zone:", wanted),
            "digests": _named("key:", wanted),
            "purposes": _named("signing:", wanted),
            "wakes": _named("wake:", wanted),
            "session_ids": _named("session:", wanted),
        }
        with translated():
            found = await self._reader.one(at_once(), sought)
        return _read(AtOnce(found), wanted)


def _named(prefix: str, keys: Sequence[str]) -> list[str]:
    """What the keys of this prefix name."""
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


def _read(lookups: Lookups, keys: Sequence[str]) -> Snapshot:
    names, slugs, zones = _named("name:", keys), _named("slug:", keys), _named("zone:", keys)
    versions = {row.key: row.version for row in lookups.versions(keys)}
    seen = versions.pop(SEEN)
    domains: dict[str, Any] = {}
    for row in lookups.domains(names):
        domains.setdefault(row.fqdn, row)
    by_id = _read_resources(lookups, slugs, [row.resource_id for row in domains.values()])
    records: dict[str, Record] = {
        slug_key(resource.slug): resource
        for resource in by_id.values()
        if resource.slug in slugs and resource.state is not State.DESTROYED
    }
    absent = [slug for slug in slugs if slug_key(slug) not in records]
    for row in lookups.tombstones(absent):
        key = slug_key(row.tombstone_slug)
        # Of a resource that lives on under another slug only this one is dead.
        dead = {
            "slug": row.tombstone_slug,
            "state": State.DESTROYED,
            "endpoint": None,
            "policies": {},
            "version": versions.get(key, 0),
        }
        records[key] = replace(_resource(row, set(), (), (), ()), **dead)
    blocked = {row.subject: row.tenant_id for row in lookups.blocks(names)}
    for fqdn, row in domains.items():
        counts = fqdn in blocked and blocked[fqdn] in (None, row.tenant_id)
        version = versions.get(name_key(fqdn), 0)
        records[name_key(fqdn)] = _name(row, by_id.get(row.resource_id), version, blocked=counts)
    for fqdn, tenant_id in blocked.items():
        if fqdn not in domains and tenant_id is None:
            records[name_key(fqdn)] = _blocked_name(fqdn, versions.get(name_key(fqdn), 0))
    claims: dict[str, list[ZoneMember]] = {}
    for row in lookups.claims(zones):
        verified = row.status == PreviewStatus.VERIFIED
        claim = ZoneMember(
            Scope(row.scope), row.scope_id, row.tenant_id, verified, bool(row.caa_forbidden), bool(row.not_pointing)
        )
        claims.setdefault(row.domain, []).append(claim)
    for zone, of_zone in claims.items():
        records[zone_key(zone)] = ZoneRecord(zone, tuple(of_zone), versions.get(zone_key(zone), 0))
    for row in lookups.api_keys(_named("key:", keys)):
        key = api_key_key(row.digest)
        records[key] = _api_key(row, versions.get(key, 0))
    signing: dict[str, list[SigningKey]] = {}
    for row in lookups.signing_keys(_named("signing:", keys)):
        signing.setdefault(row.purpose, []).append(SigningKey(row.id, row.secret, row.since, row.until))
    for purpose, of_purpose in signing.items():
        key = signing_key(purpose)
        records[key] = SigningKeysRecord(purpose, tuple(of_purpose), versions.get(key, 0))
    for row in lookups.wakes(_named("wake:", keys)):
        key = wake_key(row.resource_id)
        records[key] = _wake(row, versions.get(key, 0))
    for row in lookups.sessions(_named("session:", keys)):
        key = session_key(row.id)
        records[key] = _session(row, versions.get(key, 0))
    return Snapshot({key: (versions.get(key, 0), records.get(key)) for key in keys}, seen=seen)


def _read_resources(lookups: Lookups, slugs: Sequence[str], ids: Sequence[str]) -> Mapping[str, ResourceRecord]:
    """The live resources of the slugs, and those that the domains lead to; by id."""
    rows = lookups.resources(slugs, ids)
    exposed: dict[str, set[int]] = {}
    live = [row.id for row in rows if row.deleted_at is None]
    for row in lookups.ports(live):
        exposed.setdefault(row.resource_id, set()).add(row.port)
    served = _by_resource(lookups.previews(live))
    secrets = _by_resource(lookups.secrets(live))
    guarded = [row.tenant_id for row in rows if not is_public(row, served.get(row.id, ()))]
    issuers: dict[str, list[Any]] = {}
    for row in lookups.issuers(guarded):
        issuers.setdefault(row.tenant_id, []).append(row)
    return {
        row.id: _resource(
            row,
            exposed.get(row.id, set()),
            served.get(row.id, ()),
            secrets.get(row.id, ()),
            issuers.get(row.tenant_id, ()),
        )
        for row in rows
    }


def _by_resource(rows: Iterable[Any]) -> Mapping[str, Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.resource_id, []).append(row)
    return found


def _resource(
    row: Any, exposed: set[int], served: Sequence[Any], secrets: Sequence[Any], issuers: Sequence[Any]
) -> ResourceRecord:
    """`served` are the rows of its previews, which say more than the resource's own maps; `secrets` are what opens them,
    `issuers` the CI systems whose tokens may."""
    endpoint = None
    if row.address is not None:
        ports = {int(public): real for public, real in row.ports.items()}
        listening = None if row.listening is None else tuple(ListeningSocket(*one) for one in row.listening)
        endpoint = Endpoint(row.address, row.generation, ports, listening)
    return ResourceRecord(
        id=row.id,
        kind=Kind(row.kind),
        slug=row.slug,
        tenant_id=row.tenant_id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        state=_state(row),
        version=row.version,
        default_port=row.main_port,
        exposed_ports=None if row.auto_expose else frozenset(exposed),
        suspended=row.suspended or row.tenant_suspended or row.followed_suspended,
        endpoint=endpoint,
        host_modes=_by_port(
            row.host_modes,
            {one.port: one.host_mode for one in served if one.host_mode != AUTO},
            usual_host_mode(Kind(row.kind)),
        ),
        schemes=_by_port(row.schemes, {one.port: one.scheme for one in served}, _HTTP),
        protocols=_by_port(row.protocols, {one.port: one.protocol for one in served}, HTTP1),
        first_byte=row.first_byte,
        branding=_branding(tuple(row.branding.items())),
        policies={} if row.deleted_at is not None else policies_of(row, served, secrets, issuers),
        # What listens where a sandbox does sleeps as that does, and is woken with it.
        wake=wake_of(row) if row.followed_state is None else Wake.OFF,
        keeps_awake=row.default_keeps_awake if row.keeps_awake is None else row.keeps_awake,
        pings_keep_awake=row.pings_keep_awake,
        deployment_version=row.active_version_id or "",
        capture_until=_seconds(row.capture_until) or 0.0,
    )


def _by_port(own: Mapping[str, str], previews: Mapping[int, str], usual: str) -> dict[int, str]:
    """What differs from the usual, by port; a preview says it of its port."""
    said = {**{int(port): value for port, value in own.items()}, **previews}
    return {port: value for port, value in said.items() if value != usual}


def _state(row: Any) -> State:
    """What a resource's program is doing. A deployment that is live does what its sandbox does; that is never gone for
    good, as the deployment is not."""
    state = State(row.state)
    if state is not State.RUNNING or row.followed_state is None:
        return state
    followed = State(row.followed_state)
    return State.STOPPED if followed is State.DESTROYED else followed


@functools.lru_cache(maxsize=1024)
def _branding(stored: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The branding for the pages. All records of a tenant share one object: a logo may have 64 KiB."""
    return on_pages(dict(stored))


def _blocked_name(fqdn: str, version: int) -> NameRecord:
    """A blocked host that is no custom domain: one in a zone, or one that was given up."""
    return NameRecord(fqdn, DomainStatus.REMOVED, suspended=True, tenant_id="", resource=None, version=version)


def _api_key(row: Any, version: int) -> KeyRecord:
    """A workspace's or project's keys are revoked when it goes away. Those of a suspended tenant still count, as they do at
    the API: what they open is blocked."""
    return KeyRecord(
        id=row.id,
        tenant_id=row.tenant_id,
        scope=row.scope,
        scope_id=row.scope_id,
        version=version,
        until=_seconds(row.expires_at),
        revoked=row.revoked_at is not None,
    )


def _wake(row: Any, version: int) -> WakeRecord:
    return WakeRecord(
        resource_id=row.resource_id,
        state=WakeState(row.state),
        since=row.since,
        until=row.until,
        version=version,
        place=row.place,
        code=row.code,
    )


def _session(row: Any, version: int) -> SessionRecord:
    return SessionRecord(
        id=row.id,
        tenant_id=row.tenant_id,
        subject=row.subject,
        email=row.email,
        version=version,
        until=_instant(row.expires_at).timestamp(),
        revoked=row.revoked_at is not None,
    )


def _seconds(at: datetime | str | None) -> float | None:
    """An instant in seconds of the epoch."""
    return None if at is None else _instant(at).timestamp()


def _instant(at: datetime | str) -> datetime:
    """PostgreSQL writes it as text in JSON."""
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def _name(row: Any, resource: ResourceRecord | None, version: int, *, blocked: bool) -> NameRecord:
    """`blocked` is whether a block of the host itself counts. A block of the resource or the tenant counts only while
    the name leads there: a name that was only registered may belong to another customer."""
    status = DomainStatus(row.status)
    led_there = status.routes or (status is DomainStatus.FAILED and row.verified_at is not None)
    leads_there = led_there and (row.tenant_suspended or (resource is not None and resource.suspended))
    gone = resource is None or resource.state is State.DESTROYED
    return NameRecord(
        fqdn=row.fqdn,
        status=status,
        suspended=blocked or leads_there,
        tenant_id=row.tenant_id,
        resource=None if gone or status is DomainStatus.REMOVED else resource,
        version=version,
        redirect_to=redirect_target(row.fqdn, RedirectPolicy(row.redirect_policy)),
        redirect_status=row.redirect_status,
        caa_forbidden=bool(row.caa_forbidden),
        not_pointing=bool(row.not_pointing),
        challenge=_challenge(row, status),
    )


def _challenge(row: Any, status: DomainStatus) -> tuple[str, str] | None:
    """The challenge's response, while a check may ask for it; None where DNS records alone are enough, so that most
    domains' requests need not be compared with it."""
    wanted = not status.routes or row.not_pointing or row.method == Method.PROXIED
    return (row.token, row.proof) if wanted and row.proof and status is not DomainStatus.REMOVED else None

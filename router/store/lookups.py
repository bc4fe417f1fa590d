"""What is looked up for routing records, and the two ways to look it up.

On SQLite a statement costs microseconds, so there is one per kind. On PostgreSQL each one is a round trip, and so are
BEGIN and COMMIT; so there a single statement reads everything, as of one instant by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from router.store.block_tables import blocks
from router.store.deployment_tables import deployment_versions, deployments
from router.store.issuer_tables import trusted_issuers
from router.store.journal_tables import outbox, route_versions
from router.store.login_tables import logins, sessions
from router.store.tables import (
    api_keys,
    custom_domains,
    endpoints,
    exposed_ports,
    preview_domains,
    preview_secrets,
    previews,
    resources,
    signing_keys,
    tenants,
    tombstones,
)
from router.store.wake_tables import RUNS_BY_NOW, wakes

# A deployment answers where its active version listens; else where the sandbox does that this was published from, and
# then only as far as that sandbox does; else where the platform says of the deployment itself.
_own, _version, _sandboxs = endpoints.alias("own"), endpoints.alias("version"), endpoints.alias("sandboxs")
_active, _sandbox = deployment_versions.alias("active"), resources.alias("sandbox")
_follows = sa.and_(
    _sandbox.c.id.is_not(None),
    _version.c.holder_id.is_(None),
    sa.or_(_sandboxs.c.holder_id.is_not(None), _own.c.holder_id.is_(None)),
)

# The port of hosts without one, where none was chosen: the one that was exposed first.
_main_port = sa.func.coalesce(
    resources.c.default_port,
    sa.select(previews.c.port)
    .where(previews.c.resource_id == resources.c.id)
    .order_by(previews.c.created_at, previews.c.port)
    .limit(1)
    .correlate(resources)
    .scalar_subquery(),
)


def _resources(of: sa.FromClause) -> sa.Select[Any]:
    """The resources whose ids are in `of`, and what belongs to each. `of` comes first, and is a handful of rows:
    PostgreSQL takes so many joins in the order in which they are written."""
    return (
        sa.select(
            resources,
            _main_port.label("main_port"),
            tenants.c.auto_expose,
            tenants.c.suspended.label("tenant_suspended"),
            tenants.c.branding,
            tenants.c.slug.label("tenant_slug"),
            tenants.c.default_visibility,
            tenants.c.default_wake,
            tenants.c.default_keeps_awake,
            logins.c.id.is_not(None).label("has_login"),
            tenants.c.pings_keep_awake,
            sa.func.coalesce(_version.c.address, _sandboxs.c.address, _own.c.address).label("address"),
            sa.func.coalesce(_version.c.generation, _sandboxs.c.generation, _own.c.generation).label("generation"),
            sa.case(
                (_version.c.holder_id.is_not(None), _version.c.ports),
                (_sandboxs.c.holder_id.is_not(None), _sandboxs.c.ports),
                else_=_own.c.ports,
            ).label("ports"),
            sa.case(
                (_version.c.holder_id.is_not(None), _version.c.listening),
                (_sandboxs.c.holder_id.is_not(None), _sandboxs.c.listening),
                else_=_own.c.listening,
            ).label("listening"),
            deployments.c.active_version_id,
            sa.case((_follows, _sandbox.c.state)).label("followed_state"),
            # What was published from a sandbox that is blocked is blocked too, wherever it listens.
            sa.func.coalesce(_sandbox.c.suspended, sa.false()).label("followed_suspended"),
            sa.func.coalesce(route_versions.c.version, 0).label("version"),
        )
        .select_from(of)
        .join(resources, resources.c.id == of.c.id)
        .join(tenants, tenants.c.id == resources.c.tenant_id)
        .outerjoin(logins, logins.c.tenant_id == resources.c.tenant_id)
        .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
        .outerjoin(_own, _own.c.holder_id == resources.c.id)
        .outerjoin(_version, _version.c.holder_id == deployments.c.active_version_id)
        .outerjoin(_active, _active.c.id == deployments.c.active_version_id)
        .outerjoin(_sandbox, _sandbox.c.id == _active.c.source_sandbox_id)
        .outerjoin(_sandboxs, _sandboxs.c.holder_id == _active.c.source_sandbox_id)
        .outerjoin(route_versions, route_versions.c.key == "slug:" + resources.c.slug)
    )


SEEN = ""  # no record's key: under it stands the newest row of the outbox

Among = Callable[[sa.ColumnElement[str]], sa.ColumnElement[bool]]


def _versions(of_keys: Among) -> sa.CompoundSelect[Any]:
    newest = sa.select(sa.literal(SEEN), sa.func.coalesce(sa.func.max(outbox.c.id), 0))
    return (
        sa.select(route_versions.c.key, route_versions.c.version).where(of_keys(route_versions.c.key)).union_all(newest)
    )


def _domains(of_names: Among) -> sa.Select[Any]:
    """The live domain of each name comes before those that were removed, the last removed first."""
    return (
        sa.select(custom_domains, tenants.c.suspended.label("tenant_suspended"))
        .join(tenants, tenants.c.id == custom_domains.c.tenant_id)
        .where(of_names(custom_domains.c.fqdn))
        .order_by(custom_domains.c.removed_at.is_not(None), custom_domains.c.removed_at.desc())
    )


def _blocks(of_names: Among) -> sa.Select[Any]:
    """The blocks of hosts that are in force, whatever tenant has the names."""
    return sa.select(blocks.c.subject, blocks.c.tenant_id).where(
        blocks.c.kind == "host", of_names(blocks.c.subject), blocks.c.lifted_at.is_(None)
    )


def _wanted(of_slugs: Among, others: sa.Select[Any]) -> sa.CompoundSelect[Any]:
    """The ids of the slugs' resources and of others. A union, because either half has an index, and SQLite scans where
    an OR mixes them."""
    living = sa.select(resources.c.id).where(of_slugs(resources.c.slug), resources.c.deleted_at.is_(None))
    return living.union(others)


def _tombstones(of_slugs: Among) -> sa.Select[Any]:
    """Deleted resources have no ports and no endpoint; what they belonged to says whose zone may respond for them."""
    dead = (
        sa.select(tombstones.c.resource_id.label("id"), tombstones.c.slug.label("tombstone_slug"))
        .where(of_slugs(tombstones.c.slug))
        .subquery("dead")
    )
    return _resources(dead).add_columns(dead.c.tombstone_slug)


def _claims(of_zones: Among) -> sa.Select[Any]:
    return (
        sa.select(preview_domains)
        .where(of_zones(preview_domains.c.domain))
        .order_by(preview_domains.c.created_at, preview_domains.c.id)
    )


def _ports(of_ids: Among) -> sa.Select[Any]:
    return sa.select(exposed_ports).where(of_ids(exposed_ports.c.resource_id))


def _previews(of_ids: Among) -> sa.Select[Any]:
    return sa.select(previews).where(of_ids(previews.c.resource_id))


def _secrets(of_ids: Among) -> sa.Select[Any]:
    """The oldest first, so that a record has them in the order of its last. Without the hashes of passwords, which no record
    has."""
    columns = [column for column in preview_secrets.c if column.name != "password_hash"]
    return (
        sa.select(*columns)
        .where(of_ids(preview_secrets.c.resource_id))
        .order_by(preview_secrets.c.created_at, preview_secrets.c.id)
    )


def _issuers(of_tenants: Among) -> sa.Select[Any]:
    """What records have of the CI systems that tenants trust; the oldest first."""
    columns = ("id", "tenant_id", "workspace_id", "project_id", "issuer", "audience", "generation")
    return (
        sa.select(*(trusted_issuers.c[name] for name in columns))
        .where(of_tenants(trusted_issuers.c.tenant_id), trusted_issuers.c.enabled)
        .order_by(trusted_issuers.c.created_at, trusted_issuers.c.id)
    )


def _api_keys(of_digests: Among) -> sa.Select[Any]:
    """What a record has of a key: nothing that its use changes."""
    columns = ("digest", "id", "tenant_id", "scope", "scope_id", "expires_at", "revoked_at")
    return sa.select(*(api_keys.c[name] for name in columns)).where(of_digests(api_keys.c.digest))


def _signing_keys(of_purposes: Among) -> sa.Select[Any]:
    """The newest first."""
    return (
        sa.select(signing_keys)
        .where(of_purposes(signing_keys.c.purpose))
        .order_by(signing_keys.c.since.desc(), signing_keys.c.id)
    )


def _wakes(of_ids: Among) -> sa.Select[Any]:
    """Those of resources that run by now are over."""
    columns = ("resource_id", "state", "since", "until", "place", "code")
    return sa.select(*(wakes.c[name] for name in columns)).where(
        of_ids(wakes.c.resource_id), wakes.c.state != RUNS_BY_NOW
    )


def _sessions(of_ids: Among) -> sa.Select[Any]:
    """What a record has of a session: nothing that its use changes."""
    columns = ("id", "tenant_id", "subject", "email", "expires_at", "revoked_at")
    return sa.select(*(sessions.c[name] for name in columns)).where(of_ids(sessions.c.id))


class Lookups(Protocol):
    """Rows of each kind, by attribute."""

    def versions(self, keys: Sequence[str]) -> Iterable[Any]: ...

    def domains(self, names: Sequence[str]) -> Iterable[Any]: ...

    def blocks(self, names: Sequence[str]) -> Iterable[Any]: ...

    def resources(self, slugs: Sequence[str], ids: Sequence[str]) -> Sequence[Any]: ...

    def ports(self, ids: Sequence[str]) -> Iterable[Any]: ...

    def previews(self, ids: Sequence[str]) -> Iterable[Any]: ...

    def secrets(self, ids: Sequence[str]) -> Iterable[Any]: ...

    def issuers(self, tenants: Sequence[str]) -> Iterable[Any]: ...

    def tombstones(self, slugs: Sequence[str]) -> Iterable[Any]: ...

    def claims(self, zones: Sequence[str]) -> Iterable[Any]: ...

    def api_keys(self, digests: Sequence[str]) -> Iterable[Any]: ...

    def signing_keys(self, purposes: Sequence[str]) -> Iterable[Any]: ...

    def wakes(self, ids: Sequence[str]) -> Iterable[Any]: ...
    def sessions(self, session_ids: Sequence[str]) -> Iterable[Any]: ...


def _listed(name: str) -> Among:
    return lambda column: column.in_(sa.bindparam(name, expanding=True))


_VERSIONS = _versions(_listed("keys"))
_DOMAINS = _domains(_listed("names"))
_BLOCKS = _blocks(_listed("names"))
_RESOURCES = _resources(
    _wanted(_listed("slugs"), sa.select(resources.c.id).where(_listed("ids")(resources.c.id))).subquery("wanted")
)
_TOMBSTONES = _tombstones(_listed("slugs"))
_CLAIMS = _claims(_listed("zones"))
_PORTS = _ports(_listed("ids"))
_API_KEYS = _api_keys(_listed("digests"))
_SIGNING_KEYS = _signing_keys(_listed("purposes"))
_WAKES = _wakes(_listed("ids"))
_SESSIONS = _sessions(_listed("session_ids"))
_PREVIEWS = _previews(_listed("ids"))
_SECRETS = _secrets(_listed("ids"))
_ISSUERS = _issuers(_listed("tenants"))


class OneByOne:
    """Lookups: a statement for each."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def versions(self, keys: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_VERSIONS, {"keys": keys})

    def domains(self, names: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_DOMAINS, {"names": names}) if names else ()

    def blocks(self, names: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_BLOCKS, {"names": names}) if names else ()

    def resources(self, slugs: Sequence[str], ids: Sequence[str]) -> Sequence[Any]:
        return self._connection.execute(_RESOURCES, {"slugs": slugs, "ids": ids}).all() if slugs or ids else ()

    def ports(self, ids: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_PORTS, {"ids": ids}) if ids else ()

    def previews(self, ids: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_PREVIEWS, {"ids": ids}) if ids else ()

    def secrets(self, ids: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_SECRETS, {"ids": ids}) if ids else ()

    def issuers(self, tenants: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_ISSUERS, {"tenants": tenants}) if tenants else ()

    def tombstones(self, slugs: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_TOMBSTONES, {"slugs": slugs}) if slugs else ()

    def claims(self, zones: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_CLAIMS, {"zones": zones}) if zones else ()

    def api_keys(self, digests: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_API_KEYS, {"digests": digests}) if digests else ()

    def signing_keys(self, purposes: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_SIGNING_KEYS, {"purposes": purposes}) if purposes else ()

    def wakes(self, ids: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_WAKES, {"ids": ids}) if ids else ()

    def sessions(self, session_ids: Sequence[str]) -> Iterable[Any]:
        return self._connection.execute(_SESSIONS, {"session_ids": session_ids}) if session_ids else ()


def _any(name: str) -> Among:
    """As `_listed`, in one parameter: the statement is the same however many there are, and prepared once."""
    return lambda column: column == sa.any_(sa.bindparam(name, type_=ARRAY(sa.String)))


def _at_once() -> sa.Select[Any]:
    of_names = sa.select(custom_domains.c.resource_id).where(_any("names")(custom_domains.c.fqdn))
    wanted = _wanted(_any("slugs"), of_names).cte("wanted")
    parts: dict[str, sa.Select[Any] | sa.CompoundSelect[Any]] = {
        "versions": _versions(_any("keys")),
        "domains": _domains(_any("names")),
        "blocks": _blocks(_any("names")),
        "resources": _resources(wanted),
        "ports": _ports(lambda column: column.in_(sa.select(wanted.c.id))),
        "previews": _previews(lambda column: column.in_(sa.select(wanted.c.id))),
        "secrets": _secrets(lambda column: column.in_(sa.select(wanted.c.id))),
        "issuers": _issuers(
            lambda column: column.in_(
                sa.select(resources.c.tenant_id).where(resources.c.id.in_(sa.select(wanted.c.id)))
            )
        ),
        "tombstones": _tombstones(_any("slugs")),
        "claims": _claims(_any("zones")),
        "api_keys": _api_keys(_any("digests")),
        "signing_keys": _signing_keys(_any("purposes")),
        "wakes": _wakes(_any("wakes")),
        "sessions": _sessions(_any("session_ids")),
    }
    return sa.select(*(_as_json(part).label(name) for name, part in parts.items()))


def _as_json(select: sa.Select[Any] | sa.CompoundSelect[Any]) -> sa.ScalarSelect[Any]:
    rows = select.subquery()
    return sa.select(sa.func.json_agg(rows.table_valued(), type_=sa.JSON())).scalar_subquery()


AT_ONCE = _at_once()


class AtOnce:
    """Lookups in what `AT_ONCE` has found."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = {name: [SimpleNamespace(**row) for row in rows or ()] for name, rows in found.items()}

    def versions(self, keys: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["versions"]

    def domains(self, names: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["domains"]

    def blocks(self, names: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["blocks"]

    def resources(self, slugs: Sequence[str], ids: Sequence[str]) -> Sequence[Any]:  # noqa: ARG002  # likewise
        return self._found["resources"]

    def ports(self, ids: Sequence[str]) -> Iterable[Any]:
        return (row for row in self._found["ports"] if row.resource_id in ids)

    def previews(self, ids: Sequence[str]) -> Iterable[Any]:
        return (row for row in self._found["previews"] if row.resource_id in ids)

    def secrets(self, ids: Sequence[str]) -> Iterable[Any]:
        return (row for row in self._found["secrets"] if row.resource_id in ids)

    def issuers(self, tenants: Sequence[str]) -> Iterable[Any]:
        return (row for row in self._found["issuers"] if row.tenant_id in tenants)

    def tombstones(self, slugs: Sequence[str]) -> Iterable[Any]:
        return (row for row in self._found["tombstones"] if row.tombstone_slug in slugs)

    def claims(self, zones: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["claims"]

    def api_keys(self, digests: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["api_keys"]

    def signing_keys(self, purposes: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["signing_keys"]

    def wakes(self, ids: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["wakes"]

    def sessions(self, session_ids: Sequence[str]) -> Iterable[Any]:  # noqa: ARG002  # nothing else was asked for
        return self._found["sessions"]

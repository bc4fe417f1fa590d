"""The two ways to look up what routing records are made of.

On SQLite a statement costs microseconds, so there is one per kind. On PostgreSQL each one is a round trip, and so are
BEGIN and COMMIT; so there a single statement reads everything, as of one instant by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from router.store import lookup_queries as queries
from router.store.tables import custom_domains, resources


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


def _listed(name: str) -> queries.Among:
    return lambda column: column.in_(sa.bindparam(name, expanding=True))


_VERSIONS = queries.select_versions(_listed("keys"))
_DOMAINS = queries.select_domains(_listed("names"))
_BLOCKS = queries.select_blocks(_listed("names"))
_RESOURCES = queries.select_resources(
    queries.select_wanted(_listed("slugs"), sa.select(resources.c.id).where(_listed("ids")(resources.c.id))).subquery(
        "wanted"
    )
)
_TOMBSTONES = queries.select_tombstones(_listed("slugs"))
_CLAIMS = queries.select_claims(_listed("zones"))
_PORTS = queries.select_ports(_listed("ids"))
_API_KEYS = queries.select_api_keys(_listed("digests"))
_SIGNING_KEYS = queries.select_signing_keys(_listed("purposes"))
_WAKES = queries.select_wakes(_listed("ids"))
_SESSIONS = queries.select_sessions(_listed("session_ids"))
_PREVIEWS = queries.select_previews(_listed("ids"))
_SECRETS = queries.select_secrets(_listed("ids"))
_ISSUERS = queries.select_issuers(_listed("tenants"))


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


def _any(name: str) -> queries.Among:
    """As `_listed`, in one parameter: the statement is the same however many there are, and prepared once."""
    return lambda column: column == sa.any_(sa.bindparam(name, type_=ARRAY(sa.String)))


@cache
def at_once() -> sa.Select[Any]:
    """PostgreSQL's statement that finds everything in one round trip."""
    of_names = sa.select(custom_domains.c.resource_id).where(_any("names")(custom_domains.c.fqdn))
    wanted = queries.select_wanted(_any("slugs"), of_names).cte("wanted")
    parts: dict[str, sa.Select[Any] | sa.CompoundSelect[Any]] = {
        "versions": queries.select_versions(_any("keys")),
        "domains": queries.select_domains(_any("names")),
        "blocks": queries.select_blocks(_any("names")),
        "resources": queries.select_resources(wanted),
        "ports": queries.select_ports(lambda column: column.in_(sa.select(wanted.c.id))),
        "previews": queries.select_previews(lambda column: column.in_(sa.select(wanted.c.id))),
        "secrets": queries.select_secrets(lambda column: column.in_(sa.select(wanted.c.id))),
        "issuers": queries.select_issuers(
            lambda column: column.in_(
                sa.select(resources.c.tenant_id).where(resources.c.id.in_(sa.select(wanted.c.id)))
            )
        ),
        "tombstones": queries.select_tombstones(_any("slugs")),
        "claims": queries.select_claims(_any("zones")),
        "api_keys": queries.select_api_keys(_any("digests")),
        "signing_keys": queries.select_signing_keys(_any("purposes")),
        "wakes": queries.select_wakes(_any("wakes")),
        "sessions": queries.select_sessions(_any("session_ids")),
    }
    return sa.select(*(_as_json(part).label(name) for name, part in parts.items()))


def _as_json(select: sa.Select[Any] | sa.CompoundSelect[Any]) -> sa.ScalarSelect[Any]:
    rows = select.subquery()
    return sa.select(sa.func.json_agg(rows.table_valued(), type_=sa.JSON())).scalar_subquery()


class AtOnce:
    """Lookups in what `at_once` has found."""

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

"""How long the rows of every table stay: one entry for each table of the store.

A table that grows with time or traffic is `Pruned`, by the job `prune` (`pruning.py`), or says which part of the router
limits it (`Elsewhere`). One that only grows with what customers and operators make says why that is a limit (`Bounded`).
A test compares this with the schema, and `make docs` writes docs/retention.md from it: a new table needs its entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa

from router.base.idempotency import KEPT as IDEMPOTENCY_KEPT
from router.certificates.held import Origin
from router.domains.certificates import UNREAD_LIFETIME
from router.routes.records import api_key_key, name_key, slug_key
from router.store.audit_tables import audit_entries
from router.store.block_tables import blocks
from router.store.blocks import holds_block
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.deployment_tables import builds, deployment_versions, deployments, env_vars, releases
from router.store.held_certificate_tables import acme_orders, delegations, held_certificates
from router.store.journal_tables import events, idempotency, usage_intervals
from router.store.login_tables import hand_overs, sessions
from router.store.tables import (
    activity,
    api_keys,
    custom_domains,
    endpoints,
    exposed_ports,
    preview_secrets,
    previews,
    projects,
    released_zones,
    resources,
    tombstones,
    workspaces,
)
from router.store.wake_tables import wakes
from router.store.webhook_tables import webhook_deliveries
from router.tenancy.preview_secrets import KEPT as SECRETS_KEPT
from router.tenancy.sessions import KEPT as SESSIONS_KEPT

ATTEMPTS_KEPT = "the longest window of the gate's budgets"
"""A period that no setting has: the gate computes it."""
_ENDED = timedelta(days=30)  # for certificates and orders that have ended
_LIFTED = timedelta(days=400)  # for blocks that were lifted: the record of who did what

Older = Callable[[datetime], sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Rows that the job `prune` deletes once `old` of the instant before which they may go.

    `kept` is a period, or the setting with its seconds (`event_retention`; `group.name` for one of a group). `rows` says in
    words which they are. Rows that refer to one by a column of `beside` are deleted with it, in that order. `told` is the
    column with the name of a routing record that changes with the row, and what makes the record's key of it. `walked`: no
    index finds the old rows, so each run reads the table once, by its key. `history`: what nothing brings back; of it no
    more than `prune_share` goes at once while the clock may be wrong, of those that `counts` says.
    """

    table: sa.Table
    rows: str
    old: Older
    kept: timedelta | str
    beside: tuple[sa.Column[str], ...] = ()
    told: tuple[sa.Column[str], Callable[[str], str]] | None = None
    walked: bool = False
    history: bool = False
    counts: sa.ColumnElement[bool] | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Rows that another part of the router deletes: which, and how long they stay."""

    by: str
    kept: str


@dataclass(frozen=True, slots=True)
class Bounded:
    """A table that does not grow with time or traffic, and why."""

    why: str


Retention = Pruned | Elsewhere | Bounded


def _used_by(*references: sa.Column[str]) -> sa.ColumnElement[bool]:
    """Whether one of these refers to the row. Not correlated: there is not an index on each of them."""
    first, *others = references
    keys = [sa.select(column).where(column.is_not(None)) for column in others]
    target = next(iter(first.foreign_keys)).column
    return target.in_(sa.union_all(sa.select(first).where(first.is_not(None)), *keys))


def _superseded_build() -> sa.ColumnElement[bool]:
    later = builds.alias()
    same = (later.c.resource_id == builds.c.resource_id, later.c.number > builds.c.number)
    return sa.exists().where(*same)


def _superseded_order() -> sa.ColumnElement[bool]:
    later = acme_orders.alias()
    newer = sa.exists().where(later.c.domain == acme_orders.c.domain, later.c.opened_at > acme_orders.c.opened_at)
    in_use = sa.exists().where(delegations.c.domain == acme_orders.c.domain)
    return sa.or_(newer, ~in_use)


def _old_certificate(at: datetime) -> sa.ColumnElement[bool]:
    never_seen = sa.and_(certificates.c.seen_at.is_(None), certificates.c.changed_at < at.timestamp())
    # A certificate that lives for longer than the others is live all the same.
    ended = sa.or_(certificates.c.not_after.is_(None), certificates.c.not_after < at)
    return sa.or_(never_seen, sa.and_(certificates.c.seen_at < at, ended))


def _old_held(at: datetime) -> sa.ColumnElement[bool]:
    ended = sa.and_(held_certificates.c.origin == Origin.MANAGED, held_certificates.c.not_after < at)
    return sa.or_(held_certificates.c.removed_at < at, ended)


_PRUNED = (
    Pruned(
        table=idempotency,
        rows="answers to requests with an `Idempotency-Key`",
        old=lambda at: idempotency.c.claimed_at <= at,
        kept=IDEMPOTENCY_KEPT,
    ),
    Pruned(
        table=events,
        rows="events, with their webhook deliveries",
        old=lambda at: events.c.created_at < at,
        kept="event_retention",
        beside=(webhook_deliveries.c.event_id,),
        history=True,
    ),
    Pruned(
        table=audit_entries,
        rows="entries of the audit log; of a tenant with more than `audit.max_entries_per_tenant` those of refused acts, then the oldest, by the job `trim_audit_log`",
        old=lambda at: audit_entries.c.created_at < at,
        kept="audit.retention",
        history=True,
    ),
    Pruned(
        table=hand_overs,
        rows="sign-ins that no preview has taken in time",
        old=lambda at: hand_overs.c.expires_at < at,
        kept=timedelta(),
    ),
    Pruned(
        table=sessions,
        rows="sessions that were ended or expired",
        old=lambda at: sa.or_(sessions.c.expires_at < at, sessions.c.revoked_at < at),
        kept=SESSIONS_KEPT,
        beside=(hand_overs.c.session_id,),
    ),
    Pruned(
        table=certificate_attempts,
        rows="attempts to get a certificate",
        old=lambda at: certificate_attempts.c.opened_at < at.timestamp(),
        kept=ATTEMPTS_KEPT,
    ),
    Pruned(
        table=certificates,
        rows="what is known of hosts' certificates, since the host was last visited, unless its certificate is valid",
        old=_old_certificate,
        kept=2 * UNREAD_LIFETIME,
        walked=True,
        history=True,
    ),
    Pruned(
        table=acme_orders,
        rows="orders that were closed, but the newest of each zone in use",
        old=lambda at: sa.and_(acme_orders.c.closed_at < at, _superseded_order()),
        kept=_ENDED,
    ),
    Pruned(
        table=held_certificates,
        rows="certificates that were removed, and ordered ones that have ended",
        old=_old_held,
        kept=_ENDED,
        walked=True,
    ),
    Pruned(
        table=usage_intervals,
        rows="when machines ran; after 32 days by the day (job `roll_up_usage`)",
        old=lambda at: usage_intervals.c.ended_at < at,
        kept="usage_retention",
        walked=True,
        history=True,
    ),
    Pruned(
        table=custom_domains,
        rows="custom domains that were removed",
        old=lambda at: custom_domains.c.removed_at < at,
        kept="removed_retention",
        told=(custom_domains.c.fqdn, name_key),
        walked=True,
        history=True,
    ),
    Pruned(
        table=tombstones,
        rows="slugs of deleted resources, unless something of the tenant is blocked",
        old=lambda at: sa.and_(tombstones.c.deleted_at < at, ~holds_block(tombstones.c.tenant_id)),
        kept="removed_retention",
        told=(tombstones.c.slug, slug_key),
        walked=True,
        history=True,
    ),
    Pruned(
        table=released_zones,
        rows="who had a preview domain before, unless something of the tenant is blocked",
        old=lambda at: sa.and_(released_zones.c.released_at < at, ~holds_block(released_zones.c.tenant_id)),
        kept="removed_retention",
        history=True,
    ),
    Pruned(
        table=activity,
        rows="when resources were last used, once they are deleted",
        old=lambda at: activity.c.resource_id.in_(sa.select(resources.c.id).where(resources.c.deleted_at < at)),
        kept="removed_retention",
        walked=True,
        history=True,
    ),
    Pruned(
        table=preview_secrets,
        rows="links, tokens and passwords of previews that were revoked or expired",
        old=lambda at: sa.or_(preview_secrets.c.revoked_at < at, preview_secrets.c.expires_at < at),
        kept=SECRETS_KEPT,
        walked=True,
    ),
    Pruned(
        table=api_keys,
        rows="API keys that were revoked or expired",
        old=lambda at: sa.or_(api_keys.c.revoked_at < at, api_keys.c.expires_at < at),
        kept="removed_retention",
        told=(api_keys.c.digest, api_key_key),
        walked=True,
        history=True,
    ),
    Pruned(
        table=blocks,
        rows="blocks that were lifted",
        old=lambda at: blocks.c.lifted_at < at,
        kept=_LIFTED,
        walked=True,
        history=True,
    ),
    Pruned(
        table=builds,
        rows="builds that have ended, with their logs, but each deployment's newest",
        old=lambda at: sa.and_(builds.c.finished_at < at, _superseded_build()),
        kept="removed_retention",
        walked=True,
        history=True,
    ),
    Pruned(
        table=resources,
        rows="resources that were deleted, with what belongs to them, once no usage, domain or slug refers to them",
        old=lambda at: sa.and_(
            resources.c.deleted_at < at,
            ~_used_by(
                usage_intervals.c.resource_id,
                tombstones.c.resource_id,
                custom_domains.c.resource_id,
                deployment_versions.c.source_sandbox_id,
            ),
        ),
        kept="removed_retention",
        beside=(
            preview_secrets.c.resource_id,
            previews.c.resource_id,
            exposed_ports.c.resource_id,
            endpoints.c.resource_id,
            wakes.c.resource_id,
            activity.c.resource_id,
            env_vars.c.resource_id,
            builds.c.resource_id,
            releases.c.resource_id,
            deployments.c.resource_id,
            deployment_versions.c.resource_id,
        ),
        walked=True,
        history=True,
    ),
    Pruned(
        table=projects,
        rows="projects that were deleted, once no resource or usage refers to them",
        old=lambda at: sa.and_(
            projects.c.deleted_at < at, ~_used_by(resources.c.project_id, usage_intervals.c.project_id)
        ),
        kept="removed_retention",
        walked=True,
        history=True,
    ),
    Pruned(
        table=workspaces,
        rows="workspaces that were deleted, once no project, resource or usage refers to them",
        old=lambda at: sa.and_(
            workspaces.c.deleted_at < at,
            ~_used_by(projects.c.workspace_id, resources.c.workspace_id, usage_intervals.c.workspace_id),
        ),
        kept="removed_retention",
        walked=True,
        history=True,
    ),
)

_RECORDS = "each node, once a minute"
_RECORDS_KEPT = (
    "`records.retention_hours`, `records.max_bytes_per_tenant`, `records.max_bytes`: whichever is reached first"
)

RETENTION: Mapping[str, Retention] = MappingProxyType(
    {
        **{one.table.name: one for one in _PRUNED},
        "webhook_deliveries": Elsewhere("job `prune`, with their event", "`event_retention`"),
        "outbox": Elsewhere("job `trim_outbox`", "an hour, and 10,000 rows at most"),
        "route_versions": Elsewhere("job `prune`", "as long as the record is there, or in the outbox"),
        "leases": Elsewhere("each process, every few seconds", "one for each job; of processes that are gone, an hour"),
        "signing_keys": Elsewhere(
            "job `rotate_signing_keys`", "as long as cookies or tokens that they signed are valid"
        ),
        "name_claims": Elsewhere("job `check_domains`", "until the claim expires"),
        "wakes": Elsewhere("job `watch_wakes`", "until the resource runs, or its failure is forgotten"),
        "request_records": Elsewhere(_RECORDS, _RECORDS_KEPT),
        "request_totals": Elsewhere(_RECORDS, "`records.retention_hours`"),
        "request_sizes": Elsewhere(_RECORDS, "as the records that it counts"),
        "request_counters": Elsewhere(_RECORDS, "`records.retention_hours` after the resource's last request"),
        "request_captures": Elsewhere(
            _RECORDS,
            "`records.retention_hours`, `records.max_capture_bytes_per_tenant`, `records.max_capture_bytes`: whichever is "
            "reached first",
        ),
        "request_captures_gone": Elsewhere(_RECORDS, "`records.retention_hours`"),
        "request_position": Bounded("one row"),
        "alembic_version": Bounded("one row"),
        "holding_changes": Elsewhere("job `sum_up_holdings`", "a minute"),
        "holdings": Bounded(
            "a number for each noun of each tenant, workspace, project and resource; goes with what it counts"
        ),
        "tenants": Bounded("one for each customer; goes with the tenant"),
        "logins": Bounded("one for each tenant"),
        "trusted_issuers": Bounded("a tenant may have a limited number"),
        "webhooks": Bounded("a tenant may have a limited number"),
        "log_drains": Bounded("a tenant may have a limited number"),
        "zones": Bounded("one for each preview domain in use"),
        "preview_domains": Bounded("one for each workspace, project and tenant that uses one"),
        "delegations": Bounded("one for each preview domain in use"),
        "certificate_requests": Bounded("one for each domain in use"),
        "acme_accounts": Bounded("one for each certificate authority that was ever set"),
        "previews": Bounded("one for each exposed port; goes with its resource"),
        "exposed_ports": Bounded("one for each exposed port; goes with its resource"),
        "endpoints": Bounded("one for each place where a resource listens; goes with it"),
        "env_vars": Bounded("one for each variable; goes with its deployment"),
        "deployments": Bounded("one for each resource of that kind; goes with it"),
        "deployment_versions": Bounded("what a deployment can be rolled back to; goes with it"),
        "releases": Bounded("which versions were live, which a rollback needs; goes with its deployment"),
    }
)
"""By table. Those of `Pruned` are in the order in which they are pruned: what refers to a row goes before it."""

PRUNED: tuple[Pruned, ...] = _PRUNED

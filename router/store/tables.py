"""The tables of tenants and of what routes; `deployment_tables.py` and `journal_tables.py` hold the others.

Ids are UUIDs as text, instants are UTC. What is deleted stays as a row with `deleted_at` where history refers to it
(usage, events, tombstones), so uniqueness holds among the living only. `migrations/` makes the tables; a test compares.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.store.types import Id, Instant, Json

_DUE = "2000-01-01 00:00:00.000000"  # long ago

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", Id, primary_key=True)


def _ref(name: str, target: str, *, nullable: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(name, Id, sa.ForeignKey(f"{target}.id"), nullable=nullable, index=index)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Instant, nullable=nullable)


def _flag(name: str, *, default: Any = None) -> sa.Column[bool]:
    """For `default` see `_json`."""
    return sa.Column(name, sa.Boolean, nullable=False, server_default=default)


def _json(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    """With `default` the database fills the column for a version of ours that does not know it."""
    return sa.Column(name, Json, nullable=nullable, server_default=default)


def _checks() -> tuple[sa.Column[Any], ...]:
    """The schedule of looks at DNS, and what the last one found. What a version of ours that knows nothing of it adds is
    due at once."""
    return (
        sa.Column("next_check_at", Instant, nullable=False, server_default=_DUE),
        _at("checked_at", nullable=True),
        _at("asked_at", nullable=True),
        _at("waiting_since", nullable=True),
        _at("failing_since", nullable=True),
        sa.Column("checks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        _text("finding", 20, nullable=True),
        _text("method", 20, nullable=True),
        _flag("caa_forbidden", default=sa.false()),
        _flag("not_pointing", default=sa.false()),
    )


def _registered(*, index: bool = False) -> sa.Column[str]:
    """The registered domain of a row's name (`domains.names.registered_domain`): what names of one owner have in common."""
    return sa.Column("registered", sa.String(253), nullable=False, server_default="", index=index)


def _reversed() -> sa.Column[str]:
    """A row's name from its end, so that names under one lie side by side (`names_under.py`). Empty in what a version of ours
    that does not know it adds. Bytes are compared: another collation has other ranges."""
    text = sa.String(253).with_variant(sa.String(253, collation="C"), "postgresql")
    return sa.Column("reversed_name", text, nullable=False, server_default="")


def _living(name: str, *columns: str, alive: str) -> sa.Index:
    """Unique among the rows whose column `alive` is empty."""
    condition = sa.text(f"{alive} IS NULL")
    return sa.Index(name, *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


def _large_list(name: str, *within: str, alive: str) -> sa.Index:
    """Rows whose column `alive` is empty, of what `within` says, in the order of their list: the keys of a page and the
    number of all are read from the index alone. SQLite wants `alive` itself for that, though it is empty in every row."""
    condition = sa.text(f"{alive} IS NULL")
    return sa.Index(name, *within, "created_at", "id", alive, sqlite_where=condition, postgresql_where=condition)


def _default(name: str, *within: str) -> sa.Index:
    """The one among the rows of what `within` says that is its default."""
    return sa.Index(
        name,
        *within,
        sqlite_where=sa.text("is_default = 1 AND deleted_at IS NULL"),
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )


def _living_by(name: str, *columns: str) -> sa.Index:
    """Rows that are not deleted, by these columns."""
    condition = sa.text("deleted_at IS NULL")
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


def _due(name: str, *, alive: str) -> sa.Index:
    """What is to be looked at next, among the rows whose column `alive` is empty."""
    condition = sa.text(f"{alive} IS NULL")
    return sa.Index(name, "next_check_at", sqlite_where=condition, postgresql_where=condition)


tenants = sa.Table(
    "tenants",
    metadata,
    _id(),
    _text("slug", 80),
    _text("name", 120),
    _text("plan", 40),
    _flag("auto_expose"),
    _json("branding"),
    _flag("suspended"),
    _at("created_at"),
    _at("updated_at"),
    sa.Column("default_visibility", sa.String(20), nullable=False, server_default="public"),
    sa.Column("default_wake", sa.String(20), nullable=False, server_default="off"),
    _flag("default_keeps_awake", default=sa.true()),
    _flag("pings_keep_awake", default=sa.true()),
    _at("deleted_at", nullable=True),  # since when it is being deleted
    sa.UniqueConstraint("slug"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _ref("tenant_id", "tenants", index=True),
    _text("scope", 20),
    sa.Column("scope_id", Id, nullable=False, index=True),
    _text("name", 120),
    _text("prefix", 24),
    _text("digest", 64),
    _at("created_at"),
    _at("expires_at", nullable=True),
    _at("last_used_at", nullable=True),
    _at("revoked_at", nullable=True),
    sa.UniqueConstraint("digest"),
    sa.Index("ix_api_keys_listed", "tenant_id", "created_at", "id"),
    sa.Index("ix_api_keys_listed_in_scope", "scope_id", "created_at", "id"),
)

# What signs cookies of previews, on every node: `tenancy/signing_keys.py`. Times are seconds of the epoch.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    _id(),
    sa.Column("purpose", sa.String(20), nullable=False, index=True),
    _text("secret", 64),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

workspaces = sa.Table(
    "workspaces",
    metadata,
    _id(),
    _ref("tenant_id", "tenants", index=True),
    _text("name", 120),
    _text("slug", 80),
    _text("external_workspace_id", 255, nullable=True),
    _text("external_user_id", 255, nullable=True),
    _text("description", 2000, nullable=True),
    _json("metadata"),
    _json("settings"),
    _flag("is_default"),
    _at("created_at"),
    _at("updated_at"),
    _at("deleted_at", nullable=True),
    _living("uq_workspaces_slug", "tenant_id", "slug", alive="deleted_at"),
    _living("uq_workspaces_external", "tenant_id", "external_workspace_id", alive="deleted_at"),
    _living_by("ix_workspaces_listed", "tenant_id", "created_at", "id"),
    _living_by("ix_workspaces_named", "tenant_id", "name"),
    _default("ix_workspaces_default", "tenant_id"),
)

projects = sa.Table(
    "projects",
    metadata,
    _id(),
    _ref("tenant_id", "tenants", index=True),
    _ref("workspace_id", "workspaces"),
    _text("name", 120),
    _text("slug", 80),
    _text("external_workspace_id", 255, nullable=True),
    _text("external_project_id", 255, nullable=True),
    _text("description", 2000, nullable=True),
    _json("metadata"),
    _json("settings"),
    _flag("is_default"),
    _at("created_at"),
    _at("updated_at"),
    _at("deleted_at", nullable=True),
    _living("uq_projects_slug", "workspace_id", "slug", alive="deleted_at"),
    _living_by("ix_projects_listed", "tenant_id", "created_at", "id"),
    _living_by("ix_projects_listed_in_workspace", "workspace_id", "created_at", "id"),
    _living_by("ix_projects_external", "external_project_id", "tenant_id"),
    _default("ix_projects_default", "workspace_id"),
)

resources = sa.Table(
    "resources",
    metadata,
    _id(),
    _text("kind", 20),
    _text("slug", 63),
    _ref("tenant_id", "tenants"),
    _ref("workspace_id", "workspaces"),
    _ref("project_id", "projects", index=True),
    _text("name", 120, nullable=True),
    _text("state", 20),
    _flag("suspended"),
    sa.Column("default_port", sa.Integer),
    _json("host_modes"),
    _json("schemes", default="{}"),
    _json("protocols", default="{}"),
    sa.Column("first_byte", sa.Float),
    _text("visibility", 20, nullable=True),
    _text("wake", 20, nullable=True),
    sa.Column("keeps_awake", sa.Boolean),
    _flag("identity", default=sa.false()),
    _at("capture_since", nullable=True),
    _at("capture_until", nullable=True),
    _text("capture_by", 255, nullable=True),
    _text("size", 20, nullable=True),
    _text("template_type", 255, nullable=True),
    sa.Column("vcpus", sa.Integer),
    sa.Column("memory_mb", sa.Integer),
    sa.Column("disk_gb", sa.Integer),
    sa.Column("auto_stop_seconds", sa.Integer),
    _json("options", default="{}"),
    _json("tags", default="[]"),
    _json("metadata"),
    _text("external_workspace_id", 255, nullable=True),
    _text("external_user_id", 255, nullable=True),
    _text("external_project_id", 255, nullable=True),
    _at("created_at"),
    _at("updated_at"),
    _at("deleted_at", nullable=True),
    _living("uq_resources_slug", "slug", alive="deleted_at"),
    sa.Index("ix_resources_tenant", "tenant_id", "kind", "created_at"),
    sa.Index("ix_resources_workspace", "workspace_id", "kind", "created_at"),
    _large_list("ix_resources_listed", "tenant_id", "kind", alive="deleted_at"),
    _large_list("ix_resources_listed_in_workspace", "workspace_id", "kind", alive="deleted_at"),
    _large_list("ix_resources_listed_in_project", "project_id", "kind", alive="deleted_at"),
    _living_by("ix_resources_named", "tenant_id", "name"),
)

# Who holds the slug of a deleted resource: its hosts answer 410, and no other tenant may take it.
tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("slug", sa.String(63), primary_key=True),
    _ref("resource_id", "resources"),
    _ref("tenant_id", "tenants", index=True),
    _at("deleted_at"),
)

exposed_ports = sa.Table(
    "exposed_ports",
    metadata,
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("port", sa.Integer, primary_key=True, autoincrement=False),
)

# `holder_id` is the resource's own id, or that of the version of a deployment that listens there.
endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("holder_id", Id, primary_key=True),
    _ref("resource_id", "resources", index=True),
    _ref("version_id", "deployment_versions", nullable=True),
    _text("address", 45),
    _text("generation", 128),
    _json("ports"),
    _json("listening", nullable=True),
    _at("updated_at"),
)

# `visibility` is the preview's own, unless it is `public` and not `always_public`: then the resource's or tenant's holds. So
# read, what a version of ours writes that enforces none means what it says.
previews = sa.Table(
    "previews",
    metadata,
    _id(),
    _ref("resource_id", "resources"),
    sa.Column("port", sa.Integer, nullable=False),
    _text("visibility", 20),
    _flag("always_public", default=sa.false()),
    _text("host_mode", 253),
    sa.Column("scheme", sa.String(5), nullable=False, server_default="http"),
    sa.Column("protocol", sa.String(5), nullable=False, server_default="http1"),
    _text("name", 120, nullable=True),
    _json("metadata"),
    _at("created_at"),
    _at("updated_at"),
    _at("expires_at", nullable=True),
    _flag("hide", default=sa.false()),
    _json("networks", default="[]"),
    sa.Column("cors", sa.String(20), nullable=False, server_default="passthrough"),
    _json("cors_origins", default="[]"),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    sa.Column("identity", sa.Boolean),
    sa.UniqueConstraint("resource_id", "port"),
)

# What opens previews: of one, or of every port of the resource where `preview_id` is empty. Never the secrets themselves.
# They go with their preview, also where a version of ours deletes it that does not know them.
preview_secrets = sa.Table(
    "preview_secrets",
    metadata,
    _id(),
    _ref("resource_id", "resources", index=True),
    sa.Column("preview_id", Id, sa.ForeignKey("previews.id", ondelete="CASCADE"), index=True),
    _text("kind", 10),
    _text("name", 120, nullable=True),
    _text("prefix", 24),
    _text("digest", 64),
    _text("password_hash", 200, nullable=True),
    _at("created_at"),
    _at("expires_at", nullable=True),
    _at("last_used_at", nullable=True),
    _at("used_at", nullable=True),
    _at("revoked_at", nullable=True),
    sa.UniqueConstraint("digest"),
)

activity = sa.Table(
    "activity",
    metadata,
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("last_at", Instant, nullable=False, index=True),
)

custom_domains = sa.Table(
    "custom_domains",
    metadata,
    _id(),
    sa.Column("fqdn", sa.String(253), nullable=False, index=True),
    _ref("resource_id", "resources", index=True),
    _ref("tenant_id", "tenants", index=True),
    _text("status", 20),
    _flag("suspended"),
    _text("verification_target", 253),
    _text("token", 64),
    sa.Column("proof", sa.String(64), nullable=False, server_default=""),
    _text("redirect_policy", 20),
    sa.Column("redirect_status", sa.Integer, nullable=False),
    _text("failure_reason", 2000, nullable=True),
    _text("external_workspace_id", 255, nullable=True),
    _text("external_user_id", 255, nullable=True),
    _text("external_project_id", 255, nullable=True),
    _at("verified_at", nullable=True),
    _at("tls_issued_at", nullable=True),
    _at("created_at"),
    _at("updated_at"),
    _at("removed_at", nullable=True),
    *_checks(),
    _json("detail", nullable=True),
    _registered(),
    _reversed(),
    _living("uq_custom_domains_fqdn", "fqdn", alive="removed_at"),
    _due("ix_custom_domains_due", alive="removed_at"),
    _large_list("ix_custom_domains_listed", "tenant_id", alive="removed_at"),
    _large_list("ix_custom_domains_listed_of_resource", "resource_id", alive="removed_at"),
    sa.Index("ix_custom_domains_registered", "registered", "tenant_id"),
    sa.Index("ix_custom_domains_reversed", "reversed_name", "tenant_id"),
)

# One row per domain that any scope uses: its primary key is what keeps two tenants from using the same one.
zones = sa.Table(
    "zones",
    metadata,
    sa.Column("domain", sa.String(253), primary_key=True),
    _ref("tenant_id", "tenants", index=True),
    _registered(),
    _reversed(),
    sa.UniqueConstraint("domain", "tenant_id"),
    sa.Index("ix_zones_registered", "registered", "tenant_id"),
    sa.Index("ix_zones_reversed", "reversed_name", "tenant_id"),
)

preview_domains = sa.Table(
    "preview_domains",
    metadata,
    _id(),
    _text("scope", 20),
    sa.Column("scope_id", Id, nullable=False),
    sa.Column("tenant_id", Id, nullable=False, index=True),
    sa.Column("domain", sa.String(253), nullable=False, index=True),
    _text("status", 20),
    _text("dns_status", 40),
    _json("detail", nullable=True),
    _text("failure_reason", 40, nullable=True),
    _at("verified_at", nullable=True),
    _at("created_at"),
    _at("updated_at"),
    *_checks(),
    sa.Column("token", sa.String(64), nullable=False, server_default=""),
    _reversed(),
    sa.UniqueConstraint("scope", "scope_id"),
    sa.Index("ix_preview_domains_reversed", "reversed_name", "tenant_id"),
    sa.Index("ix_preview_domains_due", "next_check_at"),
    sa.ForeignKeyConstraint(
        ["domain", "tenant_id"], ["zones.domain", "zones.tenant_id"], name="fk_preview_domains_zone"
    ),
)

# Which tenant had a preview domain last: its DNS records may still lead here.
released_zones = sa.Table(
    "released_zones",
    metadata,
    sa.Column("domain", sa.String(253), primary_key=True),
    _ref("tenant_id", "tenants"),
    sa.Column("released_at", Instant, nullable=False, index=True),
    _registered(index=True),
    _reversed(),
    sa.Index("ix_released_zones_reversed", "reversed_name", "tenant_id"),
)

# Tenants who want a name that another one has, and what each has to show for it.
name_claims = sa.Table(
    "name_claims",
    metadata,
    _id(),
    sa.Column("name", sa.String(253), nullable=False),
    _ref("tenant_id", "tenants", index=True),
    _text("token", 64),
    _json("wanted"),
    sa.Column("checks", sa.Integer, nullable=False),
    sa.Column("next_check_at", Instant, nullable=False, index=True),
    _at("checked_at", nullable=True),
    _at("created_at"),
    _at("expires_at"),
    _registered(index=True),
    sa.UniqueConstraint("name", "tenant_id"),
)

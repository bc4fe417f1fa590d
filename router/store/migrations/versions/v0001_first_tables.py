"""The first tables: tenants and what they own, what routes, deployments, and the journal."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(36)
INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("token", ID, nullable=False),
        sa.Column("claimed_at", INSTANT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_claimed_at", "idempotency", ["claimed_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])
    op.create_table(
        "route_versions",
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_route_versions"),
    )
    op.create_table(
        "tenants",
        sa.Column("id", ID, nullable=False),
        sa.Column("slug", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("plan", sa.String(40), nullable=False),
        sa.Column("auto_expose", sa.Boolean(), nullable=False),
        sa.Column("branding", JSON, nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("slug", name="uq_tenants_slug"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("scope_id", ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("prefix", sa.String(24), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("last_used_at", INSTANT, nullable=True),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_api_keys_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_scope_id", "api_keys", ["scope_id"])
    op.create_index("ix_api_keys_tenant_id", "api_keys", ["tenant_id"])
    op.create_table(
        "events",
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=True),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("resource_id", ID, nullable=True),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_events_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_resource_id", "events", ["resource_id"])
    op.create_index("ix_events_tenant", "events", ["tenant_id", "created_at"])
    op.create_table(
        "workspaces",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("slug", sa.String(80), nullable=False),
        sa.Column("external_workspace_id", sa.String(255), nullable=True),
        sa.Column("external_user_id", sa.String(255), nullable=True),
        sa.Column("description", sa.String(2000), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_workspaces_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
    )
    op.create_index("ix_workspaces_tenant_id", "workspaces", ["tenant_id"])
    op.create_index(
        "uq_workspaces_external",
        "workspaces",
        ["tenant_id", "external_workspace_id"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_workspaces_slug",
        "workspaces",
        ["tenant_id", "slug"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "zones",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_zones_tenant_id"),
        sa.PrimaryKeyConstraint("domain", name="pk_zones"),
        sa.UniqueConstraint("domain", "tenant_id", name="uq_zones_domain_tenant_id"),
    )
    op.create_index("ix_zones_tenant_id", "zones", ["tenant_id"])
    op.create_table(
        "preview_domains",
        sa.Column("id", ID, nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("scope_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("dns_status", sa.String(40), nullable=False),
        sa.Column("detail", JSON, nullable=True),
        sa.Column("verified_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["domain", "tenant_id"], ["zones.domain", "zones.tenant_id"], name="fk_preview_domains_zone"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_preview_domains"),
        sa.UniqueConstraint("scope", "scope_id", name="uq_preview_domains_scope_scope_id"),
    )
    op.create_index("ix_preview_domains_domain", "preview_domains", ["domain"])
    op.create_index("ix_preview_domains_tenant_id", "preview_domains", ["tenant_id"])
    op.create_table(
        "projects",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("slug", sa.String(80), nullable=False),
        sa.Column("external_workspace_id", sa.String(255), nullable=True),
        sa.Column("external_project_id", sa.String(255), nullable=True),
        sa.Column("description", sa.String(2000), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_projects_tenant_id"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_projects_workspace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_index("ix_projects_tenant_id", "projects", ["tenant_id"])
    op.create_index(
        "uq_projects_slug",
        "projects",
        ["workspace_id", "slug"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "resources",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("default_port", sa.Integer(), nullable=True),
        sa.Column("host_modes", JSON, nullable=False),
        sa.Column("first_byte", sa.Float(), nullable=True),
        sa.Column("size", sa.String(20), nullable=True),
        sa.Column("template_type", sa.String(255), nullable=True),
        sa.Column("vcpus", sa.Integer(), nullable=True),
        sa.Column("memory_mb", sa.Integer(), nullable=True),
        sa.Column("disk_gb", sa.Integer(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("external_workspace_id", sa.String(255), nullable=True),
        sa.Column("external_user_id", sa.String(255), nullable=True),
        sa.Column("external_project_id", sa.String(255), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_resources_project_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_resources_tenant_id"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_resources_workspace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_resources"),
    )
    op.create_index("ix_resources_project_id", "resources", ["project_id"])
    op.create_index("ix_resources_tenant", "resources", ["tenant_id", "kind", "created_at"])
    op.create_index("ix_resources_workspace", "resources", ["workspace_id", "kind", "created_at"])
    op.create_index(
        "uq_resources_slug",
        "resources",
        ["slug"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "activity",
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_activity_resource_id"),
        sa.PrimaryKeyConstraint("resource_id", name="pk_activity"),
    )
    op.create_index("ix_activity_last_at", "activity", ["last_at"])
    op.create_table(
        "custom_domains",
        sa.Column("id", ID, nullable=False),
        sa.Column("fqdn", sa.String(253), nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("verification_target", sa.String(253), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("redirect_policy", sa.String(20), nullable=False),
        sa.Column("redirect_status", sa.Integer(), nullable=False),
        sa.Column("failure_reason", sa.String(2000), nullable=True),
        sa.Column("external_workspace_id", sa.String(255), nullable=True),
        sa.Column("external_user_id", sa.String(255), nullable=True),
        sa.Column("external_project_id", sa.String(255), nullable=True),
        sa.Column("verified_at", INSTANT, nullable=True),
        sa.Column("tls_issued_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("removed_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_custom_domains_resource_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_custom_domains_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_custom_domains"),
    )
    op.create_index("ix_custom_domains_fqdn", "custom_domains", ["fqdn"])
    op.create_index("ix_custom_domains_resource_id", "custom_domains", ["resource_id"])
    op.create_index("ix_custom_domains_tenant_id", "custom_domains", ["tenant_id"])
    op.create_index(
        "uq_custom_domains_fqdn",
        "custom_domains",
        ["fqdn"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "deployment_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("environment", sa.String(80), nullable=False),
        sa.Column("source_sandbox_id", ID, nullable=True),
        sa.Column("output_path", sa.String(2000), nullable=True),
        sa.Column("build_command", sa.String(2000), nullable=True),
        sa.Column("run_command", sa.String(2000), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("health_check_path", sa.String(2000), nullable=True),
        sa.Column("data_services", JSON, nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("external_workspace_id", sa.String(255), nullable=True),
        sa.Column("external_user_id", sa.String(255), nullable=True),
        sa.Column("external_project_id", sa.String(255), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("promoted_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_deployment_versions_resource_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_versions"),
        sa.UniqueConstraint("resource_id", "number", name="uq_deployment_versions_resource_id_number"),
    )
    op.create_table(
        "env_vars",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("environment", sa.String(80), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("secret", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_env_vars_resource_id"),
        sa.PrimaryKeyConstraint("id", name="pk_env_vars"),
        sa.UniqueConstraint("resource_id", "environment", "name", name="uq_env_vars_resource_id_environment_name"),
    )
    op.create_table(
        "exposed_ports",
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_exposed_ports_resource_id"),
        sa.PrimaryKeyConstraint("resource_id", "port", name="pk_exposed_ports"),
    )
    op.create_table(
        "previews",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("visibility", sa.String(20), nullable=False),
        sa.Column("host_mode", sa.String(253), nullable=False),
        sa.Column("name", sa.String(120), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_previews_resource_id"),
        sa.PrimaryKeyConstraint("id", name="pk_previews"),
        sa.UniqueConstraint("resource_id", "port", name="uq_previews_resource_id_port"),
    )
    op.create_table(
        "tombstones",
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_tombstones_resource_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_tombstones_tenant_id"),
        sa.PrimaryKeyConstraint("slug", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_tenant_id", "tombstones", ["tenant_id"])
    op.create_table(
        "usage_intervals",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("size", sa.String(20), nullable=True),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_usage_intervals_project_id"),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_usage_intervals_resource_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_usage_intervals_tenant_id"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_usage_intervals_workspace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_usage_intervals"),
    )
    op.create_index("ix_usage_intervals_resource", "usage_intervals", ["resource_id", "ended_at"])
    op.create_index("ix_usage_intervals_workspace", "usage_intervals", ["workspace_id", "started_at"])
    op.create_table(
        "builds",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("triggered_by", sa.String(80), nullable=True),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("error_message", sa.String(2000), nullable=True),
        sa.Column("started_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_builds_resource_id"),
        sa.ForeignKeyConstraint(["version_id"], ["deployment_versions.id"], name="fk_builds_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
    )
    op.create_index("ix_builds_resource", "builds", ["resource_id", "created_at"])
    op.create_table(
        "deployments",
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("active_version_id", ID, nullable=True),
        sa.Column("source_type", sa.String(20), nullable=True),
        sa.Column("repo_url", sa.String(2000), nullable=True),
        sa.Column("branch", sa.String(255), nullable=True),
        sa.Column("build_command", sa.String(2000), nullable=True),
        sa.Column("run_command", sa.String(2000), nullable=True),
        sa.Column("auto_deploy", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["active_version_id"], ["deployment_versions.id"], name="fk_deployments_active_version_id"
        ),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_deployments_resource_id"),
        sa.PrimaryKeyConstraint("resource_id", name="pk_deployments"),
    )
    op.create_table(
        "endpoints",
        sa.Column("holder_id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("generation", sa.String(128), nullable=False),
        sa.Column("ports", JSON, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_endpoints_resource_id"),
        sa.ForeignKeyConstraint(["version_id"], ["deployment_versions.id"], name="fk_endpoints_version_id"),
        sa.PrimaryKeyConstraint("holder_id", name="pk_endpoints"),
    )
    op.create_index("ix_endpoints_resource_id", "endpoints", ["resource_id"])
    op.create_table(
        "releases",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("previous_version_id", ID, nullable=True),
        sa.Column("environment", sa.String(80), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["previous_version_id"], ["deployment_versions.id"], name="fk_releases_previous_version_id"
        ),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_releases_resource_id"),
        sa.ForeignKeyConstraint(["version_id"], ["deployment_versions.id"], name="fk_releases_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
    )
    op.create_index("ix_releases_resource", "releases", ["resource_id", "created_at"])

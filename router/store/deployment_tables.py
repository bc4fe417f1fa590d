"""The tables of deployments: what a resource of that kind has beside its row in `resources`."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("active_version_id", Id, sa.ForeignKey("deployment_versions.id")),
    sa.Column("source_type", sa.String(20)),
    sa.Column("repo_url", sa.String(2000)),
    sa.Column("branch", sa.String(255)),
    sa.Column("build_command", sa.String(2000)),
    sa.Column("run_command", sa.String(2000)),
    sa.Column("auto_deploy", sa.Boolean, nullable=False),
)

deployment_versions = sa.Table(
    "deployment_versions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("environment", sa.String(80), nullable=False),
    sa.Column("source_sandbox_id", Id, index=True),
    sa.Column("output_path", sa.String(2000)),
    sa.Column("entrypoint", sa.String(2000)),
    sa.Column("source_snapshot_path", sa.String(2000)),
    sa.Column("build_command", sa.String(2000)),
    sa.Column("run_command", sa.String(2000)),
    sa.Column("port", sa.Integer),
    sa.Column("health_check_path", sa.String(2000)),
    sa.Column("data_services", Json),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("external_workspace_id", sa.String(255)),
    sa.Column("external_user_id", sa.String(255)),
    sa.Column("external_project_id", sa.String(255)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("promoted_at", Instant),
    sa.UniqueConstraint("resource_id", "number"),
)

# Which version an environment was pointed at, when, and by what: publish, promote or rollback. The one with the highest
# number of an environment holds there now.
releases = sa.Table(
    "releases",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("version_id", Id, sa.ForeignKey("deployment_versions.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("previous_version_id", Id, sa.ForeignKey("deployment_versions.id")),
    sa.Column("environment", sa.String(80), nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("ix_releases_resource", "resource_id", "created_at"),
    sa.Index("ix_releases_numbered", "resource_id", "number"),
    sa.Index("ix_releases_environment", "resource_id", "environment", "number"),
)

# `deadline_at` is set while a build runs: once it has passed, the process that ran it is gone.
builds = sa.Table(
    "builds",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("version_id", Id, sa.ForeignKey("deployment_versions.id"), index=True),
    sa.Column("number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("triggered_by", sa.String(80)),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("error_message", sa.String(2000)),
    sa.Column("started_at", Instant),
    sa.Column("finished_at", Instant),
    sa.Column("deadline_at", Instant, index=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("ix_builds_resource", "resource_id", "created_at"),
    sa.Index("ix_builds_numbered", "resource_id", "number"),
)

env_vars = sa.Table(
    "env_vars",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("environment", sa.String(80), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("secret", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.UniqueConstraint("resource_id", "environment", "name"),
)

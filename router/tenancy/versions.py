"""Versions of a deployment, the builds that make them and the releases that put them on air: values, and their rows.

    publish → a version (building) and its build (running)
    build succeeded → the version is ready; promoted, it is released: an environment points at it
    build failed → the version has failed, and whatever was live stays live

What a version is never changes; only its state does, once, and `promoted_at`. Hosts lead to what the environment
`production` points at; the other environments are for the platform and for people to read.
"""

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.base.paging import Listing, Window
from router.errors import NOT_FOUND, RouterError

PRODUCTION = "production"


class VersionKind(enum.StrEnum):
    """What a version is made of. `sandbox_backed` runs in the sandbox that it was published from."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    SANDBOX_BACKED = "sandbox_backed"


class VersionState(enum.StrEnum):
    """Only a `ready` version can be promoted."""

    CREATED = "created"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    ARCHIVED = "archived"


class BuildState(enum.StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ReleaseAction(enum.StrEnum):
    """What put a version on air."""

    PUBLISH = "publish"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version. `port` is the program's, as hosts without a port mean it; `health_check_path` None checks for TCP.

    Commands, paths and services say what the customer asks of the platform; nothing here acts on them. `build_id` and
    `created_by` are its build's.
    """

    id: str
    resource_id: str
    number: int
    kind: VersionKind
    state: VersionState = VersionState.BUILDING
    environment: str = PRODUCTION
    source_sandbox_id: str | None = None
    output_path: str | None = None
    entrypoint: str | None = None
    source_snapshot_path: str | None = None
    build_command: str | None = None
    run_command: str | None = None
    port: int | None = None
    health_check_path: str | None = None
    data_services: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    created_at: datetime
    updated_at: datetime
    promoted_at: datetime | None = None
    build_id: str | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One try to make a version. `log` is lines of text; `error_message` says why it failed.

    While it runs it has `deadline_at`. The process that runs it ends it before, so once that has passed none runs it.
    """

    id: str
    resource_id: str
    version_id: str
    number: int
    state: BuildState = BuildState.RUNNING
    triggered_by: str | None = None
    log: str = ""
    error_message: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """That an environment was pointed at a version. `current` is whether it still is."""

    id: str
    resource_id: str
    version_id: str
    number: int
    previous_version_id: str | None
    environment: str
    action: ReleaseAction
    created_at: datetime
    current: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFilter:
    """Conditions of a list; None is no condition. `before` leaves out that number and those above it."""

    state: VersionState | None = None
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    before: int | None = None


class VersionRows(Protocol):
    """Stored versions."""

    async def add(self, version: Version) -> None: ...

    async def get(self, version_id: str) -> Version | None: ...

    async def of(self, version_ids: Collection[str]) -> Mapping[str, Version]:
        """Those that exist, by id."""

    async def list(self, resource_id: str, where: VersionFilter, window: Window) -> Listing[Version]:
        """The newest first. The total leaves `before` aside."""

    async def next_number(self, resource_id: str) -> int: ...

    async def live_before(self, resource_id: str, environment: str, number: int) -> Version | None:
        """The newest ready version with a lower number that was live in the environment once."""

    async def save(self, version: Version) -> None:
        """Store its state and `promoted_at`."""


class BuildRows(Protocol):
    """Stored builds."""

    async def add(self, build: Build) -> None: ...

    async def get(self, build_id: str) -> Build | None: ...

    async def list(self, resource_id: str, window: Window) -> Listing[Build]:
        """The newest first."""

    async def overdue(self, now: datetime) -> Sequence[Build]:
        """Running ones whose deadline has passed, the oldest first; some of them."""

    async def save(self, build: Build) -> None:
        """Store every field."""


class ReleaseRows(Protocol):
    """Stored releases."""

    async def add(self, release: Release) -> None: ...

    async def get(self, release_id: str) -> Release | None: ...

    async def list(self, resource_id: str, window: Window) -> Listing[Release]:
        """The newest first."""

    async def current(self, resource_id: str, environment: str) -> Release | None:
        """What the environment points at."""

    async def next_number(self, resource_id: str) -> int: ...


def found_version(version: Version | None, resource_id: str) -> Version:
    """The version, where it is that deployment's. Raises RouterError NOT_FOUND."""
    if version is None or version.resource_id != resource_id:
        raise RouterError(NOT_FOUND, "version not found")
    return version

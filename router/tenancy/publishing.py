"""Publishing: from a sandbox that runs to a version that is live.

    start    the version (building) and its build (running) are stored; the response may be sent from here on
    check    where the sandbox listens, and whether it responds there: tried until it does, or time is up (`health.py`)
    end      in one transaction the build has succeeded, the version is ready, and the environment points at it;
             or the build has failed and says why, and whatever was live stays live

A build belongs to the process that started it, and is never resumed: how far its check had come is not
known, and publishing again costs nothing. A process that ends in order fails its builds as interrupted. One that
dies leaves them running until their deadline; then any process of the fleet does the same (`fail_overdue`).
"""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from router.base.addresses import Network
from router.base.clock import Clock
from router.base.ids import new_id
from router.base.tasks import Tasks
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError, StoreUnavailableError
from router.routes.records import Kind, State
from router.tenancy import lifecycle
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.deployments import Deployment, found_deployment
from router.tenancy.env import check_environment
from router.tenancy.health import BuildLog, Checks, FailedError, Probe
from router.tenancy.previews import main_port
from router.tenancy.releases import point
from router.tenancy.resources import Resource, check_port, live
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields, invalid
from router.tenancy.versions import (
    PRODUCTION,
    Build,
    BuildState,
    ReleaseAction,
    Version,
    VersionKind,
    VersionState,
)

INTERRUPTED = "The router was restarted while this build ran. Publish again."

# What can stand in a request line as it is, and names this server: visible ASCII without fragment, not `//host`.
PATH = r"/([!$-.0-;=?-\[\]_a-z~][!$-;=?-\[\]_a-z~]{0,1998})?"
_PATH = re.compile(PATH)

_GRACE = 30.0  # seconds past the check's own time in which a build must have ended
_MAX_SERVICES = 50
_NOTHING_YET = frozenset({State.PROVISIONING, State.ERROR})  # a deployment in these has no version to disturb

_log = structlog.get_logger("router.publishing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be published, and how. `port` None is the sandbox's main port, `kind` None follows the source.

    With `promote` the version goes live once it is ready.
    """

    source_sandbox_id: str
    kind: VersionKind | None = None
    environment: str = PRODUCTION
    promote: bool = True
    output_path: str | None = None
    entrypoint: str | None = None
    source_snapshot_path: str | None = None
    build_command: str | None = None
    run_command: str | None = None
    port: int | None = None
    health_check_path: str | None = None
    data_services: tuple[str, ...] = ()
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None


def plan_of(version: Version, sandbox_id: str) -> Plan:
    """How a version was published, to publish the same again."""
    return Plan(
        source_sandbox_id=sandbox_id,
        kind=version.kind,
        environment=version.environment,
        output_path=version.output_path,
        entrypoint=version.entrypoint,
        source_snapshot_path=version.source_snapshot_path,
        build_command=version.build_command,
        run_command=version.run_command,
        port=version.port,
        health_check_path=version.health_check_path,
        data_services=version.data_services,
        external_workspace_id=version.external_workspace_id,
        external_user_id=version.external_user_id,
        external_project_id=version.external_project_id,
    )


class Publishing:
    """The pipeline. Owns the builds of this process; `close` it before the store."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        probe: Probe,
        networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]] = (),
        reserved_ports: Collection[int] = (),
        check_time: float = 30.0,
    ) -> None:
        """`check_time` is how long a program may take to answer, in seconds."""
        self._store = store
        self._clock = clock
        self._checks = Checks(store, probe=probe, networks=networks, own_listeners=own_listeners)
        self._reserved_ports = frozenset(reserved_ports)
        self._check_time = check_time
        self._tasks = Tasks("publishing")
        self._running: dict[str, tuple[Version, asyncio.Task[None]]] = {}

    @retry_on_deadlock
    async def start(self, deployment_id: str, plan: Plan, *, by: str | None = None) -> Version:
        """Begin to publish; the version that it will be. `by` is who asked.

        Raises RouterError: NOT_FOUND (deployment, or sandbox of its tenant), VALIDATION_FAILED; RuntimeError after
        `close`; StoreUnavailableError.
        """
        fields = Fields()
        self._check_plan(fields, plan)
        fields.check()
        now = self._clock.now()
        log = BuildLog(self._clock)
        async with self._store.begin() as tx:
            deployment = await found_deployment(tx, deployment_id)
            sandbox = await _source(tx, deployment.resource, plan.source_sandbox_id)
            port = await self._port(tx, sandbox, plan)
            number = await tx.versions.next_number(deployment_id)
            version = self._version(deployment, sandbox, plan, port, number, now, by)
            log.say(f"Publishing sandbox {sandbox.id} to {plan.environment} as version {version.number}.")
            await tx.versions.add(version)
            await tx.builds.add(
                Build(
                    id=version.build_id or new_id(),
                    resource_id=deployment_id,
                    version_id=version.id,
                    number=version.number,
                    triggered_by=by,
                    log=log.text,
                    started_at=now,
                    deadline_at=now + timedelta(seconds=self._check_time + _GRACE),
                    created_at=now,
                )
            )
            if plan.promote and plan.environment == PRODUCTION and deployment.resource.state in _NOTHING_YET:
                # Its hosts say that it is starting; without a port they would say that there is nothing.
                coming = replace(deployment.resource, default_port=version.port, updated_at=now)
                await tx.resources.save(deployment.resource, coming)
                await lifecycle.enter(tx, coming, State.STARTING, now)
        task = self._tasks.start(f"version {version.id}", self._run(version, log, promote=plan.promote))
        self._running[version.id] = version, task
        task.add_done_callback(lambda _: self._running.pop(version.id, None))
        return version

    async def wait(self, version_id: str, within: float) -> bool:
        """Whether its build has ended, after at most that many seconds. It goes on if the waiting task is cancelled."""
        running = self._running.get(version_id)
        if running is None:
            return True
        done, _ = await asyncio.wait([running[1]], timeout=within)
        return bool(done)

    async def fail_overdue(self) -> int:
        """Fail the builds whose process is gone; how many. Raises StoreUnavailableError."""
        async with self._store.read() as tx:
            overdue = await tx.builds.overdue(self._clock.now())
        for build in overdue:
            await self._end(build.resource_id, build.version_id, None, failed=INTERRUPTED)
        return len(overdue)

    async def close(self) -> None:
        """End what is under way, and fail its builds as interrupted."""
        interrupted = [version for version, _ in self._running.values()]
        await self._tasks.close()
        for version in interrupted:
            try:
                await self._end(version.resource_id, version.id, None, failed=INTERRUPTED)
            except StoreUnavailableError as error:  # it becomes overdue soon, and is failed then
                _log.warning("build not marked as failed, retrying", version=version.id, error=str(error))

    def _check_plan(self, fields: Fields, plan: Plan) -> None:
        check_environment(fields, plan.environment)
        if plan.port is not None:
            check_port(fields, "port", plan.port, self._reserved_ports)
        for name in ("output_path", "entrypoint", "source_snapshot_path", "build_command", "run_command"):
            fields.text(name, getattr(plan, name), max_length=2000)
        for name in ("external_workspace_id", "external_user_id", "external_project_id"):
            fields.text(name, getattr(plan, name), max_length=255)
        path = plan.health_check_path
        if path is not None and _PATH.fullmatch(path) is None:
            fields.add("health_check_path", "must be a path such as /healthz, percent-encoded where needed")
        if len(plan.data_services) > _MAX_SERVICES:
            fields.add("data_services", f"should have at most {_MAX_SERVICES} item(s)")
        for service in plan.data_services:
            fields.text("data_services", service, max_length=255, required=True)

    async def _port(self, tx: Tx, sandbox: Resource, plan: Plan) -> int:
        """The port that was asked for, else the sandbox's main one, else the only one on which it listens."""
        port = plan.port or await main_port(tx, sandbox)
        if port is None:
            listening = [public for endpoint in await tx.resources.endpoints(sandbox.id) for public in endpoint.ports]
            port = listening[0] if len(listening) == 1 else None
        if port is None:
            raise invalid("port", BLANK)
        if port in self._reserved_ports:
            raise invalid("port", "is reserved by the platform")
        return port

    def _version(
        self,
        deployment: Deployment,
        sandbox: Resource,
        plan: Plan,
        port: int,
        number: int,
        now: datetime,
        by: str | None,
    ) -> Version:
        resource = deployment.resource
        return Version(
            id=new_id(),
            resource_id=deployment.id,
            number=number,
            kind=plan.kind or VersionKind.SANDBOX_BACKED,
            environment=plan.environment,
            source_sandbox_id=sandbox.id,
            output_path=plan.output_path,
            entrypoint=plan.entrypoint,
            source_snapshot_path=plan.source_snapshot_path,
            build_command=plan.build_command or deployment.build_command,
            run_command=plan.run_command or deployment.run_command,
            port=port,
            health_check_path=plan.health_check_path,
            data_services=plan.data_services,
            external_workspace_id=plan.external_workspace_id or resource.external_workspace_id,
            external_user_id=plan.external_user_id or resource.external_user_id,
            external_project_id=plan.external_project_id or resource.external_project_id,
            created_at=now,
            updated_at=now,
            build_id=new_id(),
            created_by=by,
        )

    async def _run(self, version: Version, log: BuildLog, *, promote: bool) -> None:
        """Check, then end. Where the store is unavailable at the end, the build becomes overdue later."""
        failed: str | None = None
        try:
            await self._checks.check(version, log, within=self._check_time)
        except FailedError as error:
            failed = str(error)
        except StoreUnavailableError as error:
            _log.warning("build failed", version=version.id, error=str(error))
            failed = "Our store did not answer. That is our fault: publish again."
        await self._end(version.resource_id, version.id, log, promote=promote, failed=failed)

    @retry_on_deadlock
    async def _end(
        self,
        deployment_id: str,
        version_id: str,
        log: BuildLog | None,
        *,
        promote: bool = False,
        failed: str | None = None,
    ) -> None:
        """Store how it ended, once: a second call finds the build ended and changes nothing.

        `log` is the whole log; None appends to the stored one.
        """
        now = self._clock.now()
        async with self._store.begin() as tx:
            # Locked first: of two calls that end a build at once, one waits here.
            resource = await tx.resources.get(deployment_id)
            version = await tx.versions.get(version_id)
            build = await tx.builds.get(version.build_id) if version is not None and version.build_id else None
            if version is None or build is None or build.state is not BuildState.RUNNING:
                return
            before = ""
            if log is None:
                log, before = BuildLog(self._clock), build.log
            if resource is None or resource.deleted_at is not None:
                failed = "The deployment has been deleted."
            if failed is not None:
                log.say(f"Failed. {failed}")
                await tx.versions.save(replace(version, state=VersionState.FAILED, updated_at=now))
                state = BuildState.FAILED
            else:
                version = replace(version, state=VersionState.READY, updated_at=now)
                await tx.versions.save(version)
                log.say(await _promote(tx, version, now) if promote else f"Version {version.number} is ready.")
                state = BuildState.SUCCEEDED
            await tx.builds.save(
                replace(
                    build,
                    state=state,
                    log=before + log.text,
                    error_message=failed,
                    finished_at=now,
                    deadline_at=None,
                )
            )
            if failed is not None:
                await _settle(tx, resource, now)


async def _promote(tx: Tx, version: Version, now: datetime) -> str:
    """Make a new version live, unless a newer one is already; a line for the build's log."""
    current = await tx.releases.current(version.resource_id, version.environment)
    if current is not None:
        newer = await tx.versions.get(current.version_id)
        if newer is not None and newer.number > version.number:
            return f"Version {version.number} is ready. Version {newer.number} is live already and stays so."
    deployment = await found_deployment(tx, version.resource_id)
    await point(tx, deployment, version, version.environment, ReleaseAction.PUBLISH, now)
    return f"Version {version.number} is live in {version.environment}."


async def _settle(tx: Tx, resource: Resource | None, now: datetime) -> None:
    """A deployment that waited for its first version has none."""
    if resource is None or resource.deleted_at is not None or resource.state is not State.STARTING:
        return
    deployment = await found_deployment(tx, resource.id)
    if deployment.active_version_id is None:
        await lifecycle.enter(tx, resource, State.ERROR, now)


async def _source(tx: Tx, deployment: Resource, sandbox_id: str) -> Resource:
    sandbox = live(await tx.resources.get(sandbox_id), Kind.SANDBOX)
    if sandbox.tenant_id != deployment.tenant_id:
        raise RouterError(NOT_FOUND, "sandbox not found")
    if sandbox.suspended:
        raise RouterError(CONFLICT, "the sandbox is suspended")
    if await tx.blocks.feeds_blocked(sandbox.id, deployment.id):
        raise RouterError(CONFLICT, "a deployment that was published from this sandbox has been blocked")
    return sandbox

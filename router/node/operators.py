"""The operators' sockets of a node, with all that they answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.node.sockets import ListenError
from router.observe.log_levels import LogLevels
from router.operator.log_levels import LogLevelRoutes
from router.operator.processes import Answers, Processes
from router.operator.refused import RefusedRoutes
from router.operator.server import Call, OnAct, OperatorRoute, OperatorServer, answer
from router.operator.sessions import Sessions
from router.operator.subjects import FindTenant, Subjects
from router.operator.tap import Tap
from router.operator.top import Gauge, Top
from router.settings import Settings

if TYPE_CHECKING:
    from router.node.ipc.control_side import ControlSide


def node_routes(processes: Processes) -> list[OperatorRoute]:
    """What the node says about itself."""

    async def node(_call: Call) -> Any:
        asked = await processes.ask("process")
        rows = [{"process": one.process, **one.value} for one in asked]
        return answer({"version": version("miosa-router"), "processes": rows, "silent": asked.silent})

    return [OperatorRoute("GET", "/v1/node", node)]


@asynccontextmanager
async def open_operators(
    settings: Settings,
    answers: Answers,
    control_side: "ControlSide | None",
    *,
    find_tenant: FindTenant,
    levels: LogLevels,
    gauge: Gauge,
    clock: Clock,
    on_act: OnAct,
) -> AsyncIterator[OperatorServer | None]:
    """Serve the operators' tools while the block runs; None without a `runtime_dir`. `on_act` hears of what they do, before it is done.
    Raises ListenError."""
    if settings.runtime_dir is None:
        yield None
        return
    processes = Processes(answers, control_side)
    subjects = Subjects(find_tenant)
    tasks = Tasks("operators' sockets")
    log_levels = LogLevelRoutes(processes, levels, settings.log_level, tasks)
    routes = [
        *node_routes(processes),
        *Tap(processes, subjects).routes(),
        *Top(processes, gauge, clock).routes(),
        *Sessions(processes, subjects).routes(),
        *RefusedRoutes(processes, settings.limits).routes(),
        *log_levels.routes(),
    ]
    server = OperatorServer(settings.runtime_dir, settings.operator, routes, on_act=on_act)
    if control_side is not None:
        # A control process that leaves tells new workers nothing: its successor does.
        control_side.on_serving(lambda: None if server.draining.is_set() else log_levels.tell())
    try:
        try:
            await server.start()
        except OSError as error:
            reason = error.strerror or error
            raise ListenError(f"the operators' sockets cannot be made in {settings.runtime_dir}: {reason}") from error
        yield server
    finally:
        await server.close()
        await tasks.close()

"""`log-level`: from which level on each module logs, in all processes of the node, changed for a while."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from router.base.tasks import Tasks
from router.observe.log_levels import LEVELS, LIBRARIES, LogLevels, as_json, is_module
from router.operator.processes import Processes
from router.operator.server import Call, OperatorError, OperatorRoute, answer

DEFAULT: Final = "default"  # in the place of a level: what the settings say
MAX_SECONDS: Final = 86_400
_MAX_MODULES: Final = 50


class LogLevelRoutes:
    """`own` are the levels of this process, which all others are given; `base` is the setting's. `tasks` own what begins here."""

    def __init__(self, processes: Processes, own: LogLevels, base: str, tasks: Tasks) -> None:
        self._processes = processes
        self._own = own
        self._base = base
        self._tasks = tasks

    def routes(self) -> list[OperatorRoute]:
        """What the sockets answer."""
        return [OperatorRoute("GET", "/v1/log-levels", self._show), OperatorRoute("POST", "/v1/log-levels", self._set)]

    def tell(self) -> None:
        """A worker has begun to serve: it is told what the others know. That there is nothing, too: during a reload it may have heard
        otherwise from a control process that leaves."""
        if not self._tasks.closed:
            self._tasks.start("tell log levels", self._tell())

    async def _tell(self) -> int:
        asked = await self._processes.ask("set_log_levels", levels=as_json(self._own.levels))
        return asked.silent

    async def _show(self, _call: Call) -> web.StreamResponse:
        return await self._answer()

    async def _set(self, call: Call) -> web.StreamResponse:
        module, level, seconds = _wanted(await call.body())
        if level != DEFAULT and module not in self._own.levels and len(self._own.levels) >= _MAX_MODULES:
            raise OperatorError(
                429, "too_many_modules", f"{_MAX_MODULES} modules have levels of their own: set one of them back."
            )
        await call.acted("log_level", module, log_level=level, seconds=None if level == DEFAULT else seconds)
        if level == DEFAULT:
            self._own.unset(module)
        else:
            self._own.set(module, level, self._own.now() + seconds)
        return await self._answer(silent=await self._tell())

    async def _answer(self, silent: int = 0) -> web.StreamResponse:
        asked = await self._processes.ask("log_levels")
        now = self._own.now()
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for one in asked:
            for module, (level, until) in one.value.items():
                row = found.setdefault(
                    (module, level), {"module": module, "level": level, "seconds_left": 0, "processes": []}
                )
                row["seconds_left"] = max(row["seconds_left"], round(max(0.0, until - now)))
                row["processes"].append(one.process)
        levels = [found[key] for key in sorted(found)]
        processes = [one.process for one in asked]
        return answer(
            {"default": self._base, "levels": levels, "processes": processes, "silent": max(silent, asked.silent)}
        )


def _wanted(body: Mapping[str, Any]) -> tuple[str, str, float]:
    """Module, level and seconds. Raises OperatorError."""
    module, level, seconds = body.get("module"), body.get("level"), body.get("seconds", 600)
    if not isinstance(module, str) or len(module) > 100 or not is_module(module):
        raise OperatorError(
            422,
            "unknown_module",
            f"{str(module)[:80]!r} is no module: give `router`, one of its packages or modules such as `router.proxy`, or a library"
            f" ({', '.join(LIBRARIES)}).",
        )
    if level not in (*LEVELS, DEFAULT):
        raise OperatorError(422, "unknown_level", f"A level is one of {', '.join(LEVELS)}, or {DEFAULT}.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= MAX_SECONDS:
        raise OperatorError(422, "invalid_time", "The time is from a second to 24 hours.")
    return module, level, float(seconds)

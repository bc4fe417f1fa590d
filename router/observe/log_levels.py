"""Levels of single modules, other than the setting `log_level`, for a while: what an operator sets on a running node."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from router.observe import logs

LEVELS: Final = ("debug", "info", "warning", "error")
# Beside our own, those that say nothing of what passes through: a database's driver would log values.
LIBRARIES: Final = ("aiohttp", "alembic", "asyncio")

Levels = Mapping[str, tuple[str, float]]
"""By module the level, and the instant of the monotonic clock at which it ends, which is the same for all processes of a machine."""


def is_module(name: str) -> bool:
    """Whether a level can be set for it: `router`, a package or module of it, a name under which our code logs, or a library."""
    if name in LIBRARIES or name in logging.root.manager.loggerDict:
        return name in LIBRARIES or name.partition(".")[0] == "router"
    first, *parts = name.split(".")
    if first != "router" or not all(part.isidentifier() for part in parts):
        return False
    place = Path(__file__).parents[1].joinpath(*parts)
    return place.is_dir() or bool(list(place.parent.glob(f"{place.name}.*"))) if parts else True


class LogLevels:
    """The levels of this process. `on_change` hears of each change."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.now = time
        self._levels: dict[str, tuple[str, float]] = {}
        self._ending: asyncio.TimerHandle | None = None
        self.on_change: Callable[[Levels], object] = lambda _: None

    @property
    def levels(self) -> Levels:
        """Those that are set now."""
        return dict(self._levels)

    def replace(self, levels: Levels) -> None:
        """Have these and no others."""
        now, before = self.now(), self._levels
        self._levels = {module: one for module, one in levels.items() if one[1] > now}
        if before or self._levels:
            self._apply()

    def set(self, module: str, level: str, until: float) -> None:
        """Set one until that instant."""
        self.replace({**self._levels, module: (level, until)})

    def unset(self, module: str) -> None:
        """Return to what the settings say."""
        self.replace({name: one for name, one in self._levels.items() if name != module})

    def close(self) -> None:
        """Return to the settings."""
        self.replace({})

    def _apply(self) -> None:
        logs.set_levels({module: level for module, (level, _) in self._levels.items()})
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._levels:
            first = min(until for _, until in self._levels.values())
            wait = max(0.0, first - self.now())
            self._ending = asyncio.get_running_loop().call_later(wait, self._end)
        self.on_change(self.levels)

    def _end(self) -> None:
        self._ending = None
        self.replace(self._levels)


def as_json(levels: Levels) -> dict[str, list[object]]:
    """For another process."""
    return {module: list(one) for module, one in levels.items()}


def from_json(levels: Mapping[str, Iterable[object]]) -> Levels:
    """What `as_json` has made."""
    found = {}
    for module, (level, until) in levels.items():
        if level in LEVELS and isinstance(until, int | float):
            found[module] = (str(level), float(until))
    return found

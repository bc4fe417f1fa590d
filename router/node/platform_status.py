"""What `/api/v1/platform/status` says: how this node and what it stands on are, and what to do where something is degraded.

It only reads. All who ask within a few seconds get one answer, so that no number of open pages costs the store more.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from router.base.clock import Clock
from router.errors import StoreUnavailableError
from router.node.admin import readiness_of
from router.node.readiness import Readiness
from router.observe.secrets import mask_text
from router.operator.processes import Asked
from router.operator.top import DEFAULT_WINDOW, Gauge, document
from router.settings import Settings, SettingsError
from router.store.inspection import Rows, StoreFacts
from router.store.inspection import inspect as inspect_store

_KEPT: Final = 3.0  # seconds that an answer is given again
_TIME: Final = 6.0  # seconds for the store, and for Redis
_OPERATION: Final = 2.0  # seconds for one operation of Redis
_HOSTS: Final = 20  # the busiest

# What to do where a check of `/readyz` fails.
REMEDIES: Final[Mapping[str, str]] = {
    "serving": "Wait for the drain or the start to end, and look at the node's log if it does not.",
    "store": "See whether the database runs and lets this machine in (RUNBOOK, The store is down).",
    "redis": "See whether Redis runs; meanwhile the store is asked instead, which is slower.",
    "disk": "Make room on that filesystem.",
    "clock": "Correct the clock with NTP or chrony (RUNBOOK, A wrong clock).",
    "jobs": "Look in the log for events with that job.",
    "workers": "Look in the log for the worker that ended; the supervisor starts it again.",
}
_LOOK: Final = "Look at the node's log, and run `miosa-router doctor` on it."


class PlatformStatus:
    """See the module. `ask` asks all processes of the node (`operator/processes.py`), `gauge` reads a gauge of this one."""

    def __init__(
        self,
        settings: Settings,
        readiness: Readiness,
        ask: Callable[..., Awaitable[Asked]],
        *,
        gauge: Gauge,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._readiness = readiness
        self._ask = ask
        self._gauge = gauge
        self._clock = clock
        self._turn = asyncio.Lock()
        self._last: tuple[float, Mapping[str, Any]] | None = None

    async def __call__(self) -> Mapping[str, Any]:
        """In the words of the API."""
        async with self._turn:
            if self._last is None or self._clock.monotonic() - self._last[0] >= _KEPT:
                found = await self._find_out()
                self._last = self._clock.monotonic(), found
            return self._last[1]

    async def _find_out(self) -> Mapping[str, Any]:
        readiness = self._readiness
        ready, store, redis, asked = await asyncio.gather(
            readiness_of(readiness.checks(), readiness.advice(), readiness.probes(), readiness.facts),
            _in_time(self._inspect_store()),
            self._inspect_redis(),
            self._ask("top", window=DEFAULT_WINDOW),
        )
        now = self._clock.now()
        top = document(asked, self._gauge, at=now.timestamp())
        rows = None if isinstance(store, str) else store.rows
        return {
            "node": socket.gethostname(),
            "version": version("miosa-router"),
            "at": now,
            "status": ready["status"],
            "workers": ready.get("workers"),
            "degradations": [
                {"check": name, "detail": one["detail"], "remedy": REMEDIES.get(name, _LOOK)}
                for name, one in ready["checks"].items()
                if not one["ok"]
            ],
            "nodes": None if rows is None else _nodes(rows),
            "stores": [_database(store), *([] if redis is None else [redis])],
            "hosts": None if rows is None else [{"kind": kind, "number": count} for kind, count in rows.hosts.items()],
            "certificates_near_end": None
            if rows is None
            else [
                {
                    "host": one.host,
                    "not_after": one.not_after,
                    "last_error": one.last_error,
                    "origin": "caddy" if one.origin is None else one.origin.value,
                }
                for one in rows.near_end
            ],
            "budgets": self._budgets(rows, ready.get("platform_names")),
            "traffic": {"seconds": top["seconds"], **_rates(top["total"]), "tunnels": top["total"].get("tunnels", 0)},
            "busiest_hosts": [{"host": one["host"], **_rates(one)} for one in top["hosts"][:_HOSTS]],
            "refusals": top["refusals"],
        }

    async def _inspect_store(self) -> StoreFacts:
        settings = self._settings
        return await inspect_store(
            settings.database_url, settings.database, self._clock, window=settings.gate.account_window
        )

    async def _inspect_redis(self) -> Mapping[str, Any] | None:
        settings = self._settings
        if settings.redis_url is None:
            return None
        from router.cache.client import CacheUnavailableError  # noqa: PLC0415 - a node without Redis does not load it
        from router.cache.inspection import inspect as inspect_redis  # noqa: PLC0415

        asked = inspect_redis(settings.redis_url, settings.redis, self._clock, within=_OPERATION)
        found = await _in_time(asked, CacheUnavailableError)
        if isinstance(found, str):
            return {"name": "Redis", "error": found}
        return {"name": "Redis", "version": found.version, "role": found.role, "latency_ms": _ms(found.latency)}

    def _budgets(self, rows: Rows | None, platform: Any) -> list[Mapping[str, Any]] | None:
        """None where none are counted."""
        gate = self._settings.gate
        if not gate.budgets:
            return None
        spent = None if rows is None else rows.attempts
        found: list[Mapping[str, Any]] = [
            {"name": "account", "spent": spent, "of": gate.account, "seconds": int(gate.account_window)}
        ]
        if isinstance(platform, Mapping) and not platform.get("wildcard"):
            week = {"spent": platform["spent"], "of": platform["of"], "seconds": 7 * 86400}
            found.append({"name": "platform_names", **week})
        return found


async def _in_time(work: Awaitable[Any], failure: type[Exception] = StoreUnavailableError) -> Any:
    """What it finds, or a text: why it could not be asked."""
    try:
        async with asyncio.timeout(_TIME):
            return await work
    except TimeoutError:
        return f"no answer within {_TIME:g} s"
    except (failure, SettingsError, OSError) as error:
        return mask_text(str(error))


def _database(store: StoreFacts | str) -> Mapping[str, Any]:
    if isinstance(store, str):
        return {"name": "Database", "error": store}
    role = None if store.kind == "SQLite" else "standby" if store.standby else "primary"
    return {"name": store.kind, "version": store.version, "role": role, "latency_ms": _ms(store.latency)}


def _nodes(rows: Rows) -> list[Mapping[str, Any]]:
    """The processes that say in the store that they are there: those with the role `jobs`."""
    return [
        {
            "host": holder.split("/")[0],
            "process": holder.split("/")[1] if holder.count("/") else None,
            "jobs": sum(by == holder for by in rows.jobs.values()),
        }
        for holder in sorted(rows.nodes)
    ]


def _rates(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: found[name] for name in ("requests_per_second", "errors_per_second", "p99_ms")}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)

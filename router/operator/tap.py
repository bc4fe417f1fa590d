"""`tap`: the exchanges of a host, a resource or a tenant as they end, from all processes of the node. Unsampled, up to so many per
second; what is not shown is counted, and said."""

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from router.base.ids import new_id
from router.observe.endings import COMBINATIONS
from router.operator.processes import Processes
from router.operator.server import Call, LineStream, OperatorError, OperatorRoute
from router.operator.subjects import Subjects
from router.operator.tapping import LEASE, MAX_TAPS

DEFAULT_RPS: Final = 100
MAX_RPS: Final = 2000
_MAX_WAITING: Final = 4000  # rows that wait for a slow reader
_RENEW: Final = LEASE / 4
_REPORT: Final = 1.0  # seconds between two lines about what is not shown
_STATUS: Final = re.compile(r"[1-5]xx|0|[1-5][0-9]{2}")


class _Reader:
    """One tap's rows on their way to its tool."""

    def __init__(self, per_second: int) -> None:
        self.rows: deque[Mapping[str, Any]] = deque()
        self.over_limit = 0
        self.not_read = 0
        self.arrived = asyncio.Event()
        self._per_second = per_second
        self._second = 0.0
        self._left = per_second

    def take(self, process: int, rows: list[dict[str, Any]], dropped: int) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._second + 1:
            self._second, self._left = now, self._per_second
        self.over_limit += dropped
        for row in rows:
            if not self._left:
                self.over_limit += 1
            elif len(self.rows) >= _MAX_WAITING:
                self.not_read += 1
            else:
                self._left -= 1
                self.rows.append(row | {"worker": process})
        self.arrived.set()


class Tap:
    """The taps of a node."""

    def __init__(self, processes: Processes, subjects: Subjects) -> None:
        self._processes = processes
        self._subjects = subjects
        self._readers: dict[str, _Reader] = {}
        processes.on("tap", self._hear)

    def routes(self) -> list[OperatorRoute]:
        """What the sockets answer."""
        return [OperatorRoute("GET", "/v1/tap", self._tap)]

    def _hear(self, process: int, about: Mapping[str, Any]) -> None:
        reader = self._readers.get(about["tap"])
        if reader is not None:
            reader.take(process, about["rows"], about["dropped"])

    async def _tap(self, call: Call) -> web.StreamResponse:
        wanted = await self._wanted(call)
        per_second = call.number("max_rps", DEFAULT_RPS, 1, MAX_RPS)
        if len(self._readers) >= MAX_TAPS:
            raise OperatorError(429, "too_many_taps", f"{MAX_TAPS} taps are open on this node: end one of them.")
        identity, reader = new_id(), _Reader(per_second)
        self._readers[identity] = reader
        try:
            await call.acted("tap", call.one("of") or "", wanted=wanted, max_rps=per_second)
            async with call.stream() as lines:
                await lines.send({"tap": wanted, "max_rps": per_second})
                with suppress(ConnectionError, TimeoutError):  # who does not read any more sees nothing of the rest
                    await self._pass_on(call, lines, identity, reader, {"wanted": wanted, "per_second": per_second})
            return lines.response
        finally:
            del self._readers[identity]
            await self._processes.ask("untap", tap=identity)

    async def _pass_on(
        self, call: Call, lines: LineStream, identity: str, reader: _Reader, arguments: Mapping[str, Any]
    ) -> None:
        loop = asyncio.get_running_loop()
        renew_at = report_at = 0.0
        while not call.draining.is_set() and call.connected:
            if loop.time() >= renew_at:
                renew_at = loop.time() + _RENEW
                asked = await self._processes.ask("tap", tap=identity, **arguments)
                if asked.silent:
                    await lines.send({"silent": asked.silent})
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await reader.arrived.wait()
            reader.arrived.clear()
            while reader.rows:
                await lines.send(reader.rows.popleft())
            if loop.time() < report_at:
                continue
            over, unread = reader.over_limit, reader.not_read
            reader.over_limit = reader.not_read = 0
            if over or unread:
                report_at = loop.time() + _REPORT
                await lines.send({"not_shown": over + unread, "over_max_rps": over, "reader_too_slow": unread})
        if call.draining.is_set():
            await lines.send({"end": "the node ends, or was reloaded"})

    async def _wanted(self, call: Call) -> dict[str, Any]:
        """The conditions of a call. Raises OperatorError."""
        wanted: dict[str, Any] = dict(await self._subjects.resolve(call.one("of")))
        path, status, ending = call.one("path"), call.one("status"), call.one("ending")
        if path:
            wanted["path"] = path
        if status is not None:
            if _STATUS.fullmatch(status) is None:
                raise OperatorError(422, "invalid_status", "`status` is one such as 404, a class such as 5xx, or 0.")
            low = int(status[0]) * 100 if status.endswith("xx") else int(status)
            wanted["status"] = [low, low + 99 if status.endswith("xx") else low]
        if ending is not None:
            if ending not in COMBINATIONS:
                raise OperatorError(422, "invalid_ending", f"`ending` is one of {', '.join(COMBINATIONS)}.")
            wanted["ending"] = ending
        return wanted

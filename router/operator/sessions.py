"""`sessions` and `cut`: what is open of a host, a resource or a tenant in all processes of the node, and its end."""

from typing import Any, Final

from aiohttp import web

from router.operator.processes import Processes
from router.operator.server import Call, OperatorError, OperatorRoute, answer
from router.operator.subjects import Subjects

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000


class Sessions:
    """The sessions of a node."""

    def __init__(self, processes: Processes, subjects: Subjects) -> None:
        self._processes = processes
        self._subjects = subjects

    def routes(self) -> list[OperatorRoute]:
        """What the sockets answer."""
        return [OperatorRoute("GET", "/v1/sessions", self._list), OperatorRoute("POST", "/v1/cut", self._cut)]

    async def _list(self, call: Call) -> web.StreamResponse:
        limit = call.number("limit", DEFAULT_LIMIT, 0, MAX_LIMIT)
        wanted = await self._subjects.resolve(call.one("of"))
        asked = await self._processes.ask("sessions", wanted=wanted, limit=limit)
        rows = [row | {"worker": one.process} for one in asked for row in one.value["sessions"]]
        rows.sort(key=lambda row: row["since"])
        counts = [{"worker": one.process, **_counts(one.value)} for one in asked]
        return answer({"data": rows[:limit], **_total(counts), "workers": counts, "silent": asked.silent})

    async def _cut(self, call: Call) -> web.StreamResponse:
        of = (await call.body()).get("of")
        if of is not None and not isinstance(of, str):
            raise OperatorError(422, "invalid_subject", "`of` is a text.")
        wanted = await self._subjects.resolve(of)
        await call.acted("cut", of or "", wanted=wanted)
        asked = await self._processes.ask("cut", wanted=wanted)
        counts = [{"worker": one.process, **_counts(one.value)} for one in asked]
        return answer({**_total(counts), "workers": counts, "silent": asked.silent})


def _counts(value: dict[str, Any]) -> dict[str, int]:
    return {"exchanges": value["exchanges"], "tunnels": value["tunnels"]}


def _total(counts: list[dict[str, int]]) -> dict[str, int]:
    exchanges, tunnels = (sum(one[name] for one in counts) for name in ("exchanges", "tunnels"))
    return {"total": exchanges + tunnels, "exchanges": exchanges, "tunnels": tunnels}

"""`errors`: the last messages that were refused because of their bytes, with the byte and the rule that it broke."""

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from router.http1.refused import bad_request_byte, bad_response_byte, rule_of
from router.observe.refused import BODY, CLIENT, Refused
from router.observe.secrets import blank_secrets
from router.operator.processes import Processes
from router.operator.server import Call, OperatorRoute, answer
from router.records.record import network_of
from router.settings import Limits

_AROUND: Final = 96  # bytes that are shown before and behind the wrong one
_MAX: Final = 100  # of each process


class RefusedRoutes:
    """Shows what all processes have refused. `limits` are the node's, by which sizes are judged."""

    def __init__(self, processes: Processes, limits: Limits) -> None:
        self._processes = processes
        self._limits = limits

    def routes(self) -> list[OperatorRoute]:
        """What the sockets answer."""
        return [OperatorRoute("GET", "/v1/errors", self._errors)]

    async def _errors(self, _call: Call) -> web.StreamResponse:
        asked = await self._processes.ask("refused")
        found = [(one.process, message) for one in asked for message in one.value["messages"][-_MAX:]]
        # Reading them again takes a while where they are long.
        shown = await asyncio.to_thread(lambda: list(_shown(found, self._limits)))
        shown.sort(key=lambda one: float(one["at"]))
        skipped = sum(one.value["skipped"] for one in asked)
        return answer({"errors": shown, "skipped": skipped, "silent": asked.silent})


def _shown(found: Iterable[tuple[int, Mapping[str, Any]]], limits: Limits) -> Iterable[dict[str, Any]]:
    for process, message in found:
        values = dict(message) | {"raw": b64decode(message["raw"])}
        yield shown(Refused(**values), limits) | {"worker": process}


def shown(one: Refused, limits: Limits) -> dict[str, Any]:
    """One refused message as tools show it: `offset` counts from its first byte, in a body from the first of the piece that was read. `before`,
    `byte` and `after` are escaped, with `*` for each byte of a secret."""
    place = one.place
    if place < 0 and one.part != BODY:
        place = bad_request_byte(one.raw, one.why, limits) if one.side == CLIENT else _in_response(one, limits)
    rule = rule_of(one.why)
    if one.why == "not HTTP" and one.raw[place : place + 1] == b"\n":
        rule = rule_of("bare LF")
    text, at = (one.raw, 0) if one.part == BODY else (blank_secrets(one.raw), place)
    return {
        "at": one.at,
        "first_at": one.first_at,
        "count": one.times,
        "side": one.side,
        "part": one.part,
        "host": one.host or None,
        "client_network": network_of(one.client.encode("ascii", "replace")) or None,
        "backend": one.backend or None,
        "request_id": one.request_id or None,
        "why": one.why,
        "rule": rule.sentence,
        "source": rule.source,
        "offset": None if place < 0 else place,
        "size": one.size,
        "before": escaped(text[max(0, at - _AROUND) : at]),
        "byte": escaped(text[at : at + 1]),
        "after": escaped(text[at + 1 : at + 1 + _AROUND]),
    }


def _in_response(one: Refused, limits: Limits) -> int:
    return bad_response_byte(one.raw, one.why, one.method.encode("latin-1"), limits)


def escaped(raw: bytes) -> str:
    r"""Printable ASCII as it is, a backslash twice, and `\r`, `\n`, `\t`, `\x00` for the rest."""
    return raw.decode("latin-1").encode("unicode_escape").decode("ascii")

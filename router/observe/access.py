"""The access line: one per exchange, as JSON for programs or as text for people.

Keys of the JSON form are stable and always there; what has no value is null, or empty where it is text of the request:

    ts             when the exchange ended, UTC, with milliseconds (it began `duration_ms` earlier)
    request_id     as sent to the backend and the client
    client         address of the visitor
    method scheme host path query   of the request, escaped and cut where hostile or long; `secrets.py` says what is
                   masked in the query
    bytes_in bytes_out          body or tunnel bytes from and to the client
    duration_ms first_byte_ms   since the request began
    http           1.0 or 1.1
    status         of the answer, 0 where none was sent
    ending         who × phase: `endings.py`
    level source resource slug tenant port    which link of the chain answered, where it was known from, whom it is
    backend tries reused        address, tries to connect, whether the connection was a kept one
    error          the code of an answer of our own
    trace_id       of a valid `traceparent` of the request; not there otherwise
    hint           what helps where the program refuses the host that it is visited under; not there otherwise
    worker         number of the process, null where there is one only
    ua referer     User-Agent, and Referer without its query

Everything that a stranger chose is escaped to printable ASCII, so that no line can be forged and no terminal driven.
What hardly changes from one request of a visitor to the next is escaped once and remembered; of the rest it is asked
once, of all of it together, whether there is anything to escape.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from router.observe.ended_exchange import Finished
from router.observe.secrets import mask_keys, mask_query, may_have_key
from router.observe.trace_context import trace_id_of
from router.routes.route import Route

if TYPE_CHECKING:
    from mypy_extensions import i64  # as in `router/http1/bodies.py`

_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))
_MAX_FIELD: Final = 1024  # bytes of one field; the rest is cut, so that no visitor writes megabytes of log
_CUT = "…".encode()
_REMEMBERED: Final = 1024  # combinations of texts

_Said = tuple[bytes, bytes, bytes, str, str, str]  # host, User-Agent, Referer, client, scheme, backend

_VERSIONS: Final = ("1.0", "1.1", "2")


class Lines(Protocol):
    """A form of the access line."""

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """The lines of a batch. `epoch` is the wall-clock time (seconds since 1970) of the monotonic instant 0."""


class JsonLines:
    """One JSON object per line."""

    def __init__(self, worker: int | None = None) -> None:
        self._worker = "null" if worker is None else str(worker)
        self._remembered: dict[_Said, tuple[str, str, str, str]] = {}

    def _texts(self, said: "_Said") -> tuple[str, str, str, str]:
        """What hardly changes from one request of a visitor to the next, as it stands in a line: between request id and
        method, between method and path, the backend, and the line's end."""
        known = self._remembered.get(said)
        if known is None:
            host, agent, referer, client, scheme, backend = said
            page = referer.partition(b"?")[0]
            known = (
                f'","client":"{_escape_text(client)}","method":"',
                f'","scheme":"{scheme}","host":"{_escape_plain(host)}","path":"',
                f',"backend":"{_escape_text(backend)}",' if backend else ',"backend":null,',
                f',"worker":{self._worker},"ua":"{_escape_plain(agent)}","referer":"{_escape_plain(page)}"}}\n',
            )
            if sum(map(len, said)) <= _MAX_FIELD:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[said] = known
        return known

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """See `Lines`."""
        lines: list[str] = []
        second, stamp = -1, ""
        # Visitors come in bursts, a page and all that it needs: what depends on the route only is often still right, and so
        # is how it ended. Each text that is made once for several lines saves a twentieth of the line's cost.
        route: Route | None = None
        looked_up = False
        led = _led(route, looked_up=looked_up)
        before: _Said | None = None
        client = host = backend = end = ""
        status, version, ending, result = -1, 0, "", ""
        tries, reused, problem, hint, attempts = -1, False, None, "", ""
        for done in batch:
            started, ended, first_byte = done.started, done.ended, done.first_byte
            instant = ended + epoch
            whole = int(instant)
            if whole != second:
                second, stamp = whole, f'{{"ts":"{_date(whole)}'
            if done.route is not route or done.looked_up is not looked_up:
                route, looked_up = done.route, done.looked_up
                led = _led(route, looked_up=looked_up)
            raw_path, _, raw_query = done.target.partition(b"?")
            if raw_query:
                raw_query = mask_query(raw_query)
            # Latin-1 decodes anything; bytes beyond ASCII are read again, and properly, where they are escaped.
            method, path = done.method.decode("latin-1"), raw_path.decode("latin-1")
            query = raw_query.decode("latin-1")
            request_id = done.id.decode("latin-1")
            if not _is_plain(f"{request_id}{method}{path}{query}"):
                method, path, query = _escape(done.method), _escape(raw_path), _escape(raw_query)
                request_id = _escape(done.id)
            said = (done.host, done.user_agent, done.referer, done.client, done.scheme, done.backend)
            if said != before:
                before = said
                client, host, backend, end = self._texts(said)
            if done.status != status or done.ending != ending or done.version != version:
                status, ending, version = done.status, done.ending, done.version
                result = f',"http":"{_VERSIONS[version]}","status":{status},"ending":"{ending}",'
            if done.tries != tries or done.reused is not reused or done.problem is not problem or done.hint != hint:
                tries, reused, problem, hint = done.tries, done.reused, done.problem, done.hint
                attempts = _attempts(done)
            tail = end if not done.traceparent else _traced(done.traceparent) + end
            begun = _milliseconds(first_byte - started) if first_byte else "null"
            lines.append(
                f'{stamp}{_THOUSANDTHS[int((instant - whole) * 1000)]}Z","request_id":"{request_id}{client}{method}{host}'
                f'{path}","query":"{query}","bytes_in":{done.received},"bytes_out":{done.sent},'
                f'"duration_ms":{_milliseconds(ended - started)},"first_byte_ms":{begun}{result}{led}{backend}{attempts}{tail}'
            )
        return "".join(lines).encode("ascii")


class TextLines:
    """One short line per exchange, for a terminal; the status is coloured by its class where `colours` is set."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """See `Lines`."""
        return "".join([self._line(done, epoch) for done in batch]).encode("ascii")

    def _line(self, done: Finished, epoch: float) -> str:
        instant = done.ended + epoch
        path, _, query = done.target.partition(b"?")
        words = [
            f"{_date(int(instant))[11:]}{_THOUSANDTHS[int(instant % 1 * 1000)]}",
            self._status(done.status),
            done.ending,
            _escape(done.method),
            _escape(done.host) + _escape(path) + (f"?{_escape(mask_query(query))}" if query else ""),
            f"{(done.ended - done.started) * 1000:.1f}ms",
            f"in={done.received} out={done.sent}",
        ]
        if done.backend:
            words.append(f"backend={_escape_text(done.backend)}")
        if done.problem is not None:
            words.append(f"error={done.problem.code}")
        if done.traceparent and (trace_id := trace_id_of(done.traceparent)):
            words.append(f"trace_id={trace_id}")
        if done.hint:
            words.append(f"hint={_escape_text(done.hint)!r}")
        return " ".join(words) + "\n"

    def _status(self, status: int) -> str:
        text = str(status) if status else "---"
        return f"\x1b[{_COLOURS.get(status // 100, 35)}m{text}\x1b[0m" if self._colours else text


_COLOURS = {1: 36, 2: 32, 3: 36, 4: 33, 5: 31}  # by class of status; magenta is left for an exchange without an answer


def resolution_source(origin: str, *, looked_up: bool) -> str:
    """Where a route was known from: `process` unless it was looked up for this very exchange, or is a stale one."""
    return origin if looked_up or origin == "stale" else "process"


def _date(second: int) -> str:
    """`2026-05-17T10:00:00.`"""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def _milliseconds(seconds: float) -> str:
    """To the microsecond. By whole numbers, which is twice as fast as to format a fraction."""
    micros: i64 = int(seconds * 1e6 + 0.5)
    return f"{micros // 1000}.{_THOUSANDTHS[micros % 1000]}"


def _attempts(done: Finished) -> str:
    """The members that say what it took to get this far, and what went wrong."""
    error = f'"{done.problem.code}"' if done.problem else "null"
    hint = f',"hint":"{_escape_text(done.hint)}"' if done.hint else ""
    return f'"tries":{done.tries},"reused":{"true" if done.reused else "false"},"error":{error}{hint}'


def _traced(traceparent: bytes) -> str:
    trace_id = trace_id_of(traceparent)
    return f',"trace_id":"{trace_id}"' if trace_id else ""


def _led(route: Route | None, *, looked_up: bool) -> str:
    """The members that say where the host led."""
    if route is None:
        return '"level":null,"source":null,"resource":null,"slug":null,"tenant":null,"port":null'
    source = resolution_source(route.source, looked_up=looked_up)
    port = "null" if route.port is None else str(route.port)
    resource = route.resource
    if resource is None:
        who = '"resource":null,"slug":null,"tenant":null'
    else:
        identity, slug, tenant = resource.id, resource.slug, resource.tenant_id
        if not _is_plain(f"{identity}{slug}{tenant}"):
            identity, slug, tenant = _escape_text(identity), _escape_text(slug), _escape_text(tenant)
        who = f'"resource":"{identity}","slug":"{slug}","tenant":"{tenant}"'
    return f'"level":"{route.decision.level}","source":"{source}",{who},"port":{port}'


def _is_plain(text: str) -> bool:
    """Whether nothing needs to be escaped, masked or cut."""
    return (
        len(text) <= _MAX_FIELD
        and text.isascii()
        and text.isprintable()
        and '"' not in text
        and "\\" not in text
        and not may_have_key(text)
    )


def _escape_plain(raw: bytes) -> str:
    text = raw.decode("latin-1")
    return text if _is_plain(text) else _escape(raw)


def _escape_text(text: str) -> str:
    return text if _is_plain(text) else _escape(text.encode("utf-8", "backslashreplace"))


def _escape(raw: bytes) -> str:
    """Any bytes as what may stand between the quotes of a JSON string, in printable ASCII; cut where long."""
    raw = mask_keys(raw)
    if len(raw) > _MAX_FIELD:
        raw = raw[:_MAX_FIELD] + _CUT
    text = json.dumps(raw.decode("utf-8", "backslashreplace"))[1:-1]
    return text.replace("\x7f", "\\u007f")  # DEL is the one control character that JSON lets stand

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
Texts that come again (agents, clients, backends, what a route leads to) are escaped once and remembered. Of the rest it is
asked once per batch, of all lines together, whether there is anything to escape, mask or cut.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from router.observe.ended_exchange import Finished
from router.observe.endings import COMPLETE
from router.observe.secrets import mask_keys, mask_query, may_have_key, may_have_secret
from router.observe.trace_context import trace_id_of
from router.routes.route import Route

if TYPE_CHECKING:
    from mypy_extensions import i64  # as in `router/http1/bodies.py`

_THOUSANDTHS: Final = tuple([b"%03d" % number for number in range(1000)])
_FRACTIONS: Final = tuple([b".%03d" % number for number in range(1000)])
_TABLED: Final = 1000
_NUMBERS: Final = tuple([b"%d" % number for number in range(_TABLED)])
_MAX_FIELD: Final = 1024  # bytes of one field; the rest is cut, so that no visitor writes megabytes of log
_CUT = "…".encode()
_REMEMBERED: Final = 1024  # texts of one field
_FEW: Final = 8  # lines that are asked together where a batch has something to escape, mask or cut

# What stands as it is between the quotes of a JSON string stays, the rest becomes something else: nothing is to be escaped
# where nothing changes. It takes a quarter of the time of `str.isprintable`.
_PLAIN: Final = bytes([byte if 0x20 <= byte < 0x7F and byte not in b'"\\' else byte ^ 0xFF for byte in range(256)])

_BY_HTTP: Final = b'","scheme":"http","host":"'
_BY_HTTPS: Final = b'","scheme":"https","host":"'
_VERSIONS: Final = ("1.0", "1.1", "2")


class Lines(Protocol):
    """A form of the access line."""

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """The lines of a batch. `epoch` is the wall-clock time (seconds since 1970) of the monotonic instant 0."""


class JsonLines:
    """One JSON object per line, built of bytes as they came."""

    def __init__(self, worker: int | None = None) -> None:
        number = "null" if worker is None else str(worker)
        self._before_agent = f',"worker":{number},"ua":"'.encode("ascii")
        # How texts that come again stand in a line: each field by itself, since hardly two of them change together.
        self._clients: dict[str, bytes] = {}
        self._backends: dict[str, bytes] = {}
        self._agents: dict[bytes, bytes] = {}
        self._results: dict[int, bytes] = {}  # of exchanges that ended well, by status and version

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """See `Lines`."""
        clients, backends, agents = self._clients, self._backends, self._agents
        targets: list[tuple[bytes, bytes, bytes]] = []
        pages: list[bytes] = []
        strangers: list[bytes] = []
        for done in batch:
            target, page = done.target.partition(b"?"), done.referer
            if page:
                page = page.partition(b"?")[0]
            targets.append(target)
            pages.append(page)
            strangers.append(b"%b%b%b%b%b" % (done.id, done.method, done.host, done.target, page))
        odd = _odd_ones(strangers, [target[2] for target in targets])
        lines: list[bytes] = []
        second, stamp = -1, b""
        # Visitors come in bursts, a page and all that it needs: what depends on the route only is often still right, and so
        # is how it ended.
        route: Route | None = None
        looked_up = False
        led = _led(route, looked_up=looked_up)
        status, version, ending, result = -1, 0, "", b""
        tries, reused, problem, hint, attempts = -1, False, None, "", b""
        at: i64 = -1
        for done in batch:
            at += 1
            started, ended, first_byte = done.started, done.ended, done.first_byte
            instant = ended + epoch
            whole = int(instant)
            if whole != second:
                second, stamp = whole, b'{"ts":"' + _date(whole).encode("ascii")
            if done.route is not route or done.looked_up is not looked_up:
                route, looked_up = done.route, done.looked_up
                led = _led(route, looked_up=looked_up)
            if done.status != status or done.ending != ending or done.version != version:
                status, ending, version = done.status, done.ending, done.version
                result = self._result(status, version, ending)
            if done.tries != tries or done.reused is not reused or done.problem is not problem or done.hint != hint:
                tries, reused, problem, hint = done.tries, done.reused, done.problem, done.hint
                attempts = _attempts(done)
            client = clients.get(done.client)
            if client is None:
                client = self._remember_client(done.client)
            backend = backends.get(done.backend)
            if backend is None:
                backend = self._remember_backend(done.backend)
            agent = agents.get(done.user_agent)
            if agent is None:
                agent = self._remember_agent(done.user_agent)
            request_id, method, host, page = done.id, done.method, done.host, pages[at]
            path, _, query = targets[at]
            if odd and odd[at]:
                request_id, method, host, page = _escape(request_id), _escape(method), _escape(host), _escape(page)
                path, query = _escape(path), _escape(mask_query(query))
            scheme = _BY_HTTPS if done.scheme == "https" else _BY_HTTP
            trace = _traced(done.traceparent) if done.traceparent else b""
            thousandth: i64 = int((instant - whole) * 1000)
            # Numbers in two parts, each out of a table: to format one takes as long as four parts.
            received, sent = done.received, done.sent
            taken: i64 = int((ended - started) * 1e6 + 0.5)
            waited: i64 = int((first_byte - started) * 1e6 + 0.5) if first_byte else 0
            lines.append(
                b'%b%bZ","request_id":"%b%b%b%b%b","path":"%b","query":"%b","bytes_in":%b%b,"bytes_out":%b%b,'
                b'"duration_ms":%b.%b,"first_byte_ms":%b%b%b%b%b%b%b%b%b"}\n'
                % (
                    stamp,
                    _THOUSANDTHS[thousandth],
                    request_id,
                    client,
                    method,
                    scheme,
                    host,
                    path,
                    query,
                    _thousands(received),
                    _NUMBERS[received] if received < _TABLED else _THOUSANDTHS[received % 1000],
                    _thousands(sent),
                    _NUMBERS[sent] if sent < _TABLED else _THOUSANDTHS[sent % 1000],
                    _number(taken // 1000),
                    _THOUSANDTHS[taken % 1000],
                    _number(waited // 1000) if first_byte else b"null",
                    _FRACTIONS[waited % 1000] if first_byte else b"",
                    result,
                    led,
                    backend,
                    attempts,
                    trace,
                    agent,
                    page,
                )
            )
        return b"".join(lines)

    def _result(self, status: int, version: int, ending: str) -> bytes:
        key = status * 4 + version
        known = self._results.get(key) if ending == COMPLETE else None
        if known is None:
            known = f',"http":"{_VERSIONS[version]}","status":{status},"ending":"{ending}",'.encode("ascii")
            if ending == COMPLETE:
                self._results[key] = known
        return known

    def _remember_client(self, client: str) -> bytes:
        return _remember(self._clients, client, b'","client":"' + _escape_text(client) + b'","method":"')

    def _remember_backend(self, backend: str) -> bytes:
        text = b',"backend":"' + _escape_text(backend) + b'",' if backend else b',"backend":null,'
        return _remember(self._backends, backend, text)

    def _remember_agent(self, agent: bytes) -> bytes:
        return _remember(self._agents, agent, self._before_agent + _escape(agent) + b'","referer":"')


_Field = TypeVar("_Field", str, bytes)


def _remember(memory: dict[_Field, bytes], field: _Field, text: bytes) -> bytes:
    if len(field) <= _MAX_FIELD:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        memory[field] = text
    return text


def _odd_ones(texts: list[bytes], queries: list[bytes]) -> list[bool]:
    """In which lines there is something to escape, mask or cut; nothing where there is in none, which is asked of all of them
    together. Where there is, it is asked of a few together: a secret in one query is no reason to ask of each."""
    if _are_plain(texts, queries):
        return []
    odd: list[bool] = []
    for start in range(0, len(texts), _FEW):
        few, of_few = texts[start : start + _FEW], queries[start : start + _FEW]
        if _are_plain(few, of_few):
            odd += [False] * len(few)
        else:
            odd += [not _are_plain([text], [query]) for text, query in zip(few, of_few, strict=True)]
    return odd


def _are_plain(texts: list[bytes], queries: list[bytes]) -> bool:
    """`texts` are all fields of each line behind one another. What only looks like a key, across two of them, is found not to be one
    where fields are escaped."""
    for text in texts:
        if len(text) > _MAX_FIELD:
            return False
    together = b"".join(texts)
    return together.translate(_PLAIN) == together and not may_have_key(together) and not may_have_secret(queries)


class TextLines:
    """One short line per exchange, for a terminal; the status is coloured by its class where `colours` is set."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """See `Lines`."""
        return b"".join([self._line(done, epoch) for done in batch])

    def _line(self, done: Finished, epoch: float) -> bytes:
        instant = done.ended + epoch
        path, _, query = done.target.partition(b"?")
        words = [
            _date(int(instant))[11:].encode("ascii") + _THOUSANDTHS[int(instant % 1 * 1000)],
            self._status(done.status).encode("ascii"),
            done.ending.encode("ascii"),
            _escape(done.method),
            _escape(done.host) + _escape(path) + (b"?" + _escape(mask_query(query)) if query else b""),
            f"{(done.ended - done.started) * 1000:.1f}ms".encode("ascii"),
            f"in={done.received} out={done.sent}".encode("ascii"),
        ]
        if done.backend:
            words.append(b"backend=" + _escape_text(done.backend))
        if done.problem is not None:
            words.append(f"error={done.problem.code}".encode("ascii"))
        if done.traceparent and (trace_id := trace_id_of(done.traceparent)):
            words.append(f"trace_id={trace_id}".encode("ascii"))
        if done.hint:
            words.append(f"hint={_escape_text(done.hint).decode('ascii')!r}".encode("ascii"))
        return b" ".join(words) + b"\n"

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


def _number(number: "i64") -> bytes:
    return _NUMBERS[number] if 0 <= number < _TABLED else b"%d" % number


def _thousands(number: int) -> bytes:
    """What stands before the last three digits."""
    if number < _TABLED:
        return b""
    return _NUMBERS[number // 1000] if number < _TABLED * 1000 else b"%d" % (number // 1000)


def _attempts(done: Finished) -> bytes:
    """The members that say what it took to get this far, and what went wrong."""
    error = f'"{done.problem.code}"' if done.problem else "null"
    text = f'"tries":{done.tries},"reused":{"true" if done.reused else "false"},"error":{error}'.encode("ascii")
    return text + b',"hint":"' + _escape_text(done.hint) + b'"' if done.hint else text


def _traced(traceparent: bytes) -> bytes:
    trace_id = trace_id_of(traceparent)
    return f',"trace_id":"{trace_id}"'.encode("ascii") if trace_id else b""


def _led(route: Route | None, *, looked_up: bool) -> bytes:
    """The members that say where the host led."""
    if route is None:
        return b'"level":null,"source":null,"resource":null,"slug":null,"tenant":null,"port":null'
    if looked_up or route.source == "stale":
        return _led_anew(route, looked_up=looked_up)
    if not route.line:
        route.line = _led_anew(route, looked_up=False)
    return route.line


def _led_anew(route: Route, *, looked_up: bool) -> bytes:
    source = resolution_source(route.source, looked_up=looked_up)
    port = "null" if route.port is None else str(route.port)
    resource = route.resource
    if resource is None:
        who = b'"resource":null,"slug":null,"tenant":null'
    else:
        identity, slug = _escape_text(resource.id), _escape_text(resource.slug)
        who = b'"resource":"%b","slug":"%b","tenant":"%b"' % (identity, slug, _escape_text(resource.tenant_id))
    level = f'"level":"{route.decision.level}","source":"{source}",'.encode("ascii")
    return level + who + f',"port":{port}'.encode("ascii")


def _escape_text(text: str) -> bytes:
    return _escape(text.encode("utf-8", "backslashreplace"))


def _escape(raw: bytes) -> bytes:
    """Any bytes as what may stand between the quotes of a JSON string, in printable ASCII; cut where long."""
    if len(raw) <= _MAX_FIELD and raw.translate(_PLAIN) == raw and not may_have_key(raw):
        return raw
    raw = mask_keys(raw)
    if len(raw) > _MAX_FIELD:
        raw = raw[:_MAX_FIELD] + _CUT
    text = json.dumps(raw.decode("utf-8", "backslashreplace"))[1:-1]
    return text.replace("\x7f", "\\u007f").encode("ascii")  # DEL is the one control character that JSON lets stand

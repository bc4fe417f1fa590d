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
    worker         number of the process, null where there is one only
    ua referer     User-Agent, and Referer without its query

Everything that a stranger chose is escaped to printable ASCII, so that no line can be forged and no terminal driven.
Bytes that need no escape are recognised by `translate`, which takes a fifth of a regular expression's time, and what
the lines of a batch have in common is built once per batch: a line costs about 3 µs.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from router.observe.finished import Finished
from router.observe.secrets import mask_keys, mask_query

_LINE = (
    b'{"ts":"%b%bZ","request_id":"%b","client":"%b",%b,"path":"%b","query":"%b","bytes_in":%d,"bytes_out":%d,'
    b'"duration_ms":%.3f,"first_byte_ms":%b,%b,"ua":"%b","referer":"%b"}\n'
)
_MILLISECONDS = tuple(b"%03d" % number for number in range(1000))
_LONGEST = 1024  # bytes of one field; the rest is cut, so that no visitor writes megabytes of log
_CUT = "…".encode()


class Lines(Protocol):
    """A form of the access line."""

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """The lines of a batch. `epoch` is the wall-clock time (seconds since 1970) of the monotonic instant 0."""


class JsonLines:
    """One JSON object per line."""

    def __init__(self, worker: int | None = None) -> None:
        self._worker = worker

    def render(self, batch: Sequence[Finished], epoch: float) -> bytes:
        """See `Lines`."""
        lines: list[bytes] = []
        add = lines.append
        # What lines share is kept for this batch only, so it needs no bound of its own.
        shared: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        agents: dict[bytes, bytes] = {}
        referers: dict[bytes, bytes] = {}
        clients: dict[str, bytes] = {}
        second, date = -1, b""
        for done in batch:
            started, ended, first_byte, route = done.started, done.ended, done.first_byte, done.route
            instant = ended + epoch
            whole = int(instant)
            if whole != second:
                second, date = whole, _date(whole).encode("ascii")
            key = (
                done.host,
                done.method,
                done.status,
                done.ending,
                id(route),  # the batch keeps the route alive, so its id is its own
                done.looked_up,
                done.backend,
                done.tries,
                done.reused,
                done.scheme,
                done.version,
                done.problem and done.problem.code,
            )
            parts = shared.get(key)
            if parts is None:
                parts = shared[key] = self._shared(done)
            client = clients.get(done.client)
            if client is None:
                client = clients[done.client] = _escape(_bytes(done.client))
            agent = agents.get(done.user_agent)
            if agent is None:
                agent = agents[done.user_agent] = _escape(done.user_agent)
            referer = referers.get(done.referer)
            if referer is None:
                referer = referers[done.referer] = _escape(done.referer.partition(b"?")[0])
            path, _, query = done.target.partition(b"?")
            request_id = done.request_id.encode("ascii", "backslashreplace")
            if query:
                query = mask_query(query)
            # Four fields in one look. The colon keeps a key from beginning in one and ending in the next.
            if not _stands_for_itself(b":".join((request_id, path, query))):
                request_id, path, query = _escape(request_id), _escape(path), _escape(query)
            add(
                _LINE
                % (
                    date,
                    _MILLISECONDS[int((instant - whole) * 1000)],
                    request_id,
                    client,
                    parts[0],
                    path,
                    query,
                    done.received,
                    done.sent,
                    (ended - started) * 1000,
                    b"%.3f" % ((first_byte - started) * 1000) if first_byte else b"null",
                    parts[1],
                    agent,
                    referer,
                )
            )
        return b"".join(lines)

    def _shared(self, done: Finished) -> tuple[bytes, bytes]:
        """The two runs of members that many exchanges have in common."""
        route, problem = done.route, done.problem
        resource = route.resource if route else None
        request = {"method": done.method, "scheme": done.scheme, "host": done.host}
        answer = {
            "http": f"1.{done.version}",
            "status": done.status,
            "ending": done.ending,
            "level": str(route.decision.level) if route else None,
            "source": resolution_source(route.source, looked_up=done.looked_up) if route else None,
            "resource": resource.id if resource else None,
            "slug": resource.slug if resource else None,
            "tenant": resource.tenant_id if resource else None,
            "port": route.port if route else None,
            "backend": done.backend or None,
            "tries": done.tries,
            "reused": done.reused,
            "error": problem.code if problem else None,
            "worker": self._worker,
        }
        return _members(request), _members(answer)


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
        url = _escape(done.host) + _escape(path) + (b"?" + _escape(mask_query(query)) if query else b"")
        words = [
            _date(int(instant))[11:].encode("ascii") + _MILLISECONDS[int(instant % 1 * 1000)],
            self._status(done.status),
            done.ending.encode("ascii"),
            _escape(done.method),
            url,
            b"%.1fms" % ((done.ended - done.started) * 1000),
            b"in=%d out=%d" % (done.received, done.sent),
        ]
        if done.backend:
            words.append(b"backend=" + _escape(_bytes(done.backend)))
        if done.problem is not None:
            words.append(b"error=" + done.problem.code.encode("ascii"))
        return b" ".join(words) + b"\n"

    def _status(self, status: int) -> bytes:
        text = b"%3d" % status if status else b"---"
        return b"\x1b[%dm%b\x1b[0m" % (_COLOURS.get(status // 100, 35), text) if self._colours else text


_COLOURS = {1: 36, 2: 32, 3: 36, 4: 33, 5: 31}  # by class of status; magenta is left for an exchange without an answer


def resolution_source(origin: str, *, looked_up: bool) -> str:
    """Where a route was known from: `process` unless it was looked up for this very exchange, or is a stale one."""
    return origin if looked_up or origin == "stale" else "process"


def _date(second: int) -> str:
    """`2026-05-17T10:00:00.`"""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def _members(values: Mapping[str, object]) -> bytes:
    """`"key":value,…` without the braces."""
    return b",".join(b'"%b":%b' % (key.encode("ascii"), _value(value)) for key, value in values.items())


def _value(value: object) -> bytes:
    if isinstance(value, str):
        value = _bytes(value)
    return b'"%b"' % _escape(value) if isinstance(value, bytes) else json.dumps(value).encode("ascii")


def _bytes(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")


def _stands_for_itself(raw: bytes) -> bool:
    """Whether nothing needs to be escaped, masked or cut."""
    if len(raw) > _LONGEST or not raw.isascii():
        return False
    text = raw.decode("ascii")
    return text.isprintable() and '"' not in text and "\\" not in text and "msk_" not in text


def _escape(raw: bytes) -> bytes:
    """Any bytes as what may stand between the quotes of a JSON string, in printable ASCII; cut where long."""
    if _stands_for_itself(raw):
        return raw
    if len(raw) > _LONGEST:
        raw = raw[:_LONGEST] + _CUT
    text = json.dumps(mask_keys(raw).decode("utf-8", "backslashreplace"))[1:-1]
    # DEL is the one control character that JSON lets stand.
    return text.replace("\x7f", "\\u007f").encode("ascii")

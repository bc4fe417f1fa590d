"""The access line of JSON against a twin that takes its time: each field by itself, nothing remembered, nothing asked of many at once."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from router import errors
from router.observe.access import JsonLines
from router.observe.ended_exchange import Finished
from router.observe.secrets import mask_keys, mask_query
from router.observe.trace_context import trace_id_of
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.ended import ended, route

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z
MAX_FIELD = 1024


def _field(raw: bytes) -> str:
    raw = mask_keys(raw)
    if len(raw) > MAX_FIELD:
        raw = raw[:MAX_FIELD] + "…".encode()
    return json.dumps(raw.decode("utf-8", "backslashreplace")).replace("\x7f", "\\u007f")


def _text(text: str) -> str:
    return _field(text.encode("utf-8", "backslashreplace"))


def _milliseconds(seconds: float) -> str:
    micros = int(seconds * 1e6 + 0.5)
    return f"{micros // 1000}.{micros % 1000:03d}"


def _led(done: Finished) -> dict[str, str]:
    led = done.route
    if led is None:
        return dict.fromkeys(("level", "source", "resource", "slug", "tenant", "port"), "null")
    source = led.source if done.looked_up or led.source == "stale" else "process"
    resource = led.resource
    return {
        "level": f'"{led.decision.level}"',
        "source": f'"{source}"',
        "resource": "null" if resource is None else _text(resource.id),
        "slug": "null" if resource is None else _text(resource.slug),
        "tenant": "null" if resource is None else _text(resource.tenant_id),
        "port": "null" if led.port is None else str(led.port),
    }


def twin(done: Finished) -> bytes:
    """The line of one exchange."""
    instant = done.ended + EPOCH
    date = datetime.fromtimestamp(int(instant), UTC)
    path, _, query = done.target.partition(b"?")
    members = {
        "ts": f'"{date:%Y-%m-%dT%H:%M:%S}.{int((instant - int(instant)) * 1000):03d}Z"',
        "request_id": _field(done.id),
        "client": _text(done.client),
        "method": _field(done.method),
        "scheme": f'"{done.scheme}"',
        "host": _field(done.host),
        "path": _field(path),
        "query": _field(mask_query(query)),
        "bytes_in": str(done.received),
        "bytes_out": str(done.sent),
        "duration_ms": _milliseconds(done.ended - done.started),
        "first_byte_ms": _milliseconds(done.first_byte - done.started) if done.first_byte else "null",
        "http": f'"{("1.0", "1.1", "2")[done.version]}"',
        "status": str(done.status),
        "ending": f'"{done.ending}"',
        **_led(done),
        "backend": _text(done.backend) if done.backend else "null",
        "tries": str(done.tries),
        "reused": "true" if done.reused else "false",
        "error": f'"{done.problem.code}"' if done.problem else "null",
    }
    if done.hint:
        members["hint"] = _text(done.hint)
    trace = trace_id_of(done.traceparent) if done.traceparent else ""
    if trace:
        members["trace_id"] = f'"{trace}"'
    members |= {"worker": "3", "ua": _field(done.user_agent), "referer": _field(done.referer.partition(b"?")[0])}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}\n").encode("ascii")


PIECES = st.sampled_from(
    [
        *(b"/", b"?", b"&", b";", b"=", b"_", b"m", b"mp", b"msk_", b"sk_", b"msk_live_abc", b"mpt_" + b"a" * 43),
        *(b"page", b"q=1", b"token=s3cret", b"code", b"%63ode=x", b"miosa_a=1", b"a" * 500, b"=" * 30),
        *(b" ", b'"', b"\\", b"\n", b"\r", b"\x00", b"\x1b[31m", b"\x7f", b"\xff", "é…".encode()),
    ]
)
TEXTS = st.lists(PIECES, max_size=7).map(b"".join) | st.binary(max_size=12)
QUIET = st.sampled_from([b"/", b"/index.html", b"/a?page=2&q=x", b"/a?v=17;w=1", b"/?x", b"/m_a?utm_source=mail"])
LONG = st.sampled_from([b"/" + b"a" * 1023, b"/" + b"a" * 1024, b"/?" + b"b" * 1024, b"/?" + b"b" * 1025])
ROUTES = [
    route("shop"),
    route("blog", source="stale"),
    route('we"ird'),
    Route("x.org", Decision(Level.NONE, "unknown_host"), keys=(), source="none", expires=0),
    None,
]
NUMBERS = st.sampled_from([0, 1, 9, 10, 99, 100, 999, 1000, 1001, 999_999, 1_000_000, 1_000_001, 12_345_678_901])
SECONDS = st.sampled_from(
    [0.0, 0.0000004, 0.0000005, 0.001, 0.0999996, 0.5, 0.9999999, 1.0, 59.9, 999.9999, 1000.0, 86_400.5]
)


@st.composite
def _exchanges(draw: st.DrawFn) -> Finished:
    """One like any other, with some fields that are not."""
    started = draw(SECONDS)
    done = ended(
        started=started,
        first_byte=draw(st.just(0.0) | SECONDS.map(lambda more: started + more)),
        ended=started + draw(SECONDS),
        target=draw(QUIET | QUIET | TEXTS | LONG),
        received=draw(NUMBERS),
        sent=draw(NUMBERS),
        route=draw(st.sampled_from(ROUTES)),
        looked_up=draw(st.booleans()),
        version=draw(st.sampled_from([0, 1, 2])),
        status=draw(st.sampled_from([0, 101, 200, 304, 404, 502])),
        ending=draw(st.sampled_from(["--", "CB", "BD"])),
        problem=draw(st.sampled_from([None, errors.PORT_CLOSED])),
        tries=draw(st.sampled_from([0, 1, 4])),
        reused=draw(st.booleans()),
    )
    for name in draw(st.sets(st.sampled_from(["id", "method", "host", "user_agent", "referer", "traceparent"]))):
        setattr(done, name, draw(TEXTS))
    if draw(st.booleans()):
        done.traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for name in draw(st.sets(st.sampled_from(["client", "backend", "hint"]))):
        setattr(done, name, draw(st.text(max_size=8)))
    done.scheme = draw(st.sampled_from(["http", "https"]))
    return done


@given(st.lists(st.lists(_exchanges(), max_size=20), max_size=3))
def test_lines_are_those_of_the_twin(batches: list[list[Finished]]) -> None:
    """To the byte, in whichever company a request ends, and whatever was remembered before."""
    lines = JsonLines(3)
    for batch in batches:
        assert lines.render(batch, EPOCH) == b"".join(map(twin, batch))

"""From packs of ended exchanges to spans and log records."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from router import errors
from router.http1.requests import RequestHead
from router.observe.ended_exchange import Finished
from router.proxy.client import ClientConnection
from router.proxy.exchange import Exchange
from router.records.packing import pack
from router.telemetry.spans import Made, SpanMaker
from tests.support.otlp import texts
from tests.support.request_records import ACME, SHOP, led
from tests.support.transcript import Stage

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EPOCH = 1_700_000_000.0


def of_proxy() -> Exchange:
    """An exchange whose request a trusted proxy sent."""
    incoming = ClientConnection(Stage().worker)
    incoming.trusted = True
    return Exchange(incoming.worker, incoming, RequestHead(b"GET", b"/", 1), 10.0)


def exchange(kind: Callable[[], Finished] = Finished, **changes: Any) -> Finished:
    """A GET of 250 ms, whose first byte came after 100, in the tenth second."""
    done = kind()
    fields = {
        "started": 10.0,
        "first_byte": 10.1,
        "ended": 10.25,
        "client": "203.0.113.9",
        "id": b"req-1",
        "method": b"GET",
    }
    fields |= {
        "target": b"/users/17?token=1",
        "host": b"shop.miosa.app",
        "status": 200,
        "sent": 9,
        "ending": "--",
        "route": led(),
    }
    for name, value in (fields | changes).items():
        setattr(done, name, value)
    return done


def traced(flags: str = "01", **changes: Any) -> dict[str, Any]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}".encode(), **changes}


def make(*exchanges: Finished, **options: Any) -> Made:
    defaults: dict[str, Any] = {"traces": True, "logs": False, "sample": 1.0, "honour_sampled": True, "per_second": 100}
    return SpanMaker(**defaults | options).make([pack(exchanges)], EPOCH)


def phases(spans: list[Any]) -> list[tuple[str, int, int]]:
    """Name, begin and end of each in milliseconds since the request began."""
    first = spans[0].start_time_unix_nano
    return [
        (one.name, round((one.start_time_unix_nano - first) / 1e6), round((one.end_time_unix_nano - first) / 1e6))
        for one in spans
    ]


def test_a_request_is_a_trace_of_its_phases() -> None:
    """One behind the other, inside the request's span; nothing of the query."""
    times = {"resolved_at": 10.01, "queued_at": 10.01, "admitted_at": 10.03, "dialled_at": 10.03, "connected_at": 10.06}
    spans = make(exchange(**times)).spans
    assert phases(spans) == [
        ("GET /users/:id", 0, 250),
        ("resolve", 0, 10),
        ("queue", 10, 30),
        ("dial", 30, 60),
        ("first byte", 60, 100),
        ("body", 100, 250),
    ]
    root, *inner = spans
    assert root.end_time_unix_nano == pytest.approx((EPOCH + 10.25) * 1e9, abs=1000)
    assert {one.parent_span_id for one in inner} == {root.span_id}
    assert {one.trace_id for one in spans} == {root.trace_id}
    assert len({one.span_id for one in spans}) == len(spans)
    assert (len(root.trace_id), len(root.span_id), root.parent_span_id) == (16, 8, b"")
    assert root.kind == Span.SPAN_KIND_SERVER
    assert texts(root.attributes) == {
        "http.request.method": "GET",
        "url.path": "/users/17",
        "server.address": "shop.miosa.app",
        "miosa.client_network": "203.0.113.0/24",
        "miosa.request_id": "req-1",
        "miosa.tenant_id": str(ACME),
        "miosa.resource_id": str(SHOP),
        "miosa.ending": "--",
        "http.response.status_code": "200",
        "http.request.body.size": "0",
        "http.response.body.size": "9",
        "miosa.duration_us": "250000",
    }


def test_what_failed_is_an_error() -> None:
    """With the code of our own answer, else the status; a wake and a tunnel have phases too."""
    (root, *_) = make(exchange(status=502, ending="BD", problem=errors.PORT_CLOSED, first_byte=0.0)).spans
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert texts(root.attributes)["error.type"] == "port_closed"
    (root, *_) = make(exchange(status=500)).spans
    assert texts(root.attributes)["error.type"] == "500"
    spans = make(exchange(tunnel=True, status=101, held_at=10.0, woken_at=10.05)).spans
    assert [name for name, *_ in phases(spans)] == ["GET /users/:id", "wake", "first byte", "tunnel"]
    assert texts(spans[0].attributes)["miosa.cold_start"] == "True"


def test_a_trusted_proxy_says_whether_it_is_traced() -> None:
    """Its sampled flag decides, both ways, and its span is the parent; else the share does."""
    (root, *_) = make(exchange(of_proxy, **traced("01")), sample=0.0).spans
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert make(exchange(of_proxy, **traced("00"))).spans == []
    assert make(exchange(of_proxy, **traced("01")), sample=0.0, honour_sampled=False).spans == []
    assert make(exchange(of_proxy, **traced("00")), honour_sampled=False).spans[0].trace_id.hex() == TRACE


def test_a_stranger_chooses_neither_trace_nor_sampling() -> None:
    """What it says is linked to."""
    assert make(exchange(**traced("01")), sample=0.0).spans == []
    (root, *_) = make(exchange(**traced("00"))).spans
    assert root.trace_id.hex() != TRACE
    assert root.parent_span_id == b""
    assert [(one.trace_id.hex(), one.span_id.hex()) for one in root.links] == [(TRACE, PARENT)]


def test_the_share_is_kept_to() -> None:
    """By the request's id, so that each node decides the same."""
    requests = [exchange(id=b"req-%d" % number) for number in range(2000)]
    made = make(*requests, sample=0.1, per_second=10_000)
    roots = [one for one in made.spans if one.kind == Span.SPAN_KIND_SERVER]
    assert 140 <= len(roots) <= 260
    assert made.sampled_out == 2000 - len(roots)
    assert [one.span_id for one in make(*requests, sample=0.1, per_second=10_000).spans] == [
        one.span_id for one in made.spans
    ]


def test_no_more_are_traced_than_may_be() -> None:
    """Per second; what comes on top is counted."""
    maker = SpanMaker(traces=True, logs=False, sample=1.0, honour_sampled=True, per_second=3)
    made = maker.make([pack([exchange() for _ in range(5)])], EPOCH)
    assert (sum(one.kind == Span.SPAN_KIND_SERVER for one in made.spans), made.dropped) == (3, 2)
    later = maker.make([pack([exchange(ended=11.5)])], EPOCH)
    assert (len(later.spans), later.dropped) == (3, 0)


def test_each_request_is_a_log_record() -> None:
    """Sampled or not; with its span where there is one."""
    found = make(exchange(of_proxy, **traced()), exchange(id=b"req-2", status=503, ending="EA"), sample=0.0, logs=True)
    first, second = found.logs
    assert (first.trace_id.hex(), first.span_id) == (TRACE, found.spans[0].span_id)
    assert first.body.string_value == "200 -- GET shop.miosa.app/users/17"
    assert (first.severity_text, second.severity_text) == ("INFO", "ERROR")
    assert second.span_id == b""
    assert texts(second.attributes)["miosa.request_id"] == "req-2"
    assert make(exchange(), traces=False, logs=True).spans == []


def test_what_is_no_pack_is_skipped() -> None:
    """The next one is read."""
    maker = SpanMaker(traces=True, logs=False, sample=1.0, honour_sampled=True, per_second=3)
    assert len(maker.make([b"no pack", pack([exchange()])], EPOCH).spans) == 3

"""From packs of request records to spans and log records of OTLP. It runs in a thread of its own; see `telemetry.py`.

A request is one trace: a span of kind SERVER with spans for its phases inside: `resolve`, `wake`, `queue`, `dial`, `first byte`,
`body`. A record says how long each phase took, so they stand one behind the other.

Which requests are traced (head sampling): those that a trusted proxy says it records, where it says anything; of all others
the share `sample`, chosen by the request's id. A stranger's trace is no parent: it is linked to, and cannot choose either.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_ERROR, SEVERITY_NUMBER_INFO, LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from router.observe.secrets import mask_keys
from router.observe.trace_context import TraceContext, unpack_trace
from router.records.packing import Packed, unpack
from router.records.reading import text_of
from router.records.record import COLD_START, TUNNEL, is_error, network_of
from router.records.route_patterns import route_of

_NANOSECONDS: Final = 1e9
_SPAN_SAMPLED: Final = 1  # trace flags of the W3C


class Made(NamedTuple):
    """What was made of packs, how many requests were not sampled, and how many more were to be traced than may be."""

    spans: list[Span]
    logs: list[LogRecord]
    sampled_out: int
    dropped: int


class SpanMaker:
    """Used by one thread at a time. `sample` is a share of 1, `per_second` how many requests are traced at most."""

    def __init__(self, *, traces: bool, logs: bool, sample: float, honour_sampled: bool, per_second: int) -> None:
        self._traces = traces
        self._logs = logs
        self._below = int(sample * 2**56)
        self._honour_sampled = honour_sampled
        self._per_second = per_second
        self._second = 0
        self._traced = 0

    def make(self, packs: Sequence[bytes], epoch: float) -> Made:
        """`epoch` is the wall-clock time (seconds since 1970) of the monotonic instant 0. What is no pack is skipped: the keeper of
        records counts and says it."""
        made = Made([], [], 0, 0)
        for pack in packs:
            try:
                found = unpack(pack)
            except ValueError:
                continue
            for packed in found:
                made = self._one(packed, epoch, made)
        return made

    def _one(self, packed: Packed, epoch: float, made: Made) -> Made:
        ended, request_id, parent = packed[0] + epoch, packed[13], unpack_trace(packed[20])
        own = blake2b(request_id, digest_size=24).digest()
        sampled = self._traces and self._is_sampled(own, parent)
        dropped = False
        if sampled:
            dropped = self._is_too_many(int(ended))
            sampled = not dropped
        if not sampled and not self._logs:
            return made._replace(sampled_out=made.sampled_out + (not dropped), dropped=made.dropped + dropped)
        follows = parent is not None and parent.believed
        trace_id = parent.trace_id if parent is not None and follows else own[:16]
        attributes = list(_attributes(packed))
        if sampled:
            made.spans.extend(_spans(packed, ended, trace_id, own[16:], parent, attributes))
        if self._logs:
            made.logs.append(_log(packed, ended, trace_id, own[16:] if sampled else b"", attributes))
        return made._replace(
            sampled_out=made.sampled_out + (not sampled and not dropped), dropped=made.dropped + dropped
        )

    def _is_sampled(self, own: bytes, parent: TraceContext | None) -> bool:
        if parent is not None and parent.believed and self._honour_sampled:
            return parent.sampled
        return int.from_bytes(own[9:16]) < self._below

    def _is_too_many(self, second: int) -> bool:
        if second != self._second:
            self._second, self._traced = second, 0
        self._traced += 1
        return self._traced > self._per_second


def _spans(
    packed: Packed,
    ended: float,
    trace_id: bytes,
    span_id: bytes,
    parent: TraceContext | None,
    attributes: list[KeyValue],
) -> Iterator[Span]:
    total, first_byte, status, ending = packed[1], packed[2], packed[8], packed[9].decode("ascii")
    started = ended - total
    root = Span(
        trace_id=trace_id,
        span_id=span_id,
        name=route_of(text_of(packed[14]), text_of(mask_keys(packed[15]))),
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=_nano(started),
        end_time_unix_nano=_nano(ended),
        attributes=attributes,
        flags=_SPAN_SAMPLED,
    )
    if parent is not None and parent.believed:
        root.parent_span_id = parent.parent_id
    elif parent is not None:
        root.links.append(Span.Link(trace_id=parent.trace_id, span_id=parent.parent_id))
    if is_error(ending, status):
        root.status.code = Status.STATUS_CODE_ERROR
    yield root
    for number, (name, begun, over) in enumerate(_phases(packed, started, ended, first_byte)):
        yield Span(
            trace_id=trace_id,
            span_id=blake2b(span_id, digest_size=8, salt=bytes([number])).digest(),
            parent_span_id=span_id,
            name=name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=_nano(begun),
            end_time_unix_nano=_nano(over),
            flags=_SPAN_SAMPLED,
        )


def _phases(packed: Packed, started: float, ended: float, first_byte: float) -> Iterator[tuple[str, float, float]]:
    at = started
    for name, seconds in (("resolve", packed[21]), ("wake", packed[5]), ("queue", packed[3]), ("dial", packed[4])):
        if seconds > 0:
            begun, at = at, min(ended, at + seconds)
            yield name, begun, at
    if first_byte >= 0:
        answered = max(at, started + first_byte)
        yield "first byte", at, answered
        yield "tunnel" if packed[10] & TUNNEL else "body", answered, max(answered, ended)


def _log(packed: Packed, ended: float, trace_id: bytes, span_id: bytes, attributes: list[KeyValue]) -> LogRecord:
    status, ending = packed[8], packed[9].decode("ascii")
    failed = is_error(ending, status)
    method, host, path = (text_of(mask_keys(raw)) for raw in (packed[14], packed[16], packed[15]))
    return LogRecord(
        time_unix_nano=_nano(ended),
        observed_time_unix_nano=_nano(ended),
        severity_number=SEVERITY_NUMBER_ERROR if failed else SEVERITY_NUMBER_INFO,
        severity_text="ERROR" if failed else "INFO",
        event_name="miosa.request",
        body=AnyValue(string_value=f"{status or '---'} {ending} {method} {host}{path}"),
        attributes=attributes,
        trace_id=trace_id,
        span_id=span_id,
        flags=_SPAN_SAMPLED if span_id else 0,
    )


def _attributes(packed: Packed) -> Iterator[KeyValue]:
    """By OpenTelemetry's semantic conventions for HTTP, and what is ours under `miosa.`."""
    total, status, ending, flags = packed[1], packed[8], packed[9].decode("ascii"), packed[10]
    texts = {
        "http.request.method": text_of(packed[14]),
        "url.path": text_of(mask_keys(packed[15])),
        "server.address": text_of(packed[16]),
        "miosa.client_network": network_of(packed[17]),
        "miosa.request_id": text_of(packed[13]),
        "miosa.tenant_id": packed[11].decode("ascii", "replace"),
        "miosa.resource_id": packed[12].decode("ascii", "replace"),
        "miosa.version_id": packed[19].decode("ascii", "replace"),
        "miosa.ending": ending,
        "error.type": packed[18].decode("ascii", "replace")
        or (str(status) if is_error(ending, status) and status else ""),
    }
    numbers = {
        "http.response.status_code": status,
        "http.request.body.size": packed[6],
        "http.response.body.size": packed[7],
        "miosa.duration_us": int(total * 1e6),
    }
    for name, text in texts.items():
        if text:
            yield KeyValue(key=name, value=AnyValue(string_value=text))
    for name, number in numbers.items():
        yield KeyValue(key=name, value=AnyValue(int_value=number))
    if flags & COLD_START:
        yield KeyValue(key="miosa.cold_start", value=AnyValue(bool_value=True))


def _nano(instant: float) -> int:
    return int(instant * _NANOSECONDS)

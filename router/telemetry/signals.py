"""Spans and log records as requests of OTLP (`opentelemetry-proto`, the protocol's own messages), and what is answered."""

import gzip
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from router.telemetry.exporter import Signal


def signals(*, service: str, version: str, instance: str) -> tuple[Signal[Span], Signal[LogRecord]]:
    """Those of a node, which are called so."""
    names = {"service.name": service, "service.version": version, "service.instance.id": instance}
    resource = Resource(
        attributes=[KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in names.items()]
    )
    scope = InstrumentationScope(name="miosa-router", version=version)

    def traces(spans: Sequence[Span]) -> bytes:
        inner = ScopeSpans(scope=scope, spans=spans)
        return _packed(
            ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[inner])])
        )

    def logs(records: Sequence[LogRecord]) -> bytes:
        inner = ScopeLogs(scope=scope, log_records=records)
        return _packed(ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[inner])]))

    return (
        Signal("spans", "/v1/traces", traces, _rejected_spans),
        Signal("logs", "/v1/logs", logs, _rejected_logs),
    )


def _packed(request: Any) -> bytes:
    return gzip.compress(request.SerializeToString(), compresslevel=1)


def _rejected_spans(body: bytes) -> tuple[int, str]:
    partial = _read(ExportTraceServiceResponse, body).partial_success
    return partial.rejected_spans, partial.error_message


def _rejected_logs(body: bytes) -> tuple[int, str]:
    partial = _read(ExportLogsServiceResponse, body).partial_success
    return partial.rejected_log_records, partial.error_message


def _read(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise ValueError("not a message of OTLP") from error

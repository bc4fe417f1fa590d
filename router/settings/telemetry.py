"""`telemetry.*`: traces and records of requests for an OpenTelemetry collector."""

from importlib.util import find_spec
from typing import Annotated

from router.settings.model import Field, SecretStr
from router.settings.types import Count, Group, HttpUrl, Seconds


def is_installed() -> bool:
    """Whether the extra's package is there."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


class Telemetry(Group):
    """Traces and records of requests to resources, by OTLP over HTTP: docs/tracing.md. Needs `pip install miosa-router[otel]` and
    `records.enabled`."""

    endpoint: HttpUrl | None = Field(
        None,
        description="Base URL of the collector, such as http://127.0.0.1:4318; `/v1/traces` and `/v1/logs` are added. None: off.",
    )
    authorization: SecretStr | None = Field(
        None, description="Value of the Authorization header of each request to it."
    )
    service_name: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        "miosa-router", description="How the collector's users know the router (`service.name`)."
    )
    traces: bool = Field(True, description="Whether spans are sent.")
    logs: bool = Field(False, description="Whether each request is sent as a log record, sampled or not.")
    sample: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="The share of requests that is traced, where no trusted proxy says whether it is."
    )
    honour_sampled: bool = Field(
        True, description="Whether the sampled flag of a `traceparent` counts that comes from one of `trusted_proxies`."
    )
    per_second: Count = Field(100, description="Requests that a node traces per second at most; more are dropped.")
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4096, description="Spans, and log records, that wait to be sent; more are dropped and counted."
    )
    send_time: Seconds = Field(10.0, description="Time for one request to the collector.")

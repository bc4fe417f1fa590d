"""What tells an OpenTelemetry collector of the requests of this process and of its workers."""

import importlib.metadata
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.base.clock import Clock
from router.observe.metrics import Metrics
from router.outbound.otlp import OtlpSender
from router.settings import Settings
from router.telemetry.signals import signals
from router.telemetry.telemetry import Telemetry


@asynccontextmanager
async def telling(endpoint: str, settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator[Telemetry]:
    """Send to the collector at `endpoint` while the block runs."""
    wanted = settings.telemetry
    named = signals(
        service=wanted.service_name,
        version=importlib.metadata.version("miosa-router"),
        instance=socket.gethostname(),
    )
    send = OtlpSender(endpoint, wanted.authorization, clock, wanted.send_time)
    telemetry = Telemetry(wanted, named, send, clock, metrics)
    try:
        yield telemetry
    finally:
        await telemetry.close()

"""What is sent to an OpenTelemetry collector, whatever that does with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from router.base.clock import SystemClock
from router.observe.metrics import Metrics
from router.outbound.otlp import OtlpSender
from router.records.packing import pack
from router.settings import SettingsError, Telemetry, load
from router.telemetry import exporter
from router.telemetry.signals import signals
from router.telemetry.telemetry import Telemetry as Telling
from tests.support.otlp import Collector
from tests.support.ports import free_port
from tests.support.request_records import exchange
from tests.support.waiting import eventually
from tests.unit.observe.test_recorder import value

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent at once, and tried again soon."""
    monkeypatch.setattr(exporter, "EVERY", 0.02)
    monkeypatch.setattr(exporter, "FIRST_PAUSE", 0.02)


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector.running() as started:
        yield started


class Sent:
    """What tells a collector, and its metrics."""

    def __init__(self, url: str, **settings: Any) -> None:
        wanted = Telemetry(endpoint=url, sample=1.0, per_second=100_000, **settings)
        self.metrics = Metrics()
        clock = SystemClock()
        send = OtlpSender(url, wanted.authorization, clock, wanted.send_time)
        named = signals(service=wanted.service_name, version="1", instance="node-a")
        self.telling = Telling(wanted, named, send, clock, self.metrics)

    def visit(self, number: int = 1) -> None:
        self.telling.take(pack([exchange() for _ in range(number)]))

    def items(self, kind: str, result: str) -> float:
        series = f'telemetry_items_total{{result="{result}",type="{kind}"}}'
        return value(self.metrics, series) if series in self.metrics.render("")[0].decode() else 0.0


async def test_spans_and_logs_arrive(collector: Collector) -> None:
    """In protobuf, gzipped, with the credentials and the node's name, each counted."""
    sent = Sent(collector.url, logs=True, authorization=SecretStr("Bearer s3cret"), service_name="edge")
    sent.visit(2)
    await collector.becomes(lambda: len(collector.logs) == 2 and len(collector.spans) == 6, "both signals")
    await eventually(lambda: sent.items("spans", "sent") == 6 and sent.items("logs", "sent") == 2, "they are counted")
    assert collector.resources[0] == {"service.name": "edge", "service.version": "1", "service.instance.id": "node-a"}
    assert {headers["Authorization"] for headers in collector.requests} == {"Bearer s3cret"}
    assert {headers["Content-Encoding"] for headers in collector.requests} == {"gzip"}
    await sent.telling.close()


async def test_a_collector_that_is_away_is_said_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that fits the queue is lost; what comes on top is dropped and counted, and taking it never waits."""
    sent = Sent(f"http://127.0.0.1:{free_port()}", queue=30)
    sent.visit(5)
    await eventually(lambda: sent.telling.away, "it is known to be away")
    sent.visit(20)
    await eventually(lambda: sent.items("spans", "dropped") == 75 - 30, "what is too much is dropped")
    assert value(sent.metrics, "telemetry_waiting") == 30
    assert capsys.readouterr().out.count("telemetry cannot be sent") == 1
    await sent.telling.close()
    assert sent.items("spans", "dropped") == 75
    assert sent.items("spans", "sent") == 0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_collector_in_trouble_gets_it_later(collector: Collector, status: int) -> None:
    """Once, when it is well again."""
    collector.status = status
    sent = Sent(collector.url)
    sent.visit()
    await eventually(lambda: len(collector.requests) >= 2, "it is tried again")
    assert sent.telling.away
    collector.status = 200
    await collector.becomes(lambda: len(collector.spans) == 3, "the spans")
    await eventually(lambda: not sent.telling.away, "it is said to be back")
    assert sent.items("spans", "sent") == 3
    await sent.telling.close()
    assert len(collector.spans) == 3


async def test_what_the_collector_refuses_is_not_sent_again(collector: Collector) -> None:
    """As a whole or in part; counted either way."""
    collector.status = 400
    sent = Sent(collector.url)
    sent.visit()
    await eventually(lambda: sent.items("spans", "refused") == 3, "all are refused")
    collector.status, collector.refuses = 200, 1
    sent.visit()
    await eventually(lambda: sent.items("spans", "refused") == 4, "one more is")
    assert sent.items("spans", "sent") == 2
    assert len(collector.requests) == 2
    await sent.telling.close()


async def test_a_collector_that_hangs_holds_nothing_up(collector: Collector) -> None:
    """A request to it has a deadline, and so has the end."""
    collector.hangs = True
    sent = Sent(collector.url, send_time=0.05)
    sent.visit()
    await eventually(lambda: sent.telling.away, "no answer counts as away")
    async with asyncio.timeout(10):
        await sent.telling.close()
    assert sent.items("spans", "dropped") == 3


async def test_it_is_off_unless_an_endpoint_is_set() -> None:
    """And needs the records that it is made of."""
    assert load(environ={}).telemetry.endpoint is None
    environ = {"MIOSA_ROUTER_TELEMETRY__ENDPOINT": "http://127.0.0.1:4318"}
    load(environ=environ).check_telemetry()
    with pytest.raises(SettingsError, match="needs records"):
        load(environ=environ | {"MIOSA_ROUTER_RECORDS__ENABLED": "false"})

"""What becomes of a batch that can't be sent by a fault of ours."""

from collections.abc import Callable, Sequence

import pytest

from router.observe.metrics import Metrics
from router.telemetry import exporter
from router.telemetry.exporter import Answer, Exporter, Signal
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


async def test_a_fault_of_ours_ends_no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """That batch is dropped and counted, and the next one is sent."""
    monkeypatch.setattr(exporter, "EVERY", 0.01)
    sent: list[bytes] = []

    def encode(items: Sequence[bytes]) -> bytes:
        if b"broken" in items:
            raise TypeError("a bug")
        return b"".join(items)

    async def send(_path: str, body: bytes) -> Answer:
        sent.append(body)
        return Answer(200)

    async def run(work: Callable[[], bytes]) -> bytes:
        return work()

    metrics = Metrics()
    signal: Signal[bytes] = Signal("spans", "/v1/traces", encode, lambda _: (0, ""))
    spans = Exporter(signal, send, limit=10, metrics=metrics, run_in_thread=run)
    spans.take([b"broken"])
    await eventually(lambda: len(spans) == 0, "the batch is given up")
    spans.take([b"whole"])
    await eventually(lambda: sent == [b"whole"], "the next one is sent")
    await spans.close()
    text = metrics.render("")[0].decode()
    assert 'telemetry_items_total{result="dropped",type="spans"} 1.0' in text

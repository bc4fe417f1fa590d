"""An OpenTelemetry collector for tests: takes OTLP over real HTTP, decodes it, and answers as it is told."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.waiting import eventually

_WITHIN = 20.0


class Collector:
    """`spans` and `logs` are what it has taken, `requests` the headers of all requests. `status` is what it answers; with `hangs`
    it never does; `refuses` is how many spans of each request it refuses."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.requests: list[Any] = []
        self.status = 200
        self.retry_after = ""
        self.hangs = False
        self.refuses = 0
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        found = cls()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/traces", found._traces)
        app.router.add_post("/v1/logs", found._logs)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield found
        finally:
            await runner.cleanup()

    async def becomes(self, condition: Callable[[], bool], why: str) -> None:
        """Wait until it is true. Fails naming `why`."""
        await eventually(condition, f"{why}: {len(self.spans)} spans, {len(self.logs)} logs", _WITHIN)

    async def _traces(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await self._body(request))
        if self.status == 200:
            for of in message.resource_spans:
                self.resources.append(texts(of.resource.attributes))
                self.spans += [span for scope in of.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse()
        if self.refuses:
            answer.partial_success.rejected_spans = self.refuses
            answer.partial_success.error_message = "too old"
        return self._answer(answer)

    async def _logs(self, request: web.Request) -> web.Response:
        message = ExportLogsServiceRequest.FromString(await self._body(request))
        if self.status == 200:
            self.logs += [one for of in message.resource_logs for scope in of.scope_logs for one in scope.log_records]
        return self._answer(ExportLogsServiceResponse())

    async def _body(self, request: web.Request) -> bytes:
        self.requests.append(request.headers)
        if self.hangs:
            await asyncio.Event().wait()
        assert request.headers["Content-Type"] == "application/x-protobuf"
        body = await request.read()
        return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body  # aiohttp's server may have done it

    def _answer(self, message: Any) -> web.Response:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return web.Response(
            status=self.status,
            body=message.SerializeToString(),
            content_type="application/x-protobuf",
            headers=headers,
        )


def texts(attributes: Any) -> dict[str, str]:
    """Attributes as texts."""
    return {one.key: str(getattr(one.value, one.value.WhichOneof("value"))) for one in attributes}

"""Real servers that handle one connection at a time, or a few, and hold each for as long as it is open."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from router.routes.records import Endpoint
from tests.support.edge import RunningEdge, until
from tests.support.records import resource
from tests.support.wire import End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OFFER = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
TIMES = {"backend_idle_unsaid": 30.0, "backend_idle_unproven": 0.1}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers["Upgrade"] is not None:
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.end_headers()
            self.rfile.read(1)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class _Threads(HTTPServer):
    """So many threads, each with one connection until that is closed; with one it is Python's HTTPServer."""

    request_queue_size = 64

    def __init__(self, threads: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._threads = ThreadPoolExecutor(threads)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._threads.submit(self._serve, request, client_address)

    def _serve(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            self.finish_request(request, client_address)
        self.shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        self._threads.shutdown(wait=False)  # each ends with its connection


@contextlib.contextmanager
def serve(threads: int, *edges: RunningEdge) -> Iterator[None]:
    """`shop` is such a server."""
    server = _Threads(threads)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        at = server.server_address[1]
        for edge in edges:
            edge.put(resource("shop", endpoint=Endpoint("127.0.0.1", "boot-1", {3000: at})))
        yield
    finally:
        for edge in edges:
            for pool in edge.pools():
                pool.retire()
        server.shutdown()
        serving.join()
        server.server_close()


async def crowd(edge: RunningEdge, count: int) -> list[End]:
    clients = [await edge.client() for _ in range(count)]
    for client in clients:
        await client.send(GET)
    return clients


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_all_at_once(build_edge: BuildEdge, threads: int) -> None:
    """A dozen requests go through; none waits until a kept connection has been idle for too long."""
    edge = await build_edge(**TIMES)
    with serve(threads, edge):
        for client in await crowd(edge, 12):
            assert (await client.read_response()).status == 200
        await edge.idle()
        for client in await crowd(edge, 12):
            assert (await client.read_response()).status == 200
        await edge.idle()


async def test_two_workers(build_edge: BuildEdge) -> None:
    """Each has connections of its own, and neither knows of the other's."""
    edges = [await build_edge(**TIMES) for _ in range(2)]
    with serve(1, *edges):
        for _ in range(2):
            clients = [client for edge in edges for client in await crowd(edge, 3)]
            for client in clients:
                assert (await client.read_response()).status == 200
                client.close()
        for edge in edges:
            await edge.settled()
            await until(lambda edge=edge: not edge.proxy._worker.backends)  # type: ignore[misc]


async def test_a_websocket_behind_a_kept_connection(build_edge: BuildEdge) -> None:
    """An offer to upgrade waits no longer than a request; and what comes behind a tunnel waits for that, as it must."""
    edge = await build_edge(**TIMES)
    with serve(1, edge):
        (client, waiting) = await crowd(edge, 2)
        socket = await edge.client()
        await client.read_response()
        await socket.send(OFFER)
        assert (await waiting.read_response()).status == 200
        assert (await socket.read_head()).status == 101
        (last,) = await crowd(edge, 1)
        await asyncio.sleep(0)
        socket.close()
        assert (await last.read_response()).status == 200


class _Once(_Handler):
    """A response, and then the connection is closed."""

    protocol_version = "HTTP/1.0"


@pytest.mark.parametrize("handler", [_Handler, _Once])
async def test_a_queue_of_one(build_edge: BuildEdge, handler: type[_Handler]) -> None:
    """`listen(1)`, one thread and forty requests at once: all are served, none is told that nobody takes connections."""
    edge = await build_edge(**TIMES)
    server = HTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
    server.request_queue_size = 1
    server.server_bind()
    server.server_activate()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        edge.put(resource("shop", endpoint=Endpoint("127.0.0.1", "boot-1", {3000: server.server_address[1]})))
        clients = await crowd(edge, 40)
        async with asyncio.timeout(60):
            while len(edge.finished) < 40:
                await asyncio.sleep(0.01)
        assert set(edge.endings) == {"--"}
        for client in clients:
            assert (await client.read_response()).status == 200
        await edge.idle()
    finally:
        for pool in edge.pools():
            pool.retire()
        await until(lambda: not edge.proxy._worker.backends)
        await asyncio.to_thread(server.shutdown)
        serving.join()
        server.server_close()

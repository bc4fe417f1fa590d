"""A gRPC service and its calls, of plain bytes: what a program behind the router and its clients do with real grpcio."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

LARGE = 64 * 1024 * 1024
_SIZES: list[tuple[str, Any]] = [("grpc.max_receive_message_length", LARGE), ("grpc.max_send_message_length", LARGE)]


async def _unary(request: bytes, context: Any) -> bytes:
    said = dict(context.invocation_metadata())
    await context.send_initial_metadata((("x-initial", said.get("x-ask", "")), ("x-initial-bin", b"\0\1\xff")))
    context.set_trailing_metadata((("x-trailing", "late"), ("x-trailing-bin", b"\xff\0")))
    return request[::-1]


async def _server_stream(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


async def _client_stream(requests: AsyncIterator[bytes], _context: Any) -> bytes:
    return b",".join([one async for one in requests])


async def _bidirectional(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for one in requests:
        yield one.upper()


async def _fails(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"not now: {request.decode()} \N{SNOWMAN} %\n")
    return b""


class GrpcServer:
    """Runs while it is entered, on a free port. `cancelled` is set when a call of `Hangs` is cancelled."""

    def __init__(self, **options: Any) -> None:
        self.cancelled = asyncio.Event()
        self.deadlines: list[float | None] = []
        self._options = options

    async def _hangs(self, _request: bytes, context: Any) -> bytes:
        self.deadlines.append(context.time_remaining())
        try:
            await asyncio.sleep(60)
        finally:
            self.cancelled.set()
        return b""

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[*_SIZES, *self._options.items()])
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(_unary),
            "Hangs": grpc.unary_unary_rpc_method_handler(self._hangs),
            "Fails": grpc.unary_unary_rpc_method_handler(_fails),
            "ServerStream": grpc.unary_stream_rpc_method_handler(_server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(_client_stream),
            "Bidirectional": grpc.stream_stream_rpc_method_handler(_bidirectional),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("pkg.Service", handlers)])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)


class GrpcClient:
    """Calls of that service, by one connection to Caddy for `host`."""

    def __init__(self, port: int, host: str, root: bytes) -> None:
        options = [("grpc.ssl_target_name_override", host), ("grpc.default_authority", host), *_SIZES]
        credentials = grpc.ssl_channel_credentials(root)
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()

    def unary(self, name: str = "Unary") -> Any:
        return self.channel.unary_unary(f"/pkg.Service/{name}")

    def server_stream(self) -> Any:
        return self.channel.unary_stream("/pkg.Service/ServerStream")

    def client_stream(self) -> Any:
        return self.channel.stream_unary("/pkg.Service/ClientStream")

    def bidirectional(self) -> Any:
        return self.channel.stream_stream("/pkg.Service/Bidirectional")

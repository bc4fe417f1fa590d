"""A reverse proxy as one writes it with aiohttp: `python -m bench.peers.aiohttp PORT STATIC LIVE LOG`

Server and client session on uvloop, one session with kept connections, bodies streamed both ways, WebSockets by
message, forwarding headers, a request id, and a JSON line per exchange through a buffered file. No trick, no flaw.
"""

import asyncio
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

from bench.peers import LIVE, Ground, Peer
from tests.support.processes import Process

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade")
)  # fmt: skip


class _Proxy:
    def __init__(self, static: int, live: int, log: TextIOWrapper) -> None:
        self._static = f"http://127.0.0.1:{static}"
        self._routes = {LIVE: f"http://127.0.0.1:{live}"}
        self._log = log
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=300),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        identity = uuid.uuid4().hex
        base = self._routes.get(request.host, self._static)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
        )
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = request.scheme
        headers["X-Forwarded-Host"] = request.host
        headers["X-Request-ID"] = identity
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, base)
        body = request.content if request.body_exists else None
        sent = 0
        async with self._session.request(
            request.method, base + request.raw_path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = CIMultiDict(
                (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
            )
            length = answer.content_length
            if length is not None and length <= 65536:  # small: whole, in one write
                content = await answer.read()
                sent = len(content)
                response: web.StreamResponse = web.Response(status=answer.status, headers=kept, body=content)
            else:
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    sent += len(piece)
                    await response.write(piece)
                await response.write_eof()
        line = {
            "ts": datetime.now(UTC).isoformat(),
            "request_id": identity,
            "client": request.remote,
            "method": request.method,
            "host": request.host,
            "path": request.raw_path,
            "bytes_out": sent,
            "duration_ms": round((time.monotonic() - began) * 1000, 3),
            "status": response.status,
            "backend": base,
            "ua": request.headers.get("User-Agent", ""),
        }
        self._log.write(json.dumps(line) + "\n")
        return response

    async def _websocket(self, request: web.Request, base: str) -> web.WebSocketResponse:
        async with self._session.ws_connect(base + request.raw_path, headers={"Host": request.host}) as backend:
            client = web.WebSocketResponse()
            await client.prepare(request)

            async def pump(source: aiohttp.ClientWebSocketResponse, sink: web.WebSocketResponse) -> None:
                async for message in source:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        await sink.send_bytes(message.data)
                    elif message.type is aiohttp.WSMsgType.TEXT:
                        await sink.send_str(message.data)
                await sink.close()

            back = asyncio.create_task(pump(backend, client))
            await pump(client, backend)
            back.cancel()
        return client


async def _serve(port: int, static: int, live: int, log: Path) -> None:
    with log.open("a", buffering=65536) as lines:
        proxy = _Proxy(static, live, lines)
        await proxy.open()
        server = web.Server(proxy.handle, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


def start(ground: Ground) -> Peer:
    """This module as a process."""
    words = [str(ground.port), str(ground.static), str(ground.live), str(ground.folder / "aiohttp-access.log")]
    process = Process([sys.executable, "-m", "bench.peers.aiohttp", *words], ground.folder / "aiohttp.log")
    return Peer(process, f"aiohttp {version('aiohttp')}")


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))

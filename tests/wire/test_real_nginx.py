"""A real nginx behind the edge: it must treat our requests as it would a visitor's own."""

import gzip
from pathlib import Path

import pytest

from router.routes.records import Endpoint
from tests.support.edge import RunningEdge
from tests.support.nginx import Nginx
from tests.support.records import resource

pytestmark = pytest.mark.asyncio

TEXT = b"A line that repeats itself.\n" * 2000


async def test_nginx_compresses_for_us(edge: RunningEdge, tmp_path: Path) -> None:
    """It does for visitors, and not for what it takes for a proxy: a request with `Via` (gzip_proxied, off by default)."""
    (tmp_path / "a.txt").write_bytes(TEXT)
    with Nginx(tmp_path) as nginx:
        edge.put(resource("shop", default_port=nginx.port, endpoint=Endpoint("127.0.0.1", "boot-1", {})))
        client = await edge.client()
        sizes = []
        for via in (b"", b"Via: 1.1 proxy.example\r\n"):
            await client.send(
                b"GET /a.txt HTTP/1.1\r\nHost: shop.miosa.app\r\nAccept-Encoding: gzip\r\n" + via + b"\r\n"
            )
            answer = await client.read_response()
            assert answer.status == 200
            unpacked = gzip.decompress(answer.body) if answer.get(b"content-encoding") == b"gzip" else answer.body
            assert unpacked == TEXT
            sizes.append(len(answer.body))
    assert sizes[0] < len(TEXT) // 50
    assert sizes[1] == len(
        TEXT
    )  # a visitor's own proxy is theirs to mind: it shows that nginx still makes that difference

"""Two nodes on one database, asked in turn: what works with them works with any number."""

import asyncio
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.support.database import migrated_file, rows
from tests.support.router import Router
from tests.support.waiting import eventually

_OF_THE_CONNECTION = ("Connection", "Content-Length", "Transfer-Encoding")


class Pair:
    """As a Router, with a node more: each request to `api_port` goes to the one that the last one did not go to.

    Visitors come through the first node, once it has heard of all that both were told. Without a `database_url` the two
    share an SQLite file.
    """

    def __init__(self, folder: Path, database_url: str | None = None, **settings: object) -> None:
        folders = [folder / name for name in ("first", "second")]
        for inner in folders:
            inner.mkdir()
        if database_url is None:
            migrated_file(folder / "router.db")
        self._database = database_url or f"sqlite:///{folder / 'router.db'}"
        shared: dict[str, object] = {"database_url": self._database, **settings}
        self.first = Router(folders[0], **shared)
        self.second = Router(folders[1], **shared, internal_token=self.first.token)
        self.second.token = self.first.token
        self.nodes = (self.first, self.second)
        self.proxy_port = self.first.proxy_port
        self.api_port = 0
        self._turns = cycle(self.nodes)
        self._runner = web.ServerRunner(web.Server(self._forward))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await asyncio.to_thread(node.__enter__)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.api_port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        for node in self.nodes:
            await asyncio.to_thread(node.__exit__, kind, error, trace)

    def tenant(self, name: str) -> str:
        return self.first.tenant(name)

    def key(self, tenant_id: str) -> str:
        return self.second.key(tenant_id)

    def internal(self, method: str, path: str, body: object = None) -> Any:
        return next(self._turns).internal(method, path, body)

    @property
    def output(self) -> str:
        return "".join(node.output for node in self.nodes)

    async def settled(self) -> None:
        """Both nodes have heard of every change."""
        ((committed,),) = await rows(self._database, "SELECT coalesce(max(id), 0) FROM outbox")
        told = max(committed, *self._heard())  # rows that both have heard of may be gone
        await eventually(lambda: min(self._heard()) >= told, "both nodes have heard of every change")

    def _heard(self) -> list[float]:
        return [_figure(node.get_admin("/metrics")[2].decode(), "miosa_router_outbox_position") for node in self.nodes]

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        node = next(self._turns)
        async with self._session.request(
            request.method,
            f"http://127.0.0.1:{node.api_port}{request.raw_path}",
            headers=_end_to_end(request.headers),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=await answer.read())


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    for name in _OF_THE_CONNECTION:
        kept.popall(name, None)
    return kept


def _figure(metrics: str, name: str) -> float:
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(f"{name} "))

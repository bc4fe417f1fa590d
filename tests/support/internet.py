"""The name servers of a small Internet: a root, one for all top-level domains, and two for every zone below."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from router.domains.lookup import RecordType
from tests.support.nameserver import NameServer

ROOT, TOP, FIRST, SECOND = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"


class Internet:
    """Loopback addresses stand for the world's, and all servers have one port, as all have port 53 there."""

    def __init__(self, *zones: str, ttl: int = 0) -> None:
        """Each zone is served by `first` and `second`, under the names `ns1` and `ns2` in it."""
        self.root = NameServer(address=ROOT, ttl=ttl)
        self.top = NameServer(address=TOP, ttl=ttl)
        self.first = NameServer(address=FIRST, ttl=ttl)
        self.second = NameServer(address=SECOND, ttl=ttl)
        self.root.serve("")
        tops = dict.fromkeys(zone.rpartition(".")[2] for zone in zones)
        self.top.serve(*tops)
        for top in tops:
            self.root.delegate(top, {f"ns.{top}": [TOP]})
            self.top.put(top, RecordType.NS, f"ns.{top}")
        for zone in zones:
            self.top.delegate(zone, {f"ns1.{zone}": [FIRST], f"ns2.{zone}": [SECOND]})
        for server in (self.first, self.second):
            server.serve(*zones)

    @property
    def servers(self) -> Sequence[NameServer]:
        """From the root down."""
        return self.root, self.top, self.first, self.second

    @property
    def options(self) -> dict[str, Any]:
        """How a DnsLookup gets here instead of to the real one."""
        return {
            "roots": [("root.test", [ROOT])],
            "allowed": lambda _: True,
            "port": self.root.port,
            "resolvers": [],
        }

    async def __aenter__(self) -> Self:
        while True:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self.root)
                try:
                    for server in self.servers[1:]:
                        server.port = self.root.port
                        await stack.enter_async_context(server)
                except OSError:  # somebody has that port on another address
                    self.root.port = 0
                    continue
                self._stack = stack.pop_all()
                return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

"""Where hosts lead, asked of a resolver as a proxy has one: with a cache that changes evict from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from router.base.clock import Clock
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Settings
from router.store import Store


class Routes:
    """Resolves hosts, and the hosts of URLs."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def of(self, url: str) -> Route:
        """The route of a host or a URL; whatever was cached and not evicted counts."""
        host = (urlsplit(url).netloc or url).encode()
        return self._resolver.peek(host) or await self._resolver.resolve(host)

    async def explain(self, host: bytes) -> Route:
        """As `Resolver.explain`."""
        return await self._resolver.explain(host)

    async def leads_to(self, url: str) -> str | tuple[str, int | None]:
        """The id and the port of the resource that answers there, or the code of the answer instead."""
        route = await self.of(url)
        if route.problem is not None:
            return route.problem.code
        assert route.resource is not None
        return route.resource.id, route.port


@asynccontextmanager
async def routes_of(store: Store, settings: Settings, clock: Clock) -> AsyncIterator[Routes]:
    """Routes on a store, which tells of its changes."""
    resolver = Resolver(
        store.records,
        platform_domain=settings.platform_domain,
        reserved_ports=settings.reserved_ports,
        limits=settings.cache,
        clock=clock,
    )
    store.after_commit(resolver.drop)
    try:
        yield Routes(resolver)
    finally:
        await resolver.close()

"""What the end-to-end tests share: one router and one Caddy in front of it, both as processes."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.caddy import Caddy
from tests.support.router import PLATFORM_DOMAIN, Router


@dataclass
class Edge:
    """The router and Caddy, and a tenant to register things for."""

    router: Router
    caddy: Caddy
    tenant_id: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def host(self, port: int, **fields: object) -> str:
        """A new host that leads to `port` of this machine; `fields` are further ones of the resource."""
        slug = f"app{next(self._numbers)}"
        self.router.register(self.tenant_id, slug, port, **fields)
        return f"{slug}.{PLATFORM_DOMAIN}"


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    with Router(folder) as router, Caddy(folder, proxy=router.proxy, ask=router.admin) as caddy:
        yield Edge(router, caddy, router.tenant("Acme"))

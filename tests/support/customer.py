"""A customer of a running router, with the official client in one of its forms, and the visitors of what it makes."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import miosa
import pytest
from miosa.resources.workspaces import AsyncWorkspaces, Workspaces

from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.nameserver import NameServer
from tests.support.pair import Pair
from tests.support.router import Router


class Customer:
    """A router with a name server, a tenant with a key, and the client in one of its forms."""

    def __init__(self, router: Router | Pair, dns: NameServer, form: type[miosa.Miosa | miosa.AsyncMiosa]) -> None:
        self.router = router
        self.dns = dns
        self.tenant_id = router.tenant("ClinicIQ")
        key = router.key(self.tenant_id)
        self.form = form
        self.client: Any = self.connect(key)
        of_workspaces = AsyncWorkspaces if form is miosa.AsyncMiosa else Workspaces
        # `client.workspaces` is a smaller class than the one that the client's package has beside it.
        self.workspaces: Any = of_workspaces(self.client._transport)
        self.called: set[str] = set()

    def connect(self, key: str) -> Any:
        return self.form(api_key=key, base_url=f"http://127.0.0.1:{self.router.api_port}/api/v1", max_retries=0)

    async def ask(self, method: Callable[..., Any], *words: Any, **options: Any) -> Any:
        """Call a method of the client; one that blocks, in a thread, as the name server runs in this one."""
        self.called.add(method.__qualname__.removeprefix("Async"))
        if inspect.iscoroutinefunction(method):
            return await method(*words, **options)
        return await asyncio.to_thread(method, *words, **options)

    async def refused(self, method: Callable[..., Any], *words: Any, **options: Any) -> miosa.MiosaError:
        """The error of a call that must fail."""
        with pytest.raises(miosa.MiosaError) as raised:
            await self.ask(method, *words, **options)
        return raised.value

    async def visit(self, url: str, path: str = "/") -> tuple[int, str]:
        """What a visitor gets: the status, and what the program says, the code of our page or where it sends to."""
        host = urlsplit(url).netloc or url
        await self.router.settled()
        async with Http1(self.router.proxy_port, host) as http:
            answer = await http.request("GET", path, "X-Forwarded-Proto: https")  # as Caddy says it
            said = (await answer.read_all()).decode()
            return answer.status, answer.header("x-miosa-error") or answer.header("location") or said

    def boot(self, machine_id: str, program: Backend, *ports: int) -> None:
        """Say what the platform says when a machine has started: each of `ports` is the program."""
        listens = {str(port): program.port for port in ports}
        body = {"address": "127.0.0.1", "generation": "1", "ports": listens}
        self.router.internal("PUT", f"/endpoints/{machine_id}", body)


@asynccontextmanager
async def program(name: str) -> AsyncIterator[Backend]:
    """A program that says its name to whoever comes."""

    async def say(visit: Visit) -> None:
        await visit.answer(name.encode())

    async with Backend(say) as started:
        yield started

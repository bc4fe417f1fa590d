"""One Redis, whatever its layout, as a few commands under a budget.

An operation that takes longer than its budget fails for its caller, and goes on in the background until the socket's
own time-out ends it: cancelled in the middle it would leave a connection with half an answer in it, and a Cluster's
client that is looking for its nodes would never come to the one that answers.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import structlog
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from router.base.breaker import Breaker
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.observe.metrics import Metrics
from router.settings import Redis as RedisSettings
from router.settings import SettingsError
from router.settings.redis_url import Layout, RedisAddress

T = TypeVar("T")
Word = str | bytes | int

_SCAN = 1000  # keys per piece

_log = structlog.get_logger("router.cache")


class CacheUnavailableError(Exception):
    """Redis did not answer in time, or the circuit breaker is open. No client sees this: the store is asked instead."""


class Script:
    """A Lua script, and the name by which a server knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Client:
    """Every operation raises CacheUnavailableError within `settings.operation_time`. Not thread-safe.

    Making one connects to nothing, and raises SettingsError for a file that is not there.
    """

    def __init__(self, address: RedisAddress, settings: RedisSettings, *, metrics: Metrics, clock: Clock) -> None:
        self.layout = address.layout
        self.error: str | None = None  # what went wrong last; None once something went right
        self._address = address
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._tasks = Tasks("redis")
        self._slots = asyncio.Semaphore(settings.connections)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._sentinel: Sentinel | None = None
        self._redis = self._connect()

    def breaker(self) -> Breaker:
        """A breaker for a part of this Redis that can fail without the others."""
        return Breaker(failures=self._settings.failures, pause=self._settings.pause, clock=self._clock)

    async def run(self, operation: str, breaker: Breaker, *command: Word) -> Any:
        """The answer to one command, sent to the node that has its key."""
        return await self._run(operation, breaker, partial(self._redis.execute_command, *command))

    async def script(self, operation: str, breaker: Breaker, script: Script, keys: Sequence[str], *values: Word) -> Any:
        """What the script answers. Its keys are in one slot."""
        return await self._run(operation, breaker, partial(self._evaluate, script, len(keys), *keys, *values))

    async def publish(self, breaker: Breaker, channel: str, message: bytes) -> None:
        """Send to all subscribers, on whichever node of a Cluster they are."""
        await self._run("publish", breaker, partial(self._publish, breaker, channel, message))

    async def scan(self, breaker: Breaker, pattern: str) -> AsyncIterator[list[bytes]]:
        """All keys that match, in pieces."""
        for node in await self._run("scan", breaker, self._primaries):
            cursor = 0
            while True:
                cursor, keys = await self._run("scan", breaker, partial(self._scan, node, cursor, pattern))
                if keys:
                    yield keys
                if cursor == 0:
                    break

    @asynccontextmanager
    async def subscription(self, channel: str) -> AsyncIterator[PubSub]:
        """A connection of its own that has subscribed. Raises RedisError and OSError, time-outs included."""
        redis = self._redis
        if isinstance(redis, RedisCluster):
            # Any node hears of what is published at any other; one that is dead is left by trying again.
            node = random.choice(await self._primaries())  # noqa: S311 - spreads load, hides nothing
            redis = Redis(host=node.host, port=int(node.port), **self._options(), **self._tls())
        pubsub = redis.pubsub()
        try:
            await pubsub.subscribe(channel)
            if await pubsub.get_message(timeout=self._settings.operation_time) is None:
                raise TimeoutError("no answer to a subscription")
            yield pubsub
        finally:
            try:
                await pubsub.aclose()  # type: ignore[no-untyped-call]
            finally:  # also where the subscriber is cancelled while it closes a subscription that was lost
                if redis is not self._redis:
                    await redis.aclose()

    async def close(self) -> None:
        """Let what is under way end, which it does by itself within the sockets' time-outs, and close every connection."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=4 * self._settings.operation_time)
        await self._tasks.close()
        await self._redis.aclose()
        if isinstance(
            self._redis, RedisCluster
        ):  # its own close leaves out the nodes where it was to look for them anew
            for nodes in ("nodes_cache", "startup_nodes"):
                await self._redis.nodes_manager.aclose(nodes)
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _run(self, operation: str, breaker: Breaker, work: Callable[[], Awaitable[T]]) -> T:
        if not breaker.admits():
            self._metrics.count("redis_operations", operation, "refused")
            raise CacheUnavailableError(f"circuit breaker open after failures: {self.error}")
        task = self._tasks.start(operation, self._outcome(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            done, _ = await asyncio.wait((task,), timeout=self._settings.operation_time)
        except asyncio.CancelledError:
            breaker.released()
            raise
        if not done:
            self._fail(operation, "timeout", breaker, f"no answer within {self._settings.operation_time:g} s")
        answer, error = task.result()
        if isinstance(error, ResponseError):  # Redis answered with an error
            breaker.succeeded()
            self._metrics.count("redis_operations", operation, "error")
            raise CacheUnavailableError(str(error)) from error
        if error is not None:
            self._fail(operation, "error", breaker, f"{type(error).__name__}: {error}")
        breaker.succeeded()
        self.error = None
        self._metrics.count("redis_operations", operation, "ok")
        return cast(T, answer)

    def _fail(self, operation: str, outcome: str, breaker: Breaker, error: str) -> NoReturn:
        closed = breaker.closed
        breaker.failed()
        self.error = error
        self._metrics.count("redis_operations", operation, outcome)
        if closed and not breaker.closed:
            _log.warning("circuit breaker open: Redis not used", error=error)
        raise CacheUnavailableError(error)

    async def _outcome(self, work: Callable[[], Awaitable[T]]) -> tuple[T | None, Exception | None]:
        """The answer or the error, as a value: the caller may have stopped waiting."""
        try:
            async with self._slots:
                return await work(), None
        except Exception as error:  # noqa: BLE001 - whatever error a client raises that lost its connection is an outage
            return None, error

    async def _evaluate(self, script: Script, *arguments: Word) -> Any:
        try:
            return await self._redis.execute_command("EVALSHA", script.digest, *arguments)
        except NoScriptError:
            return await self._redis.execute_command("EVAL", script.text, *arguments)

    async def _publish(self, breaker: Breaker, channel: str, message: bytes) -> None:
        if not isinstance(self._redis, RedisCluster):
            await self._redis.execute_command("PUBLISH", channel, message)  # type: ignore[no-untyped-call]
            return
        # All publish at one node, so that all hear everything in one order; at any other where that is away.
        nodes = await self._primaries()
        node = self._redis.get_node_from_key(channel) if breaker.closed else random.choice(nodes)  # noqa: S311
        await self._redis.execute_command("PUBLISH", channel, message, target_nodes=node or random.choice(nodes))  # noqa: S311

    async def _scan(self, node: Any, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
        where = self._redis if node is None else node
        cursor, keys = await where.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
        return int(cursor), keys

    async def _primaries(self) -> list[Any]:
        if not isinstance(self._redis, RedisCluster):
            return [None]
        await self._redis.initialize()
        return list(self._redis.get_primaries())

    def _connect(self) -> Redis | RedisCluster:
        address, options = self._address, self._options()
        if address.layout is Layout.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in address.nodes]
            return RedisCluster(
                startup_nodes=nodes,
                require_full_coverage=False,  # the part of a Cluster that is there is of use
                reinitialize_steps=0,  # a slot that moved is followed; starting anew would cut off everybody's commands
                max_connections=self._settings.connections,
                **options,
                **self._tls(),
            )
        options = {**options, "db": address.db}
        if address.layout is Layout.SENTINEL:
            password = self._settings.sentinel_password
            of_sentinels = {
                **self._options(),
                **self._tls(),
                "username": self._settings.sentinel_username,
                "password": password.get_secret_value() if password is not None else None,
            }
            self._sentinel = Sentinel(address.nodes, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
            master: Redis = self._sentinel.master_for(address.service or "", **options, **self._tls())
            return master
        if address.path is not None:
            return Redis(unix_socket_path=address.path, **options)
        ((host, port),) = address.nodes
        return Redis(host=host, port=port, **options, **self._tls())

    def _options(self) -> dict[str, Any]:
        """What every connection has."""
        return {
            "username": self._address.username,
            "password": self._address.password,
            "protocol": 3,
            "socket_timeout": self._settings.operation_time,
            "socket_connect_timeout": self._settings.operation_time,
            "retry": Retry(NoBackoff(), 0),  # the breaker decides, and the store answers meanwhile
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            "client_name": "miosa-router",
        }

    def _tls(self) -> dict[str, Any]:
        settings = self._settings
        if not self._address.tls:
            return {}
        options: dict[str, Any] = {"ssl": True, "ssl_check_hostname": settings.check_names}
        for option, key in (("ssl_ca_certs", "ca_file"), ("ssl_certfile", "cert_file"), ("ssl_keyfile", "key_file")):
            file: Path | None = getattr(settings, key)
            if file is not None:
                if not file.is_file():
                    raise SettingsError([(f"redis.{key}", f"{file} is no file")])
                options[option] = str(file)
        return options

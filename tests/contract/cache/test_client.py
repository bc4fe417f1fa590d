"""How Redis is reached, and what becomes of an operation when it can't be."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.base.clock import SystemClock
from router.cache.client import CacheUnavailableError, Client
from router.observe.metrics import Metrics
from router.settings import Redis, SettingsError
from router.settings.redis_url import parse_redis_url
from tests.support.ports import free_port
from tests.support.redis import Cluster, Sentinels, Server, tls_before
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def connected(url: str, limits: Redis, **changes: Any) -> AsyncIterator[tuple[Client, Metrics]]:
    metrics = Metrics()
    limits = limits.model_copy(update=changes)
    client = Client(parse_redis_url(url), limits, metrics=metrics, clock=SystemClock())
    yield client, metrics
    await client.close()


async def works(client: Client, limits: Redis) -> bool:
    """Whether it stores and reads."""
    key = f"{limits.prefix}works"
    await client.run("fill", client.breaker(), "SET", key, 1, "PX", 10_000)
    return await client.run("read", client.breaker(), "GET", key) == b"1"


def counted(metrics: Metrics) -> dict[tuple[str, ...], int]:
    return dict(metrics._counts["redis_operations"])


async def test_every_layout(url: str, limits: Redis) -> None:
    """One server, Sentinels, a Cluster; the last two with passwords."""
    async with connected(url, limits) as (client, metrics):
        assert await works(client, limits)
        assert counted(metrics) == {("fill", "ok"): 1, ("read", "ok"): 1}


async def test_resp3_and_a_name(server: Server, limits: Redis) -> None:
    """Whoever looks at the server's clients finds ours by name."""
    async with connected(server.url, limits) as (client, _):
        found = await client.run("read", client.breaker(), "CLIENT", "LIST")
        assert b"name=miosa-router " in found
        assert (await client.run("read", client.breaker(), "HELLO"))[b"proto"] == 3


@pytest.mark.realtime
async def test_a_password_and_a_database(folder: Path, short_limits: Redis) -> None:
    """The right ones work; without the password nothing does, and the reason is at hand."""
    with Server(folder, password="p@ss") as server:
        async with connected(f"redis://:p%40ss@127.0.0.1:{server.port}/3", short_limits) as (client, _):
            assert await works(client, short_limits)
        assert server.ask("DBSIZE") == 0
        for wrong in ("", ":wrong@", "nobody:p%40ss@"):
            async with connected(f"redis://{wrong}127.0.0.1:{server.port}", short_limits) as (client, _):
                with pytest.raises(CacheUnavailableError, match=r"(?i)auth|password"):
                    await works(client, short_limits)


@pytest.mark.realtime
async def test_a_unix_socket(folder: Path, short_limits: Redis, tmp_path: Path) -> None:
    """On the same machine."""
    with Server(folder, password="p", unixsocket=str(tmp_path / "r.sock")):
        async with connected(f"unix://:p@{tmp_path}/r.sock?db=1", short_limits) as (client, _):
            assert await works(client, short_limits)


async def test_tls(server: Server, limits: Redis, tmp_path: Path) -> None:
    """With the CA that signed the server's certificate; without it, or for another name, nothing is said to it."""
    async with tls_before(server, tmp_path) as (port, ca):
        async with connected(f"rediss://127.0.0.1:{port}", limits, ca_file=ca) as (client, _):
            assert await works(client, limits)
        for url, changes in (
            (f"rediss://127.0.0.1:{port}", {}),
            (f"rediss://localhost:{port}", {"ca_file": ca}),
            (f"redis://127.0.0.1:{port}", {}),
        ):
            async with connected(url, limits, **changes) as (client, _):
                with pytest.raises(CacheUnavailableError):
                    await works(client, limits)
        async with connected(f"rediss://localhost:{port}", limits, ca_file=ca, check_names=False) as (client, _):
            assert await works(client, limits)


@pytest.mark.parametrize("form", ["rediss+sentinel://127.0.0.1:{}/main", "rediss+cluster://127.0.0.1:{}"])
async def test_tls_towards_sentinels_and_clusters(server: Server, limits: Redis, tmp_path: Path, form: str) -> None:
    """The first word is said through TLS: the server behind it, which is neither, answers as itself."""
    async with (
        tls_before(server, tmp_path) as (port, ca),
        connected(form.format(port), limits, ca_file=ca) as (client, _),
    ):
        with pytest.raises(CacheUnavailableError, match=r"unknown command .SENTINEL|[Cc]luster"):
            await works(client, limits)


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
async def test_a_file_that_is_not_there_is_refused_by_name(limits: Redis, tmp_path: Path, key: str) -> None:
    """At the start, and only where TLS is wanted."""
    limits = limits.model_copy(update={key: tmp_path / "missing.pem"})
    with pytest.raises(SettingsError, match=rf"redis\.{key}: .*missing\.pem is no file"):
        Client(parse_redis_url("rediss://cache"), limits, metrics=Metrics(), clock=SystemClock())
    async with connected("redis://cache", limits):
        pass


async def test_operations_at_once_are_bounded(server: Server, limits: Redis) -> None:
    """A burst waits for its turn on a few connections."""
    async with connected(server.url, limits, connections=3) as (client, _):
        breaker = client.breaker()
        await asyncio.gather(*(client.run("read", breaker, "GET", f"x{number}") for number in range(100)))
        mine = await client.run("read", breaker, "CLIENT", "GETNAME")
        assert mine == b"miosa-router"
        assert len(client._redis.connection_pool._available_connections) <= 3


async def test_an_operation_after_the_end_is_refused(server: Server, limits: Redis) -> None:
    """It never begins: nothing of it is left for the garbage collector to warn about."""
    async with connected(server.url, limits) as (client, _):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await client.publish(client.breaker(), f"{limits.prefix}changes", b"{}")
    gc.collect()


async def test_the_sentinels_password_is_their_own(sentinels: Sentinels, limits: Redis) -> None:
    """Without it they don't say where the master is."""
    async with connected(sentinels.url, limits, sentinel_password=None) as (client, _):
        with pytest.raises(CacheUnavailableError):
            await works(client, limits)


async def test_some_nodes_are_enough(sentinels: Sentinels, cluster: Cluster, limits: Redis) -> None:
    """The address may name servers that are not there."""
    nobody = free_port()
    for url, known in ((sentinels.url, sentinels.sentinels[0].port), (cluster.url, cluster.nodes[0].port)):
        async with connected(url.replace(str(known), str(nobody)), limits) as (client, _):
            assert await works(client, limits)


async def test_nobody_there(limits: Redis) -> None:
    """Each kind of address fails at once, with a reason, and a breaker opens."""
    port = free_port()
    for url in (
        f"redis://127.0.0.1:{port}",
        "unix:///nowhere/redis.sock",
        f"redis+sentinel://127.0.0.1:{port}/main",
        f"redis+cluster://127.0.0.1:{port}",
    ):
        async with connected(url, limits, pause=60.0) as (client, metrics):
            breaker = client.breaker()
            for _ in range(limits.failures):
                with pytest.raises(CacheUnavailableError):
                    await client.run("read", breaker, "GET", "x")
            assert not breaker.closed
            with pytest.raises(CacheUnavailableError, match="circuit breaker open after failures"):
                await client.run("read", breaker, "GET", "x")
            assert counted(metrics) == {("read", "error"): limits.failures, ("read", "refused"): 1}


@pytest.mark.realtime
async def test_a_frozen_server_costs_its_budget_and_no_more(folder: Path, short_limits: Redis) -> None:
    """Until the breaker opens; once it goes on, one try finds out."""
    with Server(folder) as server:
        async with connected(server.url, short_limits) as (client, _):
            breaker = client.breaker()
            assert await works(client, short_limits)
            server.freeze()
            for _ in range(short_limits.failures):
                started = time.monotonic()
                with pytest.raises(CacheUnavailableError, match=r"no answer within 0\.25 s|Timeout"):
                    await client.run("read", breaker, "GET", "x")
                assert 0.2 < time.monotonic() - started < 1
            started = time.monotonic()
            with pytest.raises(CacheUnavailableError, match="circuit breaker open"):
                await client.run("read", breaker, "GET", "x")
            assert time.monotonic() - started < 0.2
            server.thaw()
            await eventually(breaker.admits, "the pause is over")
            breaker.released()
            assert await client.run("read", breaker, "GET", "x") is None
            assert breaker.closed
            assert client.error is None


@pytest.mark.realtime
async def test_an_answer_that_comes_too_late_disturbs_nobody(folder: Path, short_limits: Redis) -> None:
    """Each later operation gets its own answer, not the one that an earlier one gave up on."""
    with Server(folder) as server:
        async with connected(server.url, short_limits, failures=1000) as (client, _):
            breaker = client.breaker()
            for number in range(40):
                await client.run("fill", breaker, "SET", f"k{number}", number)
            server.freeze()
            lost = [asyncio.create_task(client.run("read", breaker, "GET", "k7")) for _ in range(20)]
            await asyncio.wait(lost)
            assert all(isinstance(task.exception(), CacheUnavailableError) for task in lost)
            server.thaw()
            await eventually(lambda: server.ask("PING"), "it answers")
            found = await asyncio.gather(*(client.run("read", breaker, "GET", f"k{number}") for number in range(40)))
            assert found == [b"%d" % number for number in range(40)]


@pytest.mark.realtime
async def test_whoever_goes_away_leaves_the_breaker_as_it_was(folder: Path, short_limits: Redis) -> None:
    """A look-up that is cancelled is no failure of Redis's."""
    with Server(folder) as server:
        async with connected(server.url, short_limits) as (client, metrics):
            breaker = client.breaker()
            server.freeze()
            for _ in range(2 * short_limits.failures):
                task = asyncio.create_task(client.run("read", breaker, "GET", "x"))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert breaker.closed
            server.thaw()
            assert counted(metrics) == {}


async def test_a_no_is_an_answer(server: Server, limits: Redis) -> None:
    """A server that refuses a command is there; the next command is asked."""
    async with connected(server.url, limits) as (client, metrics):
        breaker = client.breaker()
        for _ in range(2 * limits.failures):
            with pytest.raises(CacheUnavailableError, match="unknown command"):
                await client.run("read", breaker, "NONSENSE")
        assert breaker.closed
        assert counted(metrics) == {("read", "error"): 2 * limits.failures}


async def test_a_subscription_hears_what_is_published(url: str, limits: Redis) -> None:
    """Whichever node either talks to."""
    channel = f"{limits.prefix}bus"
    async with (
        connected(url, limits) as (client, _),
        connected(url, limits) as (other, _),
        client.subscription(channel) as pubsub,
    ):
        await other.publish(other.breaker(), channel, b"hello")
        heard = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
        assert heard is not None
        assert heard["data"] == b"hello"


@pytest.mark.realtime
async def test_a_part_of_a_cluster_is_of_use(folder: Path, short_limits: Redis) -> None:
    """While one node is away, the slots of the others answer."""
    with Cluster(folder) as cluster:
        async with connected(cluster.url, short_limits) as (client, _):
            keys = [f"{{{number}}}" for number in range(30)]

            async def answered() -> list[bool]:
                return [await answers(client, key) for key in keys]

            deadline = time.monotonic() + 10
            while not all(await answered()):  # the first one learns the slots, in a quarter of a second or not
                assert time.monotonic() < deadline, "the whole Cluster answers"
            cluster.nodes[1].stop()
            deadline = time.monotonic() + 10
            while not 10 <= (found := sum(await answered())) < 30:
                assert time.monotonic() < deadline, found
            cluster.nodes[1].start()
            while not all(await answered()):
                assert time.monotonic() < deadline + 10, "the whole Cluster answers again"


async def answers(client: Client, key: str) -> bool:
    try:
        await client.run("read", client.breaker(), "GET", key)
    except CacheUnavailableError:
        return False
    return True

"""Faults that nobody meant: of ours, of the machine's. They end one connection, never the worker."""

import asyncio
import contextlib
import os
import resource as rlimits
import socket
from collections.abc import Iterator

import pytest

from tests.support.edge import RunningEdge, open_files, until
from tests.support.records import resource
from tests.support.wire import End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OFFER = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def works(edge: RunningEdge) -> None:
    """Another visitor is served as if nothing had happened."""
    backend = edge.backend("other")
    client = await edge.client()
    await client.send(GET.replace(b"shop", b"other"))
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"


async def test_a_bug_behind_a_look_up_ends_one_exchange(edge: RunningEdge) -> None:
    """It is logged with its name, its visitor sees a reset, its room is given back, and the rest goes on."""
    edge.expected_errors.add("task failed")
    backend = edge.backend("shop")
    edge.point("shop", backend, host_modes={backend.port: "\ud800"})  # nothing that registration lets through
    client = await edge.client()
    await client.send(GET)
    with pytest.raises(Ended):
        await client.read_response()
    await edge.settled()
    assert edge.endings == ["EA"]
    await works(edge)


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    """The process has as many files open as it may."""
    taken = [os.dup(0)]
    soft, hard = rlimits.getrlimit(rlimits.RLIMIT_NOFILE)
    rlimits.setrlimit(rlimits.RLIMIT_NOFILE, (taken[0] + 200, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for file in taken:
            os.close(file)
        rlimits.setrlimit(rlimits.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_files_passes(edge: RunningEdge) -> None:
    """While there is no file for another socket nobody gets in and nothing is dialled; afterwards all is as before."""
    edge.expected_errors = {"out of file descriptors or ports"}
    edge.backend("shop")
    client, waiting = await edge.client(), await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 2)
    late = socket.socket()
    late.setblocking(False)
    with no_files_left():
        await client.send(GET)
        answer = await client.read_response()
        assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"overloaded")
        with contextlib.suppress(BlockingIOError):
            late.connect(edge.address)
        await edge.turns(50)
        await waiting.send(GET.replace(b"shop", b"nobody"))
        assert (await waiting.read_response()).status == 404
    with End(late):
        await works(edge)
    edge.faults.clear()  # uvloop tells that it could not accept


class Pestering:
    """Sends the same request again and again, as much as is taken."""

    def __init__(self, client: End, request: bytes) -> None:
        self.sent = 0
        self._client = client
        self._request = request

    def some(self) -> int:
        at = self.sent % len(self._request)
        took = self._client.send_some(self._request[at:] + self._request * 5000)
        self.sent += took
        return took

    async def finish(self) -> int:
        """Send the rest of the last request; how many there were."""
        await self._client.send(self._request[len(self._request) - (-self.sent % len(self._request)) :])
        return -(-self.sent // len(self._request))


async def test_a_client_that_takes_no_answers_of_ours_is_held_back(edge: RunningEdge) -> None:
    """Its requests wait for it to read, within bounds; then it is given up."""
    client = await edge.client(receive_buffer=4096)
    pestering = Pestering(client, GET.replace(b"shop", b"nobody"))
    await until(lambda: not pestering.some() and edge.held() > 0)
    await edge.turns(100)
    assert edge.held() <= edge.limits.buffer + 512 * 1024
    answered = len(edge.finished)
    await edge.turns(100)
    assert len(edge.finished) == answered
    edge.advance(edge.limits.body_idle + 1)
    await until(lambda: not edge.proxy._worker.clients)


async def test_a_client_that_takes_its_answers_late_gets_all_of_them(edge: RunningEdge) -> None:
    """Where it stopped, it goes on."""
    client = await edge.client(receive_buffer=4096)
    pestering = Pestering(client, GET.replace(b"shop", b"nobody"))
    await until(lambda: bool(pestering.some()) and edge.held() > 0)
    last = asyncio.create_task(pestering.finish(), name="test: sender")
    client.sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20
    )  # the rest need not go through so small a buffer
    answers = 0
    while not last.done() or answers < last.result():
        assert (await client.read_response()).status == 404
        answers += 1


@pytest.mark.parametrize("stuck", ["client", "backend"])
async def test_a_tunnel_that_ends_does_not_wait_for_a_side_that_does_not_read(edge: RunningEdge, stuck: str) -> None:
    """What it could not deliver in time is dropped: no socket is kept for ever."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER)
    end, _ = await backend.answer(SWITCH)
    await client.read_head()
    fast = end if stuck == "client" else client
    await until(lambda: not fast.send_some(b"x" * 65536) and edge.held_by_tunnels() > 0)
    files = open_files()
    edge.advance(edge.limits.tunnel_idle + 1)
    await until(lambda: not edge.proxy._worker.tunnels)
    edge.advance(edge.limits.body_idle + 1)
    await until(lambda: open_files() <= files - 2, open_files)


async def test_a_dial_under_way_ends_with_its_client(build_edge: BuildEdge) -> None:
    """A backend that does not answer the kernel either leaves nothing behind when the visitor goes."""
    edge = await build_edge(dial=30.0)
    backend = edge.backend("shop", listening=False)
    backend.listen_full()
    files = open_files()
    client = await edge.client()
    await client.send(GET)
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    await edge.turns()
    client.reset()
    await edge.settled()
    await until(lambda: open_files() == files)
    assert edge.endings == ["CD"]


async def test_an_address_that_cannot_be_reached_is_502(edge: RunningEdge) -> None:
    """Whatever the kernel has against it, it is not tried again."""
    edge.put(resource("shop", default_port=0))
    client = await edge.client()
    await client.send(GET)
    assert (await client.read_response()).status == 502


async def test_nothing_is_left_open(edge: RunningEdge) -> None:
    """After a day's work there are as many open files as before it."""
    backend = edge.backend("shop")
    files = open_files()
    for number in range(40):
        client = await edge.client()
        await client.send(OFFER if number % 4 == 0 else GET)
        end = await backend.accept()
        await end.read_request()
        if number % 4 == 0:
            await end.send(SWITCH)
            await client.read_head()
        elif number % 4 == 1:
            await end.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            await client.read_response()
        elif number % 4 == 2:
            await end.send(b"nonsense\r\n\r\n")
            await client.read_response()
        if number % 8 < 4:
            client.reset()
        else:
            client.close()
            await edge.turns()
            edge.advance(edge.limits.half_close + 1)
        await end.read_until_gone()
        end.close()
        await edge.settled()
    assert open_files() == files

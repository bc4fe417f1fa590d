"""Connections to backends: kept, used again, given up, never shared, and dialled only where it is allowed."""

import asyncio
import ipaddress

import pytest
import pytest_asyncio

from router.routes.records import Endpoint, State
from tests.support.edge import RunningEdge, until
from tests.support.records import resource
from tests.support.wire import Backend, End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(host: str = "shop.miosa.app", target: str = "/", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def serve(client: End, end: End, request: bytes, answer: bytes = OK) -> None:
    """One request over this client's and this backend's connection."""
    await client.send(request)
    await end.read_request()
    await end.send(answer)
    assert (await client.read_response(request.partition(b" ")[0])).status == 200


async def warm(edge: RunningEdge, answer: bytes = OK) -> tuple[Backend, End, End]:
    """A backend that has served one request: it, its connection, and the client's."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(get())
    end, _ = await backend.answer(answer)
    await client.read_response()
    await edge.idle()
    return backend, client, end


# Used again.


async def test_a_connection_is_used_again(edge: RunningEdge) -> None:
    """One request after the other, from any client, goes over the connection that is there."""
    backend, client, end = await warm(edge)
    await serve(client, end, get())
    await serve(await edge.client(), end, get(method="HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    await serve(client, end, b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: 2\r\n\r\nhi")
    assert not backend.has_visitor()
    assert [exchange.reused for exchange in edge.finished] == [False, True, True, True]


async def test_the_connection_given_back_last_is_taken_first(edge: RunningEdge) -> None:
    """It is the one that the backend is least likely to have given up."""
    backend = edge.backend("shop")
    clients, ends = [], []
    for _ in range(3):
        clients.append(await edge.client())
        await clients[-1].send(get())
        ends.append(await backend.accept())
        await ends[-1].read_request()
    for place in (1, 0, 2):
        await ends[place].send(OK)
        await clients[place].read_response()
    assert edge.kept() == 3
    await clients[0].send(get(target="/a"))
    assert (await ends[2].read_request()).target == b"/a"
    await clients[1].send(get(target="/b"))
    assert (await ends[0].read_request()).target == b"/b"
    for place in (2, 0):
        await ends[place].send(OK)
    await edge.idle()


async def test_a_connection_is_never_shared_between_resources(edge: RunningEdge) -> None:
    """Not even where both listen at the same address: what one leaves there is soon another's."""
    backend, client, end = await warm(edge)
    edge.point("blog", backend)
    await client.send(get("blog.miosa.app"))
    other, _ = await backend.answer(OK)
    await client.read_response()
    await serve(client, end, get("shop.miosa.app"))
    await serve(client, other, get("blog.miosa.app"))
    assert edge.kept() == 2


async def test_a_connection_is_never_shared_between_ports(edge: RunningEdge) -> None:
    """Each public port has its own, whatever it is mapped to."""
    backend = edge.backend("shop")
    edge.point("shop", backend, default_port=3000, exposed_ports=None, ports={3000: backend.port, 5173: backend.port})
    client = await edge.client()
    for host in ("shop.miosa.app", "5173-shop.sandbox.miosa.app"):
        await client.send(get(host))
        await backend.answer(OK)
        await client.read_response()
    assert len(backend.ends) == 2
    await serve(client, backend.ends[0], get("3000-shop.sandbox.miosa.app"))
    assert not backend.has_visitor()


async def test_a_new_generation_closes_what_is_kept(edge: RunningEdge) -> None:
    """After a boot everything that was connected before it belongs to the past."""
    backend, client, end = await warm(edge)
    edge.point("shop", backend, generation="boot-2")
    await client.send(get())
    fresh, _ = await backend.answer(OK)
    await client.read_response()
    assert await end.read_until_close() == b""
    await serve(client, fresh, get())
    assert edge.kept() == 1


async def test_a_new_generation_closes_the_pools_of_all_ports(edge: RunningEdge) -> None:
    """Not only that of the port that is asked for next."""
    backend = edge.backend("shop")
    ports = {3000: backend.port, 5173: backend.port}
    edge.point("shop", backend, default_port=3000, exposed_ports=None, ports=ports)
    client = await edge.client()
    for host in ("shop.miosa.app", "5173-shop.sandbox.miosa.app"):
        await client.send(get(host))
        await backend.answer(OK)
        await client.read_response()
    edge.point("shop", backend, generation="boot-2", default_port=3000, exposed_ports=None, ports=ports)
    await client.send(get())
    await backend.answer(OK)
    await client.read_response()
    for old in backend.ends[:2]:
        assert await old.read_until_close() == b""
    assert edge.kept() == 1


async def test_a_connection_that_is_busy_across_a_boot_is_not_kept(edge: RunningEdge) -> None:
    """Its answer is passed on, and then it is closed."""
    backend, client, end = await warm(edge)
    await client.send(get())
    await end.read_request()
    edge.point("shop", backend, generation="boot-2")
    other = await edge.client()
    await other.send(get())
    await backend.answer(OK)
    await other.read_response()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    await end.read_until_gone()
    assert edge.kept() == 1


async def test_a_new_address_closes_what_is_kept(edge: RunningEdge) -> None:
    """A resource that moved is dialled where it is now."""
    backend, moved = edge.backend("shop"), edge.backend("shop", address="127.0.0.3")
    client = await edge.client()
    for place in (backend, moved):
        edge.point("shop", place, default_port=3000, ports={3000: place.port})
        await client.send(get())
        await place.answer(OK)
        await client.read_response()
    assert await backend.ends[0].read_until_close() == b""
    assert edge.kept() == 1


async def test_an_ipv6_backend(edge: RunningEdge) -> None:
    """Endpoints may have either kind of address."""
    backend = edge.backend("shop", address="::1")
    client = await edge.client()
    await client.send(get())
    end, _ = await backend.answer(OK)
    await client.read_response()
    await serve(client, end, get())


# Given up.


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nconnection: Keep-Alive, CLOSE\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_backend_that_does_not_keep_alive_is_believed(edge: RunningEdge, answer: bytes) -> None:
    """Its connection is closed after the answer; the client's goes on."""
    backend, client, end = await warm(edge, answer)
    assert await end.read_until_close() == b""
    await client.send(get())
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"


async def test_an_http_1_0_backend_may_keep_alive(edge: RunningEdge) -> None:
    """When it says so."""
    _, client, end = await warm(edge, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    await serve(client, end, get())


@pytest.mark.parametrize(
    "said", [b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", b"HTTP/1.1 408 Timeout\r\n\r\n"]
)
async def test_a_backend_that_speaks_unasked_is_hung_up_on(edge: RunningEdge, said: bytes) -> None:
    """What it says on an idle connection is nobody's answer."""
    backend, client, end = await warm(edge)
    await end.send(said)
    await end.read_until_gone()
    await until(lambda: edge.kept() == 0)
    await client.send(get())
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"


async def test_a_backend_that_closes_an_idle_connection_is_dialled_again(edge: RunningEdge) -> None:
    """It is noticed at once, and costs the next request nothing but the dial."""
    backend, client, end = await warm(edge)
    end.close()
    await until(lambda: edge.kept() == 0)
    await client.send(get())
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.finished[-1].tries == 1


async def test_what_a_backend_has_given_up_counts_no_more(edge: RunningEdge) -> None:
    """The metric says what is there: nothing, and never less than that."""
    _, _, end = await warm(edge)
    assert edge.proxy._backend_connections() == {"idle": 1, "busy": 0}
    end.close()
    await until(lambda: not edge.proxy._worker.backends)
    assert edge.proxy._backend_connections() == {"idle": 0, "busy": 0}


async def test_idle_connections_are_closed_in_time(build_edge: BuildEdge) -> None:
    """After `backend_idle` the backend has its socket back."""
    edge = await build_edge(backend_idle=0.05)
    _, _, end = await warm(edge)
    assert await end.read_until_close() == b""
    assert edge.kept() == 0


# Retries.


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_stale_connection_is_retried(edge: RunningEdge, method: str, way: str) -> None:
    """A kept connection that dies before the first byte of an answer: an idempotent request goes over a new one."""
    backend, client, end = await warm(edge)
    await client.send(get(method=method, target="/again"))
    await end.read_request()
    getattr(end, way)()
    _, request = await backend.answer(OK[:-2] if method == "HEAD" else OK)
    assert (request.method, request.target) == (method.encode(), b"/again")
    assert (await client.read_response(method.encode())).status == 200
    assert (edge.endings[-1], edge.finished[-1].tries) == ("--", 2)


NOT_RETRIED = [
    ("POST", b"", b""),
    ("PATCH", b"", b""),
    ("POST", b"Content-Length: 2\r\n", b"hi"),
    ("PUT", b"Content-Length: 2\r\n", b"hi"),
    ("GET", b"Transfer-Encoding: chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
    ("GET", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
]


@pytest.mark.parametrize(("method", "lines", "body"), NOT_RETRIED)
async def test_what_may_have_been_acted_on_is_not_retried(
    edge: RunningEdge, method: str, lines: bytes, body: bytes
) -> None:
    """A body, or a method that is not idempotent: the backend may have done it, so the client is told."""
    backend, client, end = await warm(edge)
    await client.send(f"{method} / HTTP/1.1\r\nHost: shop.miosa.app\r\n".encode() + lines + b"\r\n" + body)
    await end.read_request()
    end.close()
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
    await edge.idle()
    assert not backend.has_visitor()
    assert (edge.endings[-1], edge.finished[-1].tries) == ("BH", 1)


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_an_answer_that_has_begun_is_not_retried(edge: RunningEdge, first: bytes) -> None:
    """One byte says that the request arrived."""
    backend, client, end = await warm(edge)
    await client.send(get())
    await end.read_request()
    await end.send(first)
    if b"103" in first:
        assert (await client.read_head()).status == 103
    else:
        await edge.turns()
    end.close()
    assert (await client.read_response()).status == 502
    await edge.idle()
    assert not backend.has_visitor()


async def test_a_fresh_connection_is_not_retried(edge: RunningEdge) -> None:
    """A backend that takes the request and closes has said its answer."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(get())
    end = await backend.accept()
    await end.read_request()
    end.close()
    assert (await client.read_response()).status == 502
    await edge.idle()
    assert not backend.has_visitor()


async def test_a_retry_is_not_retried(edge: RunningEdge) -> None:
    """Nor is a second kept connection tried: if one is stale, all may be."""
    backend = edge.backend("shop")
    clients = [await edge.client() for _ in range(3)]
    for client in clients:
        await client.send(get())
        await (await backend.accept()).read_request()
    for client, end in zip(clients, backend.ends, strict=True):
        await end.send(OK)
        await client.read_response()
    assert edge.kept() == 3
    await clients[0].send(get())
    await backend.ends[2].read_request()
    backend.ends[2].close()
    fresh = await backend.accept()
    await fresh.read_request()
    fresh.close()
    assert (await clients[0].read_response()).status == 502
    assert edge.kept() == 2
    await serve(clients[0], backend.ends[1], get())


async def test_a_refused_dial_is_tried_again(edge: RunningEdge) -> None:
    """A dev server that restarts is back within the second; the body that came meanwhile is not lost."""
    backend = edge.backend("shop", listening=False)
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: 5\r\n\r\nhe")
    await until(lambda: "D" in {client.exchange.phase for client in edge.proxy._worker.clients if client.exchange})
    await client.send(b"ll")
    await edge.turns()
    backend.listen()
    end = await backend.accept()
    await end.read_head()
    await client.send(b"o")
    assert await end.read_exactly(5) == b"hello"
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.finished[0].tries >= 2


@pytest.mark.realtime
async def test_a_port_that_stays_closed_is_502(edge: RunningEdge) -> None:
    """Four tries within a second, and then the page that says what to do; the client's connection goes on."""
    backend = edge.backend("shop", listening=False)
    client = await edge.client()
    started = asyncio.get_running_loop().time()
    await client.send(get())
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"port_closed")
    assert asyncio.get_running_loop().time() - started < 1.5
    assert (edge.endings, edge.finished[0].tries) == (["BD"], 4)
    backend.listen()
    await client.send(get())
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"


async def test_a_dial_without_an_answer_is_504(build_edge: BuildEdge) -> None:
    """After `dial` seconds, without another try: the time is spent."""
    edge = await build_edge(dial=0.1)
    backend = edge.backend("shop", listening=False)
    backend.listen_full()
    client = await edge.client()
    await client.send(get())
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (504, b"backend_timeout")
    assert (edge.endings, edge.finished[0].tries) == (["bD"], 1)


@pytest.mark.parametrize("state", ["moved", "stopped", "port"])
async def test_a_dial_ends_when_its_resource_moves(build_edge: BuildEdge, state: str) -> None:
    """The address that a resource has left is soon another's: no dial goes on to it, and what waited goes where it is now."""
    edge = await build_edge(dial=60)
    backend = edge.backend("shop", listening=False)
    backend.listen_full()
    client = await edge.client()
    await client.send(get())
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    other = Backend()
    if state == "stopped":
        edge.point("shop", backend, state=State.STOPPED, endpoint=None)
        assert (await client.read_response()).get(b"x-miosa-error") == b"stopped"
    else:
        if state == "moved":
            edge.point("shop", other, "boot-2")
        else:
            edge.point("shop", other, default_port=3000, ports={3000: other.port})
        await other.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await client.read_response()).body == b"ok"
    await until(lambda: not any("dial" in what for what in edge.busy()), edge.busy)
    assert len(edge.finished) == 1
    other.close()


@pytest.mark.parametrize(
    ("lines", "left"),
    [(b"", None), (b"Max-Forwards: 3\r\n", b"2"), (b"Max-Forwards: 1\r\n", b"0")],
)
async def test_who_is_admitted_again_has_come_one_hop(build_edge: BuildEdge, lines: bytes, left: bytes | None) -> None:
    """However often a request's resource moves before it gets there, `Max-Forwards` is counted down once."""
    edge = await build_edge(dial=60)
    edge.backend("shop", listening=False).listen_full()
    client = await edge.client()
    await client.send(b"OPTIONS / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + lines + b"\r\n")
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    other = Backend()
    edge.point("shop", other, "boot-2")
    _, request = await other.answer(OK)
    assert request.get(b"max-forwards") == left
    assert (await client.read_response()).status == 200
    other.close()


async def test_an_offer_to_upgrade_moves_with_its_resource(build_edge: BuildEdge) -> None:
    """A WebSocket that waits for a connection goes where its resource is now, and holds one tunnel's place."""
    edge = await build_edge(dial=60, tunnels_per_resource=1)
    edge.backend("shop", listening=False).listen_full()
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    other = Backend()
    edge.point("shop", other, "boot-2")
    end, request = await other.answer(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert request.get(b"upgrade") == b"websocket"
    assert (await client.read_head()).status == 101
    await client.send(b"ping")
    assert await end.read_until(b"ping") == b"ping"
    (activity,) = edge.proxy._worker.activities.values()
    assert (activity.exchanges, activity.tunnels) == (0, 1)
    client.close()
    end.close()
    await edge.settled()
    assert (activity.exchanges, activity.tunnels) == (0, 0)
    other.close()


async def test_many_at_once_have_a_connection_each(edge: RunningEdge) -> None:
    """And all of them are kept."""
    backend = edge.backend("shop")
    clients = [await edge.client() for _ in range(30)]
    for client in clients:
        await client.send(get())
    ends = [await backend.accept() for _ in clients]
    for end in ends:
        await end.read_request()
        await end.send(OK)
    for client in clients:
        assert (await client.read_response()).body == b"ok"
    assert edge.kept() == 30


# Where we do not go.

FORBIDDEN = [
    "10.9.9.9",
    "169.254.169.254",
    "169.254.1.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:10.9.9.9",
    "64:ff9b::7f00:1",
]


async def refused(edge: RunningEdge) -> None:
    edge.expected_errors.add("endpoint not dialled")
    client = await edge.client()
    await client.send(get())
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"port_closed")
    assert (edge.endings, edge.finished[0].tries) == (["ED"], 0)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_an_address_outside_the_backend_networks_is_not_dialled(edge: RunningEdge, address: str) -> None:
    """Also when it got past the registration."""
    edge.put(resource("shop", endpoint=Endpoint(address, "boot-1")))
    await refused(edge)


@pytest_asyncio.fixture
async def open_edge(build_edge: BuildEdge) -> RunningEdge:
    """An edge whose operator allowed everything."""
    everything = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))
    return await build_edge(backend_networks=everything)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", *FORBIDDEN[1:9]])
async def test_even_everything_does_not_mean_this_machine(open_edge: RunningEdge, address: str) -> None:
    """Loopback, link-local and metadata addresses are opened by no wide network."""
    open_edge.put(resource("shop", endpoint=Endpoint(address, "boot-1")))
    await refused(open_edge)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_our_own_listeners_are_not_dialled(edge: RunningEdge, address: str) -> None:
    """A resource that points back at us would be asked for ever."""
    edge.put(resource("shop", default_port=edge.address[1], endpoint=Endpoint(address, "boot-1")))
    await refused(edge)


async def test_a_mapped_port_is_judged_as_what_is_dialled(edge: RunningEdge) -> None:
    """The public number doesn't matter."""
    edge.put(resource("shop", endpoint=Endpoint("127.0.0.1", "boot-1", {3000: edge.address[1]})))
    await refused(edge)

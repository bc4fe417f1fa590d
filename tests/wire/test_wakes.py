"""Requests for a resource that sleeps wake it, wait for it, and go through as if nothing had been."""

import asyncio
import json
import time
from typing import Any

import pytest

from router.errors import WAKE_PAYMENT_REQUIRED, StoreUnavailableError
from router.routes.policies import AccessSecret
from router.routes.records import State
from router.routes.wakes import Wake, WakeState
from router.wake.waker import Reason
from tests.support.access import plain, policies, secret
from tests.support.edge import FRONT, until
from tests.support.http2_peer import Http2Peer
from tests.support.records import name, resource
from tests.support.sleeper import FakeWaker, Sleeper
from tests.support.wire import End, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAVIGATION = "Sec-Fetch-Mode: navigate\r\n"
MIB = 1024 * 1024


def get(target: str = "/", lines: str = "", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: shop.miosa.app\r\n{lines}\r\n".encode()


WATCH = get("/.well-known/miosa/wake", "Accept: text/event-stream\r\n")


async def asleep(build_edge: BuildEdge, **options: Any) -> Sleeper:
    """A proxy, and a resource that sleeps behind it."""
    own = {name: options.pop(name) for name in ("listening", "wake", "policies") if name in options}
    waker = FakeWaker()
    return Sleeper(await build_edge(waker=waker, **options), waker, **own)


async def waits(sleeper: Sleeper, request: bytes, count: int = 1) -> End:
    """A client whose request is held; `count` are then."""
    client = await sleeper.edge.client()
    await client.send(request)
    await until(lambda: sleeper.held == count, lambda: sleeper.held)
    return client


def cold(answer: Message) -> bool:
    """Whether the answer says that it waited."""
    timing = answer.all(b"server-timing")[:1]
    assert all(value.startswith(b"wake;dur=") and value[9:].isdigit() for value in timing)
    assert bool(timing) is (answer.get(b"x-miosa-cold-start") == b"1")
    return bool(timing)


async def events(client: End, count: int) -> list[dict[str, Any]]:
    """The next events of a page's stream."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        lines = (await client.read_chunk()).splitlines()
        found += [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    return found


async def test_a_request_wakes_it_and_goes_through(build_edge: BuildEdge) -> None:
    """It is asked for once; nobody hears anything until the port accepts, and then the answer says how long it took."""
    sleeper = await asleep(build_edge, listening=False)
    client = await waits(sleeper, get("/a"))
    await until(lambda: sleeper.waker.asked == [("id-of-shop", sleeper.backend.port, Reason.HTTP)])
    sleeper.says(WakeState.STARTING)
    sleeper.becomes(State.STARTING)
    sleeper.becomes(State.RUNNING)
    await asyncio.sleep(0.2)  # time in which an answer could come: that none does can't be waited for otherwise
    assert (client.arrived(), sleeper.held) == (b"", 1)
    sleeper.backend.listen()
    async with sleeper.backend.serving(OK) as seen:
        answer = await client.read_response()
        assert (answer.status, answer.body, cold(answer)) == (200, b"ok", True)
        await client.send(get("/b"))
        assert not cold(await client.read_response())
    assert [one.target for one in seen] == [b"/a", b"/b"]
    assert (sleeper.held, sleeper.results, sleeper.edge.endings) == (0, {"served": 1}, ["--", "--"])
    assert len(sleeper.waker.asked) == 1


async def test_a_body_is_not_read_until_then(build_edge: BuildEdge) -> None:
    """Of 1 MiB we hold what came with the head, and no more; it arrives whole."""
    sleeper = await asleep(build_edge)
    body = bytes(range(256)) * (MIB // 256)
    client = await sleeper.edge.client()
    head = get("/upload", f"Content-Length: {MIB}\r\n", "POST")
    sending = asyncio.create_task(client.send(head + body), name="test: send")
    await until(lambda: sleeper.held == 1)
    await sleeper.edge.turns(200)
    assert sleeper.edge.held() <= 64 * 1024
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        assert (await client.read_response()).status == 200
        await sending
    assert seen[-1].body == body


async def test_its_own_server_timing_stays_beside_ours(build_edge: BuildEdge) -> None:
    """Both are there, ours first."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK.replace(b"\r\n\r\n", b"\r\nServer-Timing: db;dur=5\r\n\r\n")):
        answer = await client.read_response()
    assert answer.all(b"server-timing")[1:] == [b"db;dur=5"]
    assert cold(answer)


async def test_a_websocket_waits_too(build_edge: BuildEdge) -> None:
    """The platform hears that it is one."""
    sleeper = await asleep(build_edge)
    offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    client = await waits(sleeper, get(lines=offer))
    await until(lambda: [reason for _, _, reason in sleeper.waker.asked] == [Reason.WEBSOCKET])
    sleeper.becomes(State.RUNNING)
    await sleeper.backend.accept()  # to see whether the port is open; it is closed at once
    end, request = await sleeper.backend.request()
    assert request.get(b"upgrade") == b"websocket"
    await end.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    answer = await client.read_head()
    assert (answer.status, cold(answer), await client.read_exactly(2)) == (101, True, b"hi")


@pytest.mark.parametrize(
    "lines",
    ["Range: bytes=0-1\r\n", 'If-None-Match: "a"\r\n', "Sec-Fetch-Mode: cors\r\n", "Accept: text/event-stream\r\n"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_what_goes_through_is_what_came(build_edge: BuildEdge, method: str, lines: str) -> None:
    """Whatever it asks for."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get("/x?y", lines, method))
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(b"HTTP/1.1 204 No Content\r\n\r\n") as seen:
        assert (await client.read_response()).status == 204
    assert (seen[-1].method, seen[-1].target) == (method.encode(), b"/x?y")
    assert lines.encode() in seen[-1].raw_head


async def test_who_waits_too_long_gets_503(build_edge: BuildEdge) -> None:
    """After `wake.hold`, with Retry-After; the connection goes on."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.edge.advance(9)
    assert sleeper.held == 1
    sleeper.edge.advance(2)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"starting", b"3")
    assert (sleeper.edge.endings, sleeper.results) == (["bW"], {"timed_out": 1})
    await client.send(get())
    await until(lambda: sleeper.held == 1)
    assert len(sleeper.waker.asked) == 1


async def test_people_get_a_page_sooner(build_edge: BuildEdge) -> None:
    """After `wake.page_after`, never with a 2xx; its script watches."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get(lines=NAVIGATION))
    sleeper.says(WakeState.QUEUED, place=3)
    await sleeper.edge.turns(100)
    sleeper.edge.advance(3.1)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"starting", b"3")
    assert b"number 3 in line" in answer.body
    assert b"/.well-known/miosa/wake" in answer.body
    assert answer.get(b"refresh") is None  # the script does better


async def test_a_form_is_not_sent_on(build_edge: BuildEdge) -> None:
    """What people have sent waits as everything does, and then the page says that it went nowhere."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get("/order", NAVIGATION + "Content-Length: 3\r\n", "POST") + b"a=b")
    sleeper.edge.advance(3.1)
    answer = await client.read_response()
    assert answer.status == 503
    assert b"was not sent on" in answer.body
    assert b"http-equiv" not in answer.body


async def test_a_page_watches(build_edge: BuildEdge) -> None:
    """Real states, as they come, and the stream ends when there is something to load."""
    sleeper = await asleep(build_edge, listening=False)
    await waits(sleeper, get())
    page = await waits(sleeper, WATCH, 2)
    head = await page.read_head()
    assert (head.status, head.get(b"content-type"), head.get(b"cache-control")) == (
        200,
        b"text/event-stream",
        b"no-store",
    )
    assert [one["stage"] for one in await events(page, 1)] == ["asked"]
    sleeper.says(WakeState.QUEUED, place=2)
    (queued,) = await events(page, 1)
    assert (queued["stage"], "2 in line" in queued["text"]) == ("queued", True)
    sleeper.says(WakeState.STARTING)
    assert [one["stage"] for one in await events(page, 1)] == ["starting"]
    sleeper.becomes(State.RUNNING)
    assert [one["stage"] for one in await events(page, 1)] == ["running"]
    sleeper.backend.listen()
    async with sleeper.backend.serving(OK):
        assert [one["stage"] for one in await events(page, 1)] == ["open"]
        while await page.read_chunk():
            pass
        assert await page.read_exactly(2) == b"\r\n"
        await page.send(get())  # the connection goes on
        assert (await page.read_response()).body == b"ok"
    assert len(sleeper.waker.asked) == 1


async def test_a_page_watches_in_vain(build_edge: BuildEdge) -> None:
    """What nobody has had woken within the budget did not wake up, and the page says so. Others that come are not told so."""
    sleeper = await asleep(build_edge)
    page = await waits(sleeper, WATCH)
    await page.read_head()
    await events(page, 1)
    sleeper.edge.clock.shift += 61
    sleeper.says(WakeState.QUEUED, place=1)
    assert [one["stage"] for one in await events(page, 1)] == ["failed"]
    await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)


async def test_a_page_alone_wakes_nobody(build_edge: BuildEdge) -> None:
    """It watches what others have asked for."""
    sleeper = await asleep(build_edge)
    page = await waits(sleeper, WATCH)
    await page.read_head()
    assert [one["stage"] for one in await events(page, 1)] == ["asked"]
    await sleeper.edge.turns(100)
    assert sleeper.waker.asked == []


@pytest.mark.parametrize(
    ("record", "status", "code"),
    [
        ({"state": WakeState.REFUSED, "code": 402}, 402, b"wake_payment_required"),
        ({"state": WakeState.REFUSED, "code": 403}, 403, b"wake_refused"),
        ({"state": WakeState.REFUSED, "code": 409}, 503, b"wake_not_possible"),
        ({"state": WakeState.REFUSED}, 403, b"wake_refused"),
        ({"state": WakeState.FAILED, "code": 500}, 503, b"wake_failed"),
        ({"state": WakeState.FAILED}, 503, b"wake_failed"),
    ],
)
async def test_it_cannot_be_woken(build_edge: BuildEdge, record: dict[str, Any], status: int, code: bytes) -> None:
    """All that wait hear why at once, and so do those that come in the next moment; later ones have it asked again."""
    sleeper = await asleep(build_edge)
    clients = [
        await waits(sleeper, request, number + 1) for number, request in enumerate((get(), get(lines=NAVIGATION)))
    ]
    page = await waits(sleeper, WATCH, 3)
    await page.read_head()
    sleeper.says(**record)
    for client in clients:
        answer = await client.read_response()
        assert (answer.status, answer.get(b"x-miosa-error")) == (status, code)
    *_, last = await events(page, 2)
    assert (last["stage"], last["code"]) == ("failed", code.decode())
    await clients[0].send(get())
    assert (await clients[0].read_response()).get(b"x-miosa-error") == code
    assert sleeper.edge.endings.count("BW") == 3
    assert len(sleeper.waker.asked) == 1
    sleeper.edge.advance(5)
    sleeper.says(WakeState.ASKED)
    await clients[0].send(get())
    await until(lambda: len(sleeper.waker.asked) == 2)


async def test_an_old_refusal_does_not_count(build_edge: BuildEdge) -> None:
    """Nor does one whose time is over."""
    sleeper = await asleep(build_edge)
    sleeper.says(WakeState.REFUSED, code=403, until=1.0)
    await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)
    await sleeper.edge.turns(100)
    assert sleeper.held == 1


async def test_the_budget_ends(build_edge: BuildEdge) -> None:
    """Where it does not run within `wake.budget`, what waits then hears that it failed."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.edge.clock.shift += 61
    sleeper.says(WakeState.STARTING)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"wake_failed", b"10")


async def test_a_long_queue(build_edge: BuildEdge) -> None:
    """The budget does not run while the platform has not been asked; who watches keeps the place, and hears which it is.
    From when the platform is asked, it runs."""
    sleeper = await asleep(build_edge)
    await waits(sleeper, get(lines=NAVIGATION))
    page = await waits(sleeper, WATCH, 2)
    await page.read_head()
    await events(page, 1)
    for place in range(9, 0, -1):
        asked = len(sleeper.waker.asked)
        sleeper.edge.advance(25)
        sleeper.says(WakeState.QUEUED, place=place, until=time.time() + 600)
        (queued,) = await events(page, 1)
        assert (queued["stage"], f"number {place} in line" in queued["text"]) == ("queued", place > 1)
        await until(lambda: len(sleeper.waker.asked) > asked)  # noqa: B023
    assert sleeper.held == 1  # the page was sent, and watches
    sleeper.says(WakeState.ASKED)
    assert [one["stage"] for one in await events(page, 1)] == ["asked"]
    asked = len(sleeper.waker.asked)
    sleeper.edge.clock.shift += 61
    sleeper.says(WakeState.STARTING)
    assert [one["code"] for one in await events(page, 1)] == ["wake_failed"]
    assert len(sleeper.waker.asked) == asked


async def test_a_page_that_watches_keeps_the_place_that_another_worker_has_asked_for(build_edge: BuildEdge) -> None:
    """The visitor's request may have come to that one, whose wait is over."""
    sleeper = await asleep(build_edge)
    page = await waits(sleeper, WATCH)
    await page.read_head()
    sleeper.says(WakeState.QUEUED, place=4)
    await until(lambda: len(sleeper.waker.asked) == 1)
    assert [one["stage"] for one in await events(page, 2)] == ["asked", "queued"]
    sleeper.says(WakeState.QUEUED, place=3)
    await events(page, 1)
    assert len(sleeper.waker.asked) == 1


async def test_a_full_queue(build_edge: BuildEdge) -> None:
    """All that wait, and those that come in the next moment, hear that at once, and when to come again; then it is asked for
    anew."""
    sleeper = await asleep(build_edge)
    page = await waits(sleeper, WATCH)
    await page.read_head()
    sleeper.waker.full = True
    clients = [await sleeper.edge.client() for _ in range(3)]
    for client, lines in zip(clients, ("", NAVIGATION, ""), strict=True):
        await client.send(get(lines=lines))
        answer = await client.read_response()
        assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"wake_queue_full")
        assert answer.get(b"retry-after") == b"10"
    *_, last = await events(page, 2)
    assert (last["stage"], last["code"]) == ("failed", "wake_queue_full")
    assert sleeper.edge.endings.count("EW") == 3
    assert len(sleeper.waker.asked) == 1
    sleeper.waker.full = False
    sleeper.edge.advance(4)
    await clients[0].send(get())
    await until(lambda: len(sleeper.waker.asked) == 2)
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        assert (await clients[0].read_response()).status == 200


async def test_a_queue_that_does_not_move(build_edge: BuildEdge) -> None:
    """Nobody waits in it for more than ten minutes and the budget."""
    sleeper = await asleep(build_edge)
    page = await waits(sleeper, WATCH)
    await page.read_head()
    await events(page, 1)
    waited, event = 0, {"stage": "asked"}
    while event["stage"] != "failed":
        waited += 9
        sleeper.edge.advance(9)
        sleeper.says(WakeState.QUEUED, place=1000 - waited, until=time.time() + 6000)
        (event,) = await events(page, 1)
    assert event["code"] == "wake_failed"
    assert 640 <= waited <= 680


async def test_it_falls_asleep_before_its_port_is_open(build_edge: BuildEdge) -> None:
    """Running for a moment and paused again: it is asked for again, and who waits is served once it runs."""
    sleeper = await asleep(build_edge, listening=False)
    client = await waits(sleeper, get())
    for number in (1, 2, 3):
        await until(lambda number=number: len(sleeper.waker.asked) == number, lambda: sleeper.waker.asked)  # type: ignore[misc]
        sleeper.becomes(State.RUNNING)
        await sleeper.edge.turns(50)
        if number < 3:
            sleeper.becomes(State.PAUSED)
    sleeper.backend.listen()
    async with sleeper.backend.serving(OK):
        assert (await client.read_response()).status == 200


async def test_it_fails_to_start(build_edge: BuildEdge) -> None:
    """The platform says `error`: there is nothing to wait for."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    sleeper.becomes(State.ERROR)
    assert (await client.read_response()).get(b"x-miosa-error") == b"wake_failed"


async def test_the_store_is_away(build_edge: BuildEdge) -> None:
    """How far it is can't be read, and where it runs is heard once the store is back: who waits goes on waiting."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.edge.records.down = True
    sleeper.becomes(State.RUNNING)
    await sleeper.edge.turns(200)
    assert sleeper.held == 1
    sleeper.edge.records.down = False
    async with sleeper.backend.serving(OK):
        assert (await client.read_response()).status == 200


async def test_it_is_deleted_meanwhile(build_edge: BuildEdge) -> None:
    """Those that wait hear what any visitor hears now."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    page = await waits(sleeper, WATCH, 2)
    sleeper.becomes(State.DESTROYED)
    assert (await client.read_response()).status == 410
    await page.read_until(b"0\r\n\r\n")
    assert sleeper.held == 0


async def test_its_owner_switches_waking_off_meanwhile(build_edge: BuildEdge) -> None:
    """Those that wait are answered by its state, as those that come then are."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    page = await waits(sleeper, WATCH, 2)
    sleeper.becomes(State.PAUSED, wake=Wake.OFF)
    assert (await client.read_response()).get(b"x-miosa-error") == b"stopped"
    await page.read_until(b"0\r\n\r\n")
    assert sleeper.held == 0


async def test_a_domain_leads_elsewhere_meanwhile(build_edge: BuildEdge) -> None:
    """Who waits there goes on to where it leads now; those that came by another name go on waiting."""
    sleeper = await asleep(build_edge)
    other = sleeper.edge.backend("other")
    sleeper.edge.put(name("shop.example", sleeper.record))
    client = await waits(sleeper, get().replace(b"shop.miosa.app", b"shop.example"))
    await waits(sleeper, get(), 2)
    sleeper.edge.put(name("shop.example", resource("other", default_port=other.port), version=2))
    async with other.serving(OK):
        assert (await client.read_response()).status == 200
    assert sleeper.held == 1


async def test_visitors_with_one_token_have_each_their_own_wait(build_edge: BuildEdge) -> None:
    """What is remembered of a token for a moment says nothing of how long somebody waited."""
    sleeper = await asleep(build_edge, policies=policies(secret("door")))
    request = get("/", f"X-Miosa-Preview-Token: {plain('door')}\r\n")
    clients = [await waits(sleeper, request, number + 1) for number in range(5)]
    await asyncio.sleep(0.3)  # what the answers' Server-Timing has to say
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        answers = [await client.read_response() for client in clients]
        waited = [int((answer.get(b"server-timing") or b"").removeprefix(b"wake;dur=")) for answer in answers]
        await clients[0].send(request)
        assert not cold(await clients[0].read_response())
    assert min(waited) >= 300
    assert max(waited) < 2 * min(waited)


@pytest.mark.parametrize("fault", [StoreUnavailableError, ValueError])
async def test_nobody_can_be_asked(build_edge: BuildEdge, fault: type[Exception]) -> None:
    """The control process is away, or fails: it is asked again, and who waits goes on waiting."""
    sleeper = await asleep(build_edge)
    sleeper.waker.fault = fault
    client = await waits(sleeper, get())
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.waker.fault = None
    await until(lambda: len(sleeper.waker.asked) == 2)
    events = [line["event"] for line in sleeper.edge.logs]
    assert events.count("a wake could not be asked for") == 1
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        assert (await client.read_response()).status == 200


async def test_who_leaves_is_forgotten(build_edge: BuildEdge) -> None:
    """With a body on its way or without, waiting or watching; when nobody is left nothing goes on."""
    sleeper = await asleep(build_edge)
    body = get("/", "Content-Length: 5\r\n", "POST") + b"he"
    for number, request in enumerate((get(), body, WATCH)):
        client = await waits(sleeper, request)
        client.reset()
        sleeper.edge.advance(0)
        await until(lambda number=number: sleeper.held == 0)  # type: ignore[misc]
        await until(lambda: not sleeper.edge.busy(), sleeper.edge.busy)
    assert sorted(sleeper.edge.endings) == ["CB", "CW", "CW"]
    assert sleeper.results == {"left": 2}


async def test_who_half_closes_waits_a_moment(build_edge: BuildEdge) -> None:
    """As everywhere: it may have left."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    client.half_close()
    await sleeper.edge.turns()
    sleeper.edge.advance(2.5)
    await client.read_until_gone()
    assert sleeper.edge.endings == ["CW"]


async def test_a_drain(build_edge: BuildEdge) -> None:
    """Nobody is kept for a wake that another process will finish: they come again, and find that one."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get())
    page = await waits(sleeper, WATCH, 2)
    await sleeper.edge.proxy.drain(5, 5)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"draining", b"1")
    assert (await page.read_until_close()).endswith(b"0\r\n\r\n")
    assert sorted(sleeper.edge.endings) == ["--", "EW"]
    assert sleeper.results == {"ended": 1}


@pytest.mark.parametrize(
    ("lines", "method", "status"),
    [
        ("X-Miosa-Monitor: 1\r\n", "GET", 503),
        ("Sec-Purpose: prefetch;prerender\r\n" + NAVIGATION, "GET", 503),
        ("User-Agent: Slackbot-LinkExpanding 1.0\r\n", "GET", 503),
        ("Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n", "OPTIONS", 204),
        ("Early-Data: 1\r\n", "GET", 425),
    ],
)
async def test_what_wakes_nobody(build_edge: BuildEdge, lines: str, method: str, status: int) -> None:
    """It is answered at once, as if nothing could be woken; early data by 425."""
    sleeper = await asleep(build_edge)
    client = await sleeper.edge.client()
    await client.send(get("/", lines, method))
    assert (await client.read_response(method.encode())).status == status
    assert (sleeper.held, sleeper.waker.asked) == (0, [])


@pytest.mark.parametrize("wake", [Wake.OFF, Wake.AUTHORISED])
async def test_who_may_not_wake_it(build_edge: BuildEdge, wake: Wake) -> None:
    """A public port of a resource that only those wake who show something: `stopped`, as ever."""
    sleeper = await asleep(build_edge, wake=wake)
    client = await sleeper.edge.client()
    await client.send(get())
    assert (await client.read_response()).get(b"x-miosa-error") == b"stopped"
    assert sleeper.waker.asked == []


async def test_strangers_wake_nothing_private(build_edge: BuildEdge) -> None:
    """They are refused as ever, on the page's path too; who has the token wakes it."""
    token: AccessSecret = secret("door")
    sleeper = await asleep(build_edge, wake=Wake.AUTHORISED, policies=policies(token))
    for request in (get(), WATCH):
        stranger = await sleeper.edge.client()
        await stranger.send(request)
        assert (await stranger.read_response()).status == 401
    assert (sleeper.held, sleeper.waker.asked) == (0, [])
    client = await waits(sleeper, get("/?a=b", f"X-Miosa-Preview-Token: {plain('door')}\r\n"))
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        answer = await client.read_response()
    assert (answer.status, cold(answer), seen[-1].target) == (200, True, b"/?a=b")


async def test_its_program_is_told_who_came_once(build_edge: BuildEdge) -> None:
    """Where it wants to know that: who waited is let in a second time, and named as who did not."""
    sleeper = await asleep(build_edge, policies=policies(secret("door"), identity=True))
    request = get("/", f"X-Miosa-Preview-Token: {plain('door')}\r\n")
    client = await waits(sleeper, request)
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        assert cold(await client.read_response())
        await client.send(request)
        assert not cold(await client.read_response())
    assert [len(one.all(b"x-miosa-identity")) for one in seen] == [1, 1]


@pytest.mark.parametrize("path", ["/", "/.well-known/miosa/wake"])
async def test_who_is_shut_out_meanwhile_waits_no_more(build_edge: BuildEdge, path: str) -> None:
    """Revoked while it waits or watches: within two seconds, and not when it wakes."""
    sleeper = await asleep(build_edge, policies=policies(secret("door")))
    client = await waits(sleeper, get(path, f"X-Miosa-Preview-Token: {plain('door')}\r\n"))
    sleeper.becomes(State.PAUSED, policies=policies(secret("door", revoked=True)))
    await until(lambda: sleeper.held == 0)
    sent = await client.read_some()
    assert b"403" in sent or b"text/event-stream" in sent


async def test_its_program_is_slower_than_its_machine(build_edge: BuildEdge) -> None:
    """Who comes when it runs already, and its port refuses, waits with the others."""
    sleeper = await asleep(build_edge, listening=False)
    first = await waits(sleeper, get("/first"))
    sleeper.becomes(State.RUNNING)
    late = await sleeper.edge.client()
    await late.send(get("/late"))
    page = await sleeper.edge.client()
    await page.send(WATCH)
    await until(lambda: sleeper.held == 3)
    sleeper.backend.listen()
    async with sleeper.backend.serving(OK) as seen:
        assert [(await one.read_response()).status for one in (first, late)] == [200, 200]
        await page.read_until(b'"open"')
        await page.read_until(b"0\r\n\r\n")
    assert sorted(one.target for one in seen) == [b"/first", b"/late"]


async def test_a_closed_port_of_what_never_slept_is_answered_at_once(build_edge: BuildEdge) -> None:
    """As ever: nobody waits there."""
    sleeper = await asleep(build_edge, listening=False)
    sleeper.becomes(State.RUNNING)
    client = await sleeper.edge.client()
    await client.send(get())
    assert (await client.read_response()).status == 502


async def test_what_starts_by_itself_is_waited_for(build_edge: BuildEdge) -> None:
    """And nobody is asked to start it."""
    sleeper = await asleep(build_edge)
    sleeper.becomes(State.STARTING)
    client = await waits(sleeper, get(lines="X: 1\r\n"))
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        assert (await client.read_response()).status == 200
    assert sleeper.waker.asked == []


async def test_what_is_just_falling_asleep(build_edge: BuildEdge) -> None:
    """It is asked for once it sleeps."""
    sleeper = await asleep(build_edge)
    sleeper.becomes(State.STOPPING)
    client = await waits(sleeper, get())
    await sleeper.edge.turns(100)
    assert sleeper.waker.asked == []
    sleeper.becomes(State.STOPPED)
    await until(lambda: len(sleeper.waker.asked) == 1)
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        assert (await client.read_response()).status == 200


async def test_it_falls_asleep_again(build_edge: BuildEdge) -> None:
    """A second sleep is a second wake."""
    sleeper = await asleep(build_edge)
    client = await sleeper.edge.client()
    async with sleeper.backend.serving(OK):
        for number in (1, 2):
            await client.send(get())
            await until(lambda: sleeper.held == 1)
            await until(lambda number=number: len(sleeper.waker.asked) == number)  # type: ignore[misc]
            sleeper.becomes(State.RUNNING)
            assert cold(await client.read_response())
            sleeper.becomes(State.PAUSED)


async def test_more_than_its_places(build_edge: BuildEdge) -> None:
    """A crowd goes on as there is room: nobody is refused, and it is one wake."""
    sleeper = await asleep(build_edge, exchanges_per_resource=8, queue_time=0)
    clients = [await waits(sleeper, get(f"/{number}"), number + 1) for number in range(100)]
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        assert {(await client.read_response()).status for client in clients} == {200}
    assert len({one.target for one in seen}) == 100
    assert (len(sleeper.waker.asked), sleeper.results) == (1, {"served": 100})


@pytest.mark.parametrize("limits", [{"held": 8}, {"held_per_resource": 4}, {"exchanges_per_address": 4}])
async def test_their_number_is_bounded(build_edge: BuildEdge, limits: dict[str, float]) -> None:
    """By worker (half of it for a tenant), by resource, by address: more get 503 at once, and pages come again."""
    sleeper = await asleep(build_edge, **limits)
    for number in range(4):
        await waits(sleeper, get(), number + 1)
    for request, status in ((get(), 503), (WATCH, 200)):
        client = await sleeper.edge.client()
        await client.send(request)
        answer = await client.read_response()
        assert (answer.status, answer.get(b"x-miosa-error")) == (status, b"starting")
    assert answer.body == b"retry: 1000\n\n"
    assert (sleeper.held, sleeper.results) == (4, {"refused": 2})


async def test_nothing_is_kept_of_who_may_not_wait(build_edge: BuildEdge) -> None:
    """Where there is no room, requests and pages for other ports, which nobody waits for, begin nothing there."""
    sleeper, ports = await asleep(build_edge, held=2), range(5001, 5009)
    sleeper.becomes(State.PAUSED, exposed_ports=frozenset(ports))
    await waits(sleeper, get())
    wakes = sleeper.edge.proxy._worker.wakes
    assert wakes is not None
    for port in ports:
        for request in (get(), WATCH):
            client = await sleeper.edge.client()
            await client.send(request.replace(b"shop.miosa.app", b"%d-shop.sandbox.miosa.app" % port))
            answer = await client.read_response()
            assert answer.get(b"x-miosa-error") == b"starting"
    assert (sleeper.results, len(wakes._wakings)) == ({"refused": 16}, 1)


async def test_the_bytes_that_came_with_them_are_bounded(build_edge: BuildEdge) -> None:
    """Bodies that had begun to arrive, of all that wait."""
    sleeper = await asleep(build_edge, held_bytes=5000)
    post = get("/", "Content-Length: 4000\r\n", "POST")
    await waits(sleeper, post + b"a" * 4000)
    client = await sleeper.edge.client()
    await client.send(post + b"a" * 4000)
    assert (await client.read_response()).get(b"x-miosa-error") == b"starting"
    await waits(sleeper, get(), 2)


async def test_grpc_hears_it_its_own_way(build_edge: BuildEdge) -> None:
    """A call that waited too long, or for what can't be woken."""
    sleeper = await asleep(build_edge)
    client = await waits(sleeper, get("/s/m", "Content-Type: application/grpc\r\nContent-Length: 0\r\n", "POST"))
    sleeper.says(WakeState.REFUSED, code=402)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"grpc-status")) == (200, b"14")
    assert WAKE_PAYMENT_REQUIRED.message[:20].encode() in (answer.get(b"grpc-message") or b"")


async def test_over_http2(build_edge: BuildEdge) -> None:
    """Streams of one connection wait as connections do, and a page's stream is one of them."""
    sleeper = await asleep(build_edge)
    client = await Http2Peer(await sleeper.edge.client(FRONT), client=True).start()
    call = await client.request((b"content-type", b"application/json"), body=b"{}")
    page = await client.request((b"accept", b"text/event-stream"), method=b"GET", path=b"/.well-known/miosa/wake")
    await until(lambda: sleeper.held == 2)
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        answer = await client.whole(call)
        assert (answer.status, answer.body, answer.get(b"x-miosa-cold-start")) == (200, b"ok", b"1")
        watched = await client.whole(page)
    assert (watched.status, watched.get(b"content-type")) == (200, b"text/event-stream")
    assert b'"open"' in watched.body
    assert seen[-1].body == b"{}"


async def test_an_h2c_program(build_edge: BuildEdge) -> None:
    """It is dialled by TCP alone until it accepts, and asked in its own protocol then."""
    sleeper = await asleep(build_edge)
    client = await Http2Peer(await sleeper.edge.client(FRONT), client=True).start()
    call = await client.request((b"content-type", b"application/grpc"), body=b"")
    await until(lambda: sleeper.held == 1)
    sleeper.becomes(State.RUNNING, protocols={sleeper.backend.port: "h2c"})
    probe = await sleeper.backend.accept()
    assert await probe.read_until_close() == b""
    server = await Http2Peer(await sleeper.backend.accept(), client=False).start()
    await server.respond(await server.until_new(), (b":status", b"200"), trailers=[(b"grpc-status", b"0")])
    answer = await client.whole(call)
    assert (answer.status, answer.get(b"x-miosa-cold-start")) == (200, b"1")


async def test_hosts_of_one_port_are_one_wake(build_edge: BuildEdge) -> None:
    """A preview's own host and a custom domain that leads to the same port; a second port of it is apart."""
    sleeper = await asleep(build_edge)
    sleeper.edge.put(name("shop.example", sleeper.record))
    first = await waits(sleeper, get("/first"))
    second = await waits(sleeper, get("/second").replace(b"shop.miosa.app", b"shop.example"), 2)
    other = await waits(sleeper, get("/other").replace(b"shop.miosa.app", b"5173-shop.sandbox.miosa.app"), 3)
    await until(lambda: len(sleeper.waker.asked) == 2)
    assert {port for _, port, _ in sleeper.waker.asked} == {sleeper.backend.port, 5173}
    sleeper.becomes(State.RUNNING)
    sleeper.edge.put(name("shop.example", sleeper.record))
    async with sleeper.backend.serving(OK):
        assert [(await one.read_response()).status for one in (first, second)] == [200, 200]
    other.close()


async def test_a_crowd_with_bodies(build_edge: BuildEdge) -> None:
    """Two hundred uploads of 1 MiB: one wake, all arrive whole, and what is held of them is bounded by one read each."""
    sleeper = await asleep(build_edge)
    body = bytes(range(256)) * (MIB // 256)
    request = get("/upload", f"Content-Length: {MIB}\r\n", "POST") + body
    clients = [await sleeper.edge.client() for _ in range(200)]
    sending = [asyncio.create_task(client.send(request), name="test: send") for client in clients]
    await until(lambda: sleeper.held == 200, lambda: sleeper.held)
    await sleeper.edge.turns(200)
    worker = sleeper.edge.proxy._worker
    assert sum(len(client.buffer) for client in worker.clients) <= 200 * 64 * 1024
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK) as seen:
        assert {(await client.read_response()).status for client in clients} == {200}
        await asyncio.gather(*sending)
    assert {one.body == body for one in seen} == {True}
    assert (len(seen), len(sleeper.waker.asked)) == (200, 1)
    assert (sleeper.held, worker.wakes.bytes if worker.wakes else -1) == (0, 0)

"""The exchange without sockets: a transcript for each row of the table of phases and events in `proxy/exchange.py`."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

import router.proxy
from router.observe.endings import COMBINATIONS, COMPLETE
from router.routes.records import Endpoint, State
from router.routes.wakes import Wake
from tests.support.records import name, resource
from tests.support.transcript import play

RECORDS: Final = (
    resource("shop", exposed_ports=frozenset({5173})),
    resource("starting", state=State.STARTING, endpoint=None),
    resource("far", endpoint=Endpoint("192.0.2.1", "boot-1")),
    resource("asleep", state=State.PAUSED, endpoint=None, wake=Wake.ANY),
    name("old.example", None, redirect_to="new.example"),
)
LIMITS: Final = {"first_byte": 60, "half_close": 10, "body_idle": 300, "tunnel_idle": 60, "tunnel_lifetime": 100}

GET: Final = "client  → GET / HTTP/1.1|Host: shop.miosa.app||"
AGAIN: Final = "client  → GET /b HTTP/1.1|Host: 3000-shop.sandbox.miosa.app||"  # the same port by a name not yet known
UPLOAD: Final = "client  → POST / HTTP/1.1|Host: shop.miosa.app|Content-Length: 5||he"
CHUNKS: Final = (
    "client  → POST / HTTP/1.1|Host: shop.miosa.app|Content-Type: text/event-stream|Transfer-Encoding: chunked||"
)
OFFER: Final = "client  → GET / HTTP/1.1|Host: shop.miosa.app|Connection: upgrade|Upgrade: raw||"

SERVED: Final = f"""
    {GET}
    backend ← GET / HTTP/1.1|Host: shop.miosa.app|…
    backend → HTTP/1.1 200 OK|Content-Length: 2||ok
    client  ← HTTP/1.1 200 OK|Content-Length: 2||ok
    [--]
"""
ASLEEP: Final = "client  → GET / HTTP/1.1|Host: asleep.miosa.app||"
HELD: Final = f"""
    {ASLEEP}
    [W]
"""
IN_QUEUE: Final = f"""
    the resource has no place left
    {GET}
    [Q]
"""
IN_DIAL: Final = f"""
    backend does not accept
    {GET}
    [D]
"""
IN_RESPONSE_HEAD: Final = f"""
    {GET}
    backend ← GET / HTTP/1.1|…
    [H]
"""
IN_BODIES: Final = f"""
    {IN_RESPONSE_HEAD}
    backend → HTTP/1.1 200 OK|Content-Length: 5||he
    client  ← HTTP/1.1 200 OK|Content-Length: 5||he
    [B]
"""
IN_TUNNEL: Final = f"""
    {OFFER}
    backend ← GET / HTTP/1.1|Host: shop.miosa.app|…
    backend → HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: raw||
    client  ← HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: raw||
    [T]
"""

# By phase and what happens: the last two lines in brackets are that phase, and what follows.
TRANSCRIPTS: Final = {
    ("R", "the head is complete"): """
        client  → GET / HT
        [R]
        client  → TP/1.1|Host: shop.miosa.app||
        [A]
    """,
    ("R", "the head is refused"): """
        [R]
        client  → GET / HTTP/1.1|Host: a|Host: b||
        client  ← HTTP/1.1 400 Bad Request|…
        [ER]
    """,
    ("R", "the head takes too long"): """
        client  → GET / HTTP/1.1|Ho
        [R]
        11 seconds pass
        client  ← HTTP/1.1 408 Request Timeout|…
        [cR]
    """,
    ("R", "the client leaves"): """
        client  → GET / HTTP/1.1|Ho
        [R]
        client resets
        [CR]
    """,
    ("A", "the host has a route to a resource with a kept connection"): f"""
        {SERVED}
        {AGAIN}
        [A]
        backend ← GET /b HTTP/1.1|Host: 3000-shop.sandbox.miosa.app|…
        [H]
    """,
    ("A", "the host has a route to a resource without one"): f"""
        backend does not accept
        {GET}
        [A]
        [D]
    """,
    ("A", "the resource cannot be dialled in its state"): """
        client  → GET / HTTP/1.1|Host: starting.miosa.app||
        [A]
        client  ← HTTP/1.1 503 Service Unavailable|…
        [BA]
    """,
    ("A", "the resource sleeps or starts, and requests wait for it"): f"""
        {ASLEEP}
        [A]
        [W]
    """,
    ("A", "the host has no route, or a limit is reached"): """
        client  → GET / HTTP/1.1|Host: absent.miosa.app||
        [A]
        client  ← HTTP/1.1 404 Not Found|…
        [EA]
    """,
    ("A", "the resource's address may not be dialled"): """
        client  → GET / HTTP/1.1|Host: far.miosa.app||
        [A]
        client  ← HTTP/1.1 502 Bad Gateway|…
        [ED]
    """,
    ("A", "a response of our own takes the resource's place"): """
        client  → GET /a?b HTTP/1.1|Host: old.example||
        [A]
        client  ← HTTP/1.1 308 Permanent Redirect|Location: http://new.example/a?b|…
        [--]
    """,
    ("A", "the resource has as many exchanges as it may"): f"""
        the resource has no place left
        {GET}
        [A]
        [Q]
    """,
    ("A", "the request's body breaks its framing or a limit"): """
        client  → POST / HTTP/1.1|Host: shop.miosa.app|Transfer-Encoding: chunked||3|abc|
        [A]
        client  → zz|
        client  ← HTTP/1.1 400 Bad Request|…
        [EA]
    """,
    ("A", "the client leaves"): f"""
        {GET}
        [A]
        client resets
        [CA]
    """,
    ("A", "the drain runs out"): f"""
        {GET}
        [A]
        the drain runs out
        client  ← HTTP/1.1 503 Service Unavailable|…
        [EA]
    """,
    ("W", "the resource runs, and its port accepts"): f"""
        {HELD}
        the resource runs
        [D]
    """,
    ("W", "the resource cannot be woken"): f"""
        {HELD}
        the resource may not be woken
        client  ← HTTP/1.1 403 Forbidden|…
        [BW]
    """,
    ("W", "it does not run in time"): f"""
        {HELD}
        11 seconds pass
        client  ← HTTP/1.1 503 Service Unavailable|…
        [bW]
    """,
    ("W", "the client leaves"): f"""
        {HELD}
        client resets
        [CW]
    """,
    ("W", "the client has shut down its sending side, and time passes"): f"""
        {HELD}
        client closes its sending side
        [W]
        11 seconds pass
        [CW]
    """,
    ("W", "the drain runs out"): f"""
        {HELD}
        the drain runs out
        client  ← HTTP/1.1 503 Service Unavailable|…
        [EW]
    """,
    ("Q", "a place becomes free, and there is a kept connection"): f"""
        {SERVED}
        the resource has no place left
        {GET}
        [Q]
        a place becomes free
        backend ← GET / HTTP/1.1|Host: shop.miosa.app|…
        [H]
    """,
    ("Q", "a place becomes free, and there is none"): f"""
        {IN_QUEUE}
        backend does not accept
        a place becomes free
        [D]
    """,
    ("Q", "no place becomes free in time"): f"""
        {IN_QUEUE}
        3 seconds pass
        client  ← HTTP/1.1 429 Too Many Requests|…
        [EQ]
    """,
    ("Q", "the client leaves"): f"""
        {IN_QUEUE}
        client resets
        [CQ]
    """,
    ("Q", "the client has shut down its sending side, and time passes"): f"""
        {IN_QUEUE}
        client closes its sending side
        [Q]
        11 seconds pass
        [CQ]
    """,
    ("Q", "the drain runs out"): f"""
        {IN_QUEUE}
        the drain runs out
        client  ← HTTP/1.1 503 Service Unavailable|…
        [EQ]
    """,
    ("D", "the backend accepts the connection"): f"""
        {IN_DIAL}
        backend accepts
        backend ← GET / HTTP/1.1|…
        [H]
    """,
    ("D", "a connection is given back meanwhile"): f"""
        {IN_DIAL}
        another connection is given back
        backend ← GET / HTTP/1.1|…
        [H]
    """,
    ("D", "the backend refuses every try"): f"""
        backend refuses connections
        {GET}
        [D]
        1 seconds pass
        client  ← HTTP/1.1 502 Bad Gateway|…
        [BD]
    """,
    ("D", "it does, and its resource is being woken"): f"""
        {HELD}
        11 seconds pass
        client  ← HTTP/1.1 503 Service Unavailable|…
        [bW]
        the resource runs
        backend refuses connections
        {ASLEEP}
        [D]
        1 seconds pass
        [W]
    """,
    ("D", "the backend does not accept in time"): f"""
        {IN_DIAL}
        1 seconds pass
        1 seconds pass
        4 seconds pass
        client  ← HTTP/1.1 504 Gateway Timeout|…
        [bD]
    """,
    ("D", "the new connection speaks before it is asked"): f"""
        {IN_DIAL}
        backend speaks first
        client  ← HTTP/1.1 502 Bad Gateway|…
        [BH]
    """,
    ("D", "no descriptor or port is left to dial from"): f"""
        no descriptor is left
        {GET}
        [D]
        1 seconds pass
        client  ← HTTP/1.1 503 Service Unavailable|…
        [ED]
    """,
    ("D", "the client leaves"): f"""
        {IN_DIAL}
        client resets
        [CD]
    """,
    ("D", "the drain runs out"): f"""
        {IN_DIAL}
        the drain runs out
        client  ← HTTP/1.1 503 Service Unavailable|…
        [ED]
    """,
    ("H", "a 1xx response"): f"""
        {IN_RESPONSE_HEAD}
        backend → HTTP/1.1 103 Early Hints|Link: </a>||
        client  ← HTTP/1.1 103 Early Hints|Link: </a>||
        [H]
    """,
    ("H", "a kept connection brings what is left of another response"): f"""
        {SERVED}
        backend does not accept
        {GET}
        backend ← GET / HTTP/1.1|…
        [H]
        backend → 0||
        [D]
    """,
    ("H", "the response's head"): f"""
        {IN_RESPONSE_HEAD}
        backend → HTTP/1.1 200 OK|Content-Length: 5||
        client  ← HTTP/1.1 200 OK|Content-Length: 5||
        [B]
    """,
    ("H", "a 101 that was asked for"): f"""
        {OFFER}
        backend ← GET / HTTP/1.1|…
        [H]
        backend → HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: raw||hi
        client  ← HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: raw||hi
        [T]
    """,
    ("H", "something that is not a response to the request"): f"""
        {IN_RESPONSE_HEAD}
        backend → SSH-2.0-OpenSSH_9.9|
        client  ← HTTP/1.1 502 Bad Gateway|…
        [BH]
    """,
    ("H", "a kept connection closes, and the request may be sent again"): f"""
        {SERVED}
        backend does not accept
        {GET}
        backend ← GET / HTTP/1.1|…
        [H]
        backend closes
        [D]
    """,
    ("H", "the connection closes, and it may not"): f"""
        {IN_RESPONSE_HEAD}
        backend closes
        client  ← HTTP/1.1 502 Bad Gateway|…
        [BH]
    """,
    ("H", "no response in time"): f"""
        {IN_RESPONSE_HEAD}
        61 seconds pass
        client  ← HTTP/1.1 504 Gateway Timeout|…
        [bH]
    """,
    ("H", "the request's body breaks its framing or a limit"): f"""
        {CHUNKS}
        backend ← POST / HTTP/1.1|…
        [H]
        client  → zz|
        client  ← HTTP/1.1 400 Bad Request|…
        [EH]
    """,
    ("H", "the request's body stops coming"): f"""
        {UPLOAD}
        backend ← POST / HTTP/1.1|…
        [H]
        301 seconds pass
        client  ← HTTP/1.1 408 Request Timeout|…
        [cH]
    """,
    ("H", "the client leaves"): f"""
        {IN_RESPONSE_HEAD}
        client resets
        [CH]
    """,
    ("H", "the client has shut down its sending side, and time passes"): f"""
        {IN_RESPONSE_HEAD}
        client closes its sending side
        [H]
        11 seconds pass
        [CH]
    """,
    ("H", "the drain runs out"): f"""
        {IN_RESPONSE_HEAD}
        the drain runs out
        client  ← HTTP/1.1 503 Service Unavailable|…
        [EH]
    """,
    ("B", "the response's last byte"): f"""
        {IN_BODIES}
        backend → llo
        client  ← llo
        [--]
    """,
    ("B", "the connection closes, which ends a response without a length"): f"""
        {IN_RESPONSE_HEAD}
        backend → HTTP/1.1 200 OK||hello
        client  ← HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|
        [B]
        backend closes
        client  ← 0||
        [--]
    """,
    ("B", "the connection closes before the response's end"): f"""
        {IN_BODIES}
        backend closes
        [BB]
    """,
    ("B", "the response breaks its framing"): f"""
        {IN_RESPONSE_HEAD}
        backend → HTTP/1.1 200 OK|Transfer-Encoding: chunked||
        client  ← HTTP/1.1 200 OK|Transfer-Encoding: chunked||
        [B]
        backend → zz|
        [BB]
    """,
    ("B", "the backend sends nothing for too long"): f"""
        {IN_BODIES}
        301 seconds pass
        [bB]
    """,
    ("B", "the client takes nothing for too long"): f"""
        {IN_BODIES}
        client takes nothing
        backend → l
        [B]
        301 seconds pass
        [cB]
    """,
    ("B", "the client leaves"): f"""
        {IN_BODIES}
        client resets
        [CB]
    """,
    ("B", "the client has shut down its sending side, and time passes"): f"""
        {IN_BODIES}
        client closes its sending side
        [B]
        11 seconds pass
        [CB]
    """,
    ("B", "the request's body breaks its framing or a limit"): f"""
        {CHUNKS}
        backend ← POST / HTTP/1.1|…
        backend → HTTP/1.1 200 OK|Content-Length: 5||he
        client  ← HTTP/1.1 200 OK|Content-Length: 5|Connection: close||he
        [B]
        client  → zz|
        [EB]
    """,
    ("B", "the drain runs out"): f"""
        {IN_BODIES}
        the drain runs out
        [EB]
    """,
    ("T", "both sides close"): f"""
        {IN_TUNNEL}
        client closes its sending side
        backend closes
        [--]
    """,
    ("T", "the client resets the tunnel"): f"""
        {IN_TUNNEL}
        client resets
        [CT]
    """,
    ("T", "the backend resets the tunnel"): f"""
        {IN_TUNNEL}
        backend resets
        [BT]
    """,
    ("T", "the client owes the next byte for too long"): f"""
        {IN_TUNNEL}
        backend → ping
        client  ← ping
        61 seconds pass
        [cT]
    """,
    ("T", "the backend owes the next byte for too long"): f"""
        {IN_TUNNEL}
        client  → ping
        backend ← ping
        61 seconds pass
        [bT]
    """,
    ("T", "the tunnel reaches its longest life"): f"""
        {IN_TUNNEL}
        55 seconds pass
        client  → ping
        backend ← ping
        50 seconds pass
        [ET]
    """,
    ("T", "the drain runs out"): f"""
        {IN_TUNNEL}
        the drain runs out
        [ET]
    """,
}


def table() -> dict[tuple[str, str], str]:
    """The table in the docstring, by phase and what happens; out of the source, which is there when it is compiled too."""
    source = (Path(router.proxy.__file__).parent / "exchange.py").read_text(encoding="utf-8")
    lines = (ast.get_docstring(ast.parse(source)) or "").partition("phase  what happens")[2].splitlines()[1:]
    rows = [re.fullmatch(r" *([RAWQDHBT]) {2,}(.+?) +([RAWQDHBT]|--|\w\w)", line) for line in lines]
    return {(row[1], row[2]): row[3] for row in rows if row is not None}


ROWS: Final = table()


def test_each_row_has_its_transcript() -> None:
    """And each transcript its row; every ending that can occur is in the table."""
    assert list(ROWS) == list(TRANSCRIPTS)
    assert {then for then in ROWS.values() if len(then) == 2} == set(COMBINATIONS)


@pytest.mark.parametrize(("row", "then"), ROWS.items(), ids=[f"{phase}: {what}" for phase, what in ROWS])
def test_what_follows(row: tuple[str, str], then: str) -> None:
    """In this phase that happens, and this follows: the next phase, or the ending of the record."""
    transcript = TRANSCRIPTS[row]
    assert re.findall(r"\[(.+)\]", transcript)[-2:] == [row[0], then]
    with capture_logs():
        play(transcript, *RECORDS, **LIMITS)


def test_a_response_before_the_request() -> None:
    """What came too early is not called broken HTTP, which it may not be."""
    stage = play(
        f"""
        {IN_DIAL}
        backend responds first
        client  ← HTTP/1.1 502 Bad Gateway|…
        [BH]
        """,
        *RECORDS,
        **LIMITS,
    )
    problem = stage.recorder.finished[0].problem
    assert problem is not None
    assert problem.message.endswith("that cannot be passed on: it came before the request was sent.")


def test_an_exchange_is_a_dialogue() -> None:
    """From the first byte to the next request on the same connections; each side hears exactly this."""
    stage = play(
        """
        client  → POST /cart?a=b HTTP/1.1|Host: shop.miosa.app|X-Forwarded-For: 198.51.100.1|Content-Length: 5||he
        backend ← POST /cart?a=b HTTP/1.1|Host: shop.miosa.app|Content-Length: 5|X-Forwarded-For: 192.0.2.9|…
        client  → llo
        backend ← llo
        [H]
        backend → HTTP/1.1 201 Created|Set-Cookie: a=1; Domain=miosa.app|Content-Length: 4||
        client  ← HTTP/1.1 201 Created|Set-Cookie: a=1|Content-Length: 4||
        [B]
        backend → do
        client  ← do
        backend → ne
        client  ← ne
        [--]
        client  → GET /next HTTP/1.1|Host: shop.miosa.app||
        backend ← GET /next HTTP/1.1|Host: shop.miosa.app|…
        backend → HTTP/1.1 204 No Content||
        client  ← HTTP/1.1 204 No Content||
        [--]
        """,
        *RECORDS,
    )
    assert stage.dials == 1
    assert [exchange.ending for exchange in stage.recorder.finished] == [COMPLETE, COMPLETE]
    assert [(exchange.received, exchange.sent) for exchange in stage.recorder.finished] == [(5, 4), (0, 0)]

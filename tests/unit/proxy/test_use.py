"""What counts as use of a resource, and when: transcripts, each with the last instant that is noted."""

from typing import Final

import pytest

from router.routes.records import State
from router.routes.wakes import Wake
from tests.support.records import name, resource
from tests.support.transcript import play
from tests.unit.proxy.test_exchange import GET, OFFER, UPLOAD

NEVER: Final = 0.0
UPLOADED: Final = "client  → llo\nbackend → HTTP/1.1 500 Oh|Content-Length: 0||"
WEBSOCKET: Final = (
    "client  → GET / HTTP/1.1|Host: shop.miosa.app|Connection: Upgrade|Upgrade: websocket|"
    "Sec-WebSocket-Version: 13|Sec-WebSocket-Key: bWlvc2Etcm91dGVyLWRlbQ==||"
)
ACCEPTED: Final = (
    "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket|"
    "Sec-WebSocket-Accept: w0jUEfTL6WL/ugvA7wXF+b34A3o=||"
)


def answered(status: str) -> str:
    """A request at 10 s, whose answer comes in one read at 12 s."""
    return f"""
        10 seconds pass
        {GET}
        backend ← GET / HTTP/1.1|…
        2 seconds pass
        backend → HTTP/1.1 {status}|Content-Length: 2||ok
        client  ← HTTP/1.1 {status}|Content-Length: 2||ok
        [--]
        5 seconds pass
    """


def streamed(status: str, rest: str) -> str:
    """A request at 10 s, whose answer begins at 12 s."""
    return f"""
        10 seconds pass
        {GET}
        backend ← GET / HTTP/1.1|…
        2 seconds pass
        backend → HTTP/1.1 {status}|Content-Length: 5||he
        client  ← HTTP/1.1 {status}|Content-Length: 5||he
        [B]
        {rest}
    """


def tunnel(rest: str, offer: str = OFFER) -> str:
    """An upgrade that is accepted at 12 s."""
    accepted = "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: raw||" if offer is OFFER else ACCEPTED
    return f"""
        10 seconds pass
        {offer}
        backend ← GET / HTTP/1.1|…
        2 seconds pass
        backend → {accepted}
        client  ← HTTP/1.1 101 Switching Protocols|…
        [T]
        {rest}
    """


CASES: Final = {
    "an answer": (answered("200 OK"), 12.0),
    "a redirect of the program": (answered("302 Found"), 12.0),
    "a refusal of the program": (answered("404 Not Found"), 12.0),
    "an answer that says that the program is broken": (answered("500 Internal Server Error"), NEVER),
    "an answer that says that it is not ready": (answered("503 Service Unavailable"), NEVER),
    "a request that has no answer yet": (
        f"10 seconds pass\n{GET}\nbackend ← GET / HTTP/1.1|…\n30 seconds pass\n[H]",
        NEVER,
    ),
    "no answer in time: a page of ours": (
        f"10 seconds pass\n{GET}\nbackend ← GET / HTTP/1.1|…\n61 seconds pass",
        NEVER,
    ),
    "a closed port: a page of ours": (
        f"backend refuses connections\n10 seconds pass\n{GET}\n[D]\n1 seconds pass\n[BD]",
        NEVER,
    ),
    "a host without a resource": ("10 seconds pass\nclient  → GET / HTTP/1.1|Host: nobody.miosa.app||\n[EA]", NEVER),
    "a redirect of ours": ("10 seconds pass\nclient  → GET / HTTP/1.1|Host: old.example||\n[--]", NEVER),
    "one that sleeps: it waits": (
        "10 seconds pass\nclient  → GET / HTTP/1.1|Host: asleep.miosa.app||\n[W]\n2 seconds pass",
        NEVER,
    ),
    "a stream's begin": (streamed("200 OK", "2 seconds pass"), 12.0),
    "a stream, noted every 50 s": (streamed("200 OK", "39 seconds pass\n9 seconds pass\n40 seconds pass"), 60.0),
    "a stream's end": (streamed("200 OK", "50 seconds pass\n7 seconds pass\nbackend → llo\nclient  ← llo\n[--]"), 69.0),
    "a stream that its client leaves": (streamed("200 OK", "20 seconds pass\nclient resets\n[CB]"), 32.0),
    "a stream of an error": (streamed("500 Oh", "50 seconds pass\nbackend → llo\nclient  ← llo\n[--]"), NEVER),
    "an upload that is taken": (f"10 seconds pass\n{UPLOAD}\nbackend ← POST / HTTP/1.1|…\n50 seconds pass", 60.0),
    "an upload that is refused at its end": (
        f"10 seconds pass\n{UPLOAD}\nbackend ← POST / HTTP/1.1|…\n2 seconds pass\n{UPLOADED}\n[--]",
        NEVER,
    ),
    "a tunnel's begin": (tunnel("2 seconds pass"), 12.0),
    "a tunnel, noted every 50 s": (tunnel("48 seconds pass\n10 seconds pass"), 60.0),
    "a tunnel's end": (tunnel("20 seconds pass\nclient resets\n[CT]"), 32.0),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_use(case: str) -> None:
    """Answers below 500 of the program itself, at their begin and end and every 50 s between."""
    transcript, expected = CASES[case]
    assert last_use(transcript) == expected


def last_use(transcript: str, *, pings: bool = True) -> float:
    stage = play(
        transcript,
        resource("shop", pings_keep_awake=pings),
        resource("asleep", state=State.PAUSED, endpoint=None, wake=Wake.ANY),
        name("old.example", None, redirect_to="new.example"),
        first_byte=60,
        body_idle=300,
        tunnel_idle=100,
    )
    return max(stage.worker.used(float("-inf")).values(), default=NEVER)


@pytest.mark.parametrize(
    ("rest", "counted", "uncounted"),
    [
        ("48 seconds pass\n10 seconds pass", 60.0, 12.0),
        ("20 seconds pass\nclient  → PING\nbackend ← PING\n30 seconds pass", 62.0, 12.0),
        ("20 seconds pass\nbackend → PING\nclient  ← PING\nclient resets\n[CT]", 32.0, 12.0),
        ("20 seconds pass\nclient  → TEXT\nbackend ← TEXT\n30 seconds pass\n50 seconds pass", 112.0, 32.0),
        ("20 seconds pass\nbackend → TEXT\nclient  ← TEXT\n10 seconds pass\nclient resets\n[CT]", 42.0, 32.0),
        ("20 seconds pass\nbackend → PINGTEXT\nclient  ← PINGTEXT\nclient resets\n[CT]", 32.0, 32.0),
    ],
)
def test_pings(rest: str, counted: float, uncounted: float) -> None:
    """A WebSocket on which only pings pass is use, unless the tenant says otherwise; then the last message is."""
    rest = rest.replace("PING", r"\x89\x00").replace("TEXT", r"\x81\x02hi")
    assert last_use(tunnel(rest, WEBSOCKET)) == counted
    assert last_use(tunnel(rest, WEBSOCKET), pings=False) == uncounted


def test_pings_of_another_protocol() -> None:
    """Only WebSockets' are known: in any other tunnel every byte may be one that counts."""
    assert last_use(tunnel("48 seconds pass\n10 seconds pass"), pings=False) == 60.0

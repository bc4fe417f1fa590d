"""How a response's body goes on: in how many writes, and framed by whom."""

import pytest
from structlog.testing import capture_logs

from tests.support.records import resource
from tests.support.transcript import FakeTransport, play

HEAD = "HTTP/1.1 200 OK|Transfer-Encoding: chunked||"
VISIT = "client  → GET / HTTP/1.1|Host: shop.miosa.app||\nbackend ← GET / HTTP/1.1|…"


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written to any connection, write by write."""
    made: list[bytes] = []
    write = FakeTransport.write

    def note(transport: FakeTransport, data: bytes) -> None:
        made.append(data)
        write(transport, data)

    monkeypatch.setattr(FakeTransport, "write", note)
    return made


@pytest.mark.parametrize(
    ("response", "written"),
    [
        ("HTTP/1.1 200 OK|Content-Length: 5||he", ""),
        ("HTTP/1.1 200 OK||he", HEAD + "2|he|"),
        (HEAD + "2|he|", ""),
        (HEAD + "2|he|3|llo|0||", ""),
        (HEAD + "002|he|3;a|llo|0||", HEAD + "5|hello|0||"),
        (HEAD + "2|he|3|llo|0|X: y||", HEAD + "5|hello|0|X: y||"),
        (HEAD + "2|h", HEAD + "1|h|"),
        (HEAD + "0||", ""),
    ],
    ids=["sized", "until close", "chunked", "whole", "framed otherwise", "trailers", "part of a chunk", "empty"],
)
def test_what_came_with_the_head_goes_out_with_it(response: str, written: str, writes: list[bytes]) -> None:
    """One read, one write: a head that goes out alone costs another write, and wakes the client for nothing."""
    play(f"{VISIT}\nbackend → {response}\nclient  ← {written or response}", resource("shop"))
    assert len(writes) == 2  # the request, and this


def test_nothing_of_a_head_waits_for_a_body(writes: list[bytes]) -> None:
    """What came with it may be less than a chunk's size line."""
    play(f"{VISIT}\nbackend → {HEAD}2\nclient  ← {HEAD}\nbackend → |he|\nclient  ← 2|he|", resource("shop"))
    assert len(writes) == 3


def test_a_head_goes_out_before_a_body_that_is_refused(writes: list[bytes]) -> None:
    """The client has the head of a response that is cut, whatever came with it."""
    with capture_logs():
        play(f"{VISIT}\nbackend → {HEAD}5|hello!\nclient  ← {HEAD}\n[BB]", resource("shop"))
    assert len(writes) == 2


def test_a_client_of_http_1_0_gets_content_alone() -> None:
    """It knows no chunks, however they are framed."""
    play(
        f"""
        client  → GET / HTTP/1.0|Host: shop.miosa.app||
        backend ← GET / HTTP/1.1|…
        backend → {HEAD}2|he|
        client  ← HTTP/1.1 200 OK|Connection: close||he
        backend → 3|llo|0||
        client  ← llo
        [--]
        """,
        resource("shop"),
    )

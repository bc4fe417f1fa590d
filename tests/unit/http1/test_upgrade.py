"""Upgrades: what is an offer, what accepts one, and what never reaches a backend."""

import pytest

from router.http1.requests import RequestHead
from router.http1.upgrade import accepts, is_upgrade_response, settle_upgrade
from tests.unit.http1.messages import answer, read, refused, response

WEBSOCKET = [
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-version:13",
]
SWITCHING = b"HTTP/1.1 101 Switching Protocols"


def settled(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> RequestHead:
    """A request after its offer has been judged."""
    head = read(*lines, first=first)
    settle_upgrade(head)
    return head


OFFERS = [
    ("as browsers make it", WEBSOCKET, b"websocket"),
    ("as Firefox makes it", [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"], b"websocket"),
    ("in any case", [b"connection:UPGRADE", b"UPGRADE:WebSocket"], b"WebSocket"),
    ("over two Connection lines", [b"Connection: keep-alive", b"Upgrade: x", b"Connection: upgrade"], b"x"),
    ("closing otherwise", [b"Connection: close, upgrade", b"Upgrade: x"], b"x"),
    ("several protocols", [b"Connection: upgrade", b"Upgrade: a/1, b", b"Upgrade: c"], b"a/1, b, c"),
    ("with an empty body", [*WEBSOCKET, b"Content-Length: 0"], b"websocket"),
    ("with a sized body", [b"Connection: Upgrade", b"Upgrade: tcp", b"Content-Length: 5"], b"tcp"),
    ("with a chunked body", [b"Connection: Upgrade", b"Upgrade: tcp", b"Transfer-Encoding: chunked"], b"tcp"),
    ("with Expect", [b"Connection: Upgrade", b"Upgrade: tcp", b"Content-Length: 5", b"Expect: 100-continue"], b"tcp"),
]


@pytest.mark.parametrize(("lines", "offer"), [case[1:] for case in OFFERS], ids=[case[0] for case in OFFERS])
def test_offers(lines: list[bytes], offer: bytes) -> None:
    """Upgrade, and Connection that names it as one token among others."""
    assert settled(*lines).upgrade == offer


NO_OFFERS = [
    ("no Connection", [b"Upgrade: websocket"]),
    ("Connection without upgrade", [b"Connection: keep-alive", b"Upgrade: websocket"]),
    ("a Connection of another word", [b"Connection: upgraded", b"Upgrade: websocket"]),
    ("a Connection that names other headers", [b"Connection: x", b"Upgrade: websocket"]),
    ("no Upgrade", [b"Connection: upgrade"]),
    ("an empty Upgrade", [b"Connection: upgrade", b"Upgrade:"]),
    ("h2c", [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]),
    ("h2c in capitals", [b"Connection: Upgrade", b"Upgrade: H2C"]),
    ("h2c among others", [b"Connection: Upgrade", b"Upgrade: websocket, h2c"]),
]


@pytest.mark.parametrize("lines", [case[1] for case in NO_OFFERS], ids=[case[0] for case in NO_OFFERS])
def test_no_offers(lines: list[bytes]) -> None:
    """What is no offer is an ordinary request, and nothing of the attempt goes on."""
    head = settled(*lines)
    assert head.upgrade == b""
    names = [line.partition(b":")[0].lower() for line in head.lines]
    assert not {b"upgrade", b"connection", b"http2-settings"} & set(names)


def test_no_offers_in_http_1_0() -> None:
    """RFC 9110 §7.8: Upgrade in HTTP/1.0 is ignored."""
    assert settled(*WEBSOCKET, first=b"GET / HTTP/1.0").upgrade == b""


def test_handshake_headers_go_on_as_they_came() -> None:
    """All but the hop's own headers are kept, byte by byte."""
    assert settled(*WEBSOCKET).lines[1:] == WEBSOCKET[2:]


ANSWERS = [
    ("as servers give it", [b"Upgrade: websocket", b"Connection: Upgrade"], True),
    ("in any case", [b"upgrade:WebSocket", b"connection: keep-alive, UPGRADE"], True),
    ("of another protocol", [b"Upgrade: h2c", b"Connection: Upgrade"], False),
    ("of several protocols", [b"Upgrade: websocket, h2c", b"Connection: Upgrade"], False),
]


@pytest.mark.parametrize(("lines", "accepted"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
def test_answers(lines: list[bytes], accepted: bool) -> None:
    """A 101 counts if it says one protocol, and it is one that was offered."""
    head = answer(*lines, first=SWITCHING)
    assert accepts(settled(*WEBSOCKET), head) is accepted
    assert not accepts(settled(), head)
    assert accepts(settled(*WEBSOCKET, b"Content-Length: 5"), head) is accepted


HALF_ANSWERS = [
    [],
    [b"Connection: Upgrade"],
    [b"Upgrade: websocket"],
    [b"Upgrade:", b"Connection: Upgrade"],
    [b"Upgrade: websocket", b"Connection: keep-alive"],
    [b"Upgrade: websocket", b"Connection: close"],
]


@pytest.mark.parametrize("lines", HALF_ANSWERS)
def test_a_101_without_its_headers_is_refused(lines: list[bytes]) -> None:
    """RFC 9110 §15.2.2: it must say what comes next, as a header of this hop."""
    assert refused(response(*lines, first=SWITCHING))


def test_an_offer_of_several_is_accepted_by_one() -> None:
    """RFC 9110 §7.8: the answer says which."""
    offer = settled(b"Connection: upgrade", b"Upgrade: a/1, WebSocket")
    assert accepts(offer, answer(b"Upgrade: websocket", b"Connection: upgrade", first=SWITCHING))
    assert accepts(offer, answer(b"Upgrade: A/1", b"Connection: upgrade", first=SWITCHING))
    assert not accepts(offer, answer(b"Upgrade: b", b"Connection: upgrade", first=SWITCHING))


@pytest.mark.parametrize("status", [100, 200, 426])
def test_only_a_101_upgrades(status: int) -> None:
    """Any other answer that names a protocol is an answer like others."""
    head = answer(b"Upgrade: websocket", b"Connection: Upgrade", first=b"HTTP/1.1 %d x" % status)
    assert not is_upgrade_response(head)
    assert not accepts(settled(*WEBSOCKET), head)

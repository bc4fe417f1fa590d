"""Who gets certificates with their keys."""

import pytest
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.gate.peers import Certificates, is_direct, is_loopback
from router.observe.metrics import Metrics
from tests.support.held_table import HeldAnswers

HELD = "box.zone.example"


def certificates(clock: ManualClock, held: HeldAnswers, *, authenticated: bool = False) -> Certificates:
    return Certificates(held, metrics=Metrics(), clock=clock, authenticated=authenticated)


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.7", False),
        ("10.0.0.7", False),
        ("0.0.0.0", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("169.254.169.254", False),
        ("2001:db8::1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machines_own(address: str, is_ours: bool) -> None:
    """Those that no other machine can come from."""
    assert is_loopback(address) is is_ours


@pytest.mark.parametrize("peer", [None, "", (), "/run/a.sock"])
def test_a_client_without_an_address_is_a_stranger(peer: object) -> None:
    """Whatever a socket says of it."""
    given = certificates(ManualClock(), HeldAnswers({HELD: b"x"}))
    assert given.fetch(HELD, given.named(peer)) is None


def test_strangers_get_nothing_and_the_log_says_so_once_an_hour() -> None:
    """Without the name that they wanted; and only where there is something to be had."""
    clock, held = ManualClock(), HeldAnswers({HELD: b"x"})
    given = certificates(clock, held)
    peer = given.named(("10.0.0.7", 4711))
    with capture_logs() as lines:
        for _ in range(3):
            assert given.fetch(HELD, peer) is None
        clock.advance(3600)
        given.fetch(HELD, peer)
        clock.advance(3600)
        held.bodies.clear()
        given.fetch(HELD, peer)
    assert [(line["event"], line["client"]) for line in lines] == [("certificate refused to a client", "10.0.0.7")] * 2
    assert HELD not in str(lines)
    assert held.fetched == []


def test_on_the_listener_with_tls_everybody_was_looked_at_before() -> None:
    """By address they are told apart still."""
    held = HeldAnswers({HELD: b"x"})
    given = certificates(ManualClock(), held, authenticated=True)
    assert given.fetch(HELD, given.named(("10.0.0.7", 4711))) is not None
    assert given.fetch(HELD, given.named(("127.0.0.9", 4711, 0, 0))) is not None
    assert held.fetched == [(HELD, "10.0.0.7"), (HELD, "loopback")]


@pytest.mark.parametrize(
    ("fields", "direct"),
    [
        ([("Host", "127.0.0.1:8082"), ("User-Agent", "Go-http-client/1.1"), ("Accept-Encoding", "gzip")], True),
        ([("host", "[::1]:8082")], True),
        ([("Host", "LOCALHOST:8082")], True),
        ([("Host", "localhost")], True),
        ([("Host", "localhost.evil.example")], False),
        ([("Host", "evil.example:8082")], False),
        ([("Host", "127.0.0.1.evil.example")], False),
        ([("Host", "10.0.0.7:8082")], False),
        ([("Host", "[::1")], True),
        ([("Host", "")], False),
        ([("Host", "127.0.0.1"), ("X-FORWARDED-FOR", "127.0.0.1")], False),
        ([("Host", "127.0.0.1"), ("x-real-ip", "127.0.0.1")], False),
        ([("Host", "127.0.0.1"), ("X_Forwarded_Server", "proxy")], False),
        ([("Host", "127.0.0.1"), ("CF-Connecting-IP", "192.0.2.1")], False),
        ([("Host", "127.0.0.1"), ("X-Request-ID", "1")], False),
        ([("Host", "127.0.0.1"), ("Referer", "http://127.0.0.1:8082/")], False),
        ([("Host", "127.0.0.1"), ("Cookie", "a=b")], False),
    ],
)
def test_which_requests_come_directly(fields: list[tuple[str, str]], direct: bool) -> None:
    """And were meant for this machine's own address: no name that somebody has made lead here."""
    assert is_direct(fields) is direct

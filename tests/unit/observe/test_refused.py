"""What is kept of refused messages: how many, how much, how often."""

import pytest

from router.base.clock import ManualClock
from router.observe.refused import BACKEND, BODY, CLIENT, HEAD, RefusedMessages
from router.observe.secrets import blank_secrets


class Kept:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.messages = RefusedMessages(self.clock.monotonic, lambda: self.clock.now().timestamp())

    def note(self, why: str = "bad", raw: bytes = b"x", **values: str) -> bool:
        may = self.messages.may_note()
        if may:
            self.messages.note(CLIENT, HEAD, why, raw, **values)  # type: ignore[arg-type]  # texts only
        return may


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_flood_is_counted_and_not_kept(kept: Kept) -> None:
    """Ten in a second; the rest costs a look at the clock."""
    assert [kept.note(str(number)) for number in range(15)] == [True] * 10 + [False] * 5
    assert (len(kept.messages.all()), kept.messages.skipped) == (10, 5)
    kept.clock.advance(1)
    assert kept.note("next")


def test_the_last_hundred_are_kept(kept: Kept) -> None:
    for number in range(120):
        kept.clock.advance(1)
        kept.note(str(number))
    assert [one.why for one in kept.messages.all()] == [str(number) for number in range(20, 120)]


def test_the_same_again_is_counted_where_it_stands(kept: Kept) -> None:
    """Of one sender: it becomes the latest, with the bytes of the last."""
    start = kept.clock.now().timestamp()
    kept.note("a", b"first", client="192.0.2.1")
    kept.note("b", client="192.0.2.1")
    kept.clock.advance(5)
    kept.note("a", b"second", client="192.0.2.1")
    kept.note("a", b"other", client="192.0.2.2")
    found = [(one.why, one.raw, one.times, one.first_at - start, one.at - start) for one in kept.messages.all()]
    assert found == [("b", b"x", 1, 0, 0), ("a", b"second", 2, 0, 5), ("a", b"other", 1, 5, 5)]


def test_what_a_program_says_is_one_whoever_visits(kept: Kept) -> None:
    for client in ("192.0.2.1", "192.0.2.2"):
        kept.messages.note(BACKEND, HEAD, "bad", b"x", client=client, backend="10.0.0.1:80", host="a.example")
    ((client, times),) = ((one.client, one.times) for one in kept.messages.all())
    assert (client, times) == ("192.0.2.2", 2)


def test_the_bytes_are_bounded(kept: Kept) -> None:
    """A megabyte in all, of which the oldest goes first; the size is the message's own."""
    for number in range(20):
        kept.clock.advance(1)
        kept.note(str(number), b"x" * 200_000)
    found = kept.messages.all()
    assert [one.why for one in found] == [str(number) for number in range(12, 20)]
    assert all((len(one.raw), one.size) == (128 * 1024, 200_000) for one in found)
    kept.clock.advance(1)
    kept.note("19", b"short")
    assert len(kept.messages.all()) == 8
    assert kept.messages._bytes == sum(len(one.raw) for one in kept.messages.all())


def test_of_a_body_only_the_wrong_byte_is_kept(kept: Kept) -> None:
    kept.messages.note(BACKEND, BODY, "bad size", b"a secret x", place=9)
    kept.messages.note(BACKEND, BODY, "trailers", b"a secret x")
    assert [(one.raw, one.place, one.size) for one in kept.messages.all()] == [(b"x", 9, 10), (b"", -1, 10)]


SECRETS = [
    (b"GET /?token=abc&a=b HTTP/1.1\r\nX: 1\r\n\r\n", b"GET /?token=***&a=b HTTP/1.1\r\nX: 1\r\n\r\n"),
    (b"GET /?a=b;sig=abc;c=d HTTP/1.1\r\n\r\n", b"GET /?a=b;sig=***;c=d HTTP/1.1\r\n\r\n"),
    (b"X\r\nAuthorization: Bearer abc\r\nX: 1\r\n", b"X\r\nAuthorization:***********\r\nX: 1\r\n"),
    (b"X\r\nAuthorization : abc\r\n", b"X\r\nAuthorization :****\r\n"),
    (b"X\r\nCookie a=b\r\n", b"X\r\nCookie ***\r\n"),
    (b"X\nCookie\x00: a=b\n", b"X\nCookie\x00:****\n"),
    (b"X\rcookie:a=b\rX: 1", b"X\rcookie:***\rX: 1"),
    (b"X\r\nCookie: a=b;\r\n c=d\r\n\te=f\r\nX: g\r\n", b"X\r\nCookie:*****\r\n****\r\n****\r\nX: g\r\n"),
    (b"X\r\nSet-Cookie: a=b\r\nX-Api-Key: c\r\n", b"X\r\nSet-Cookie:****\r\nX-Api-Key:**\r\n"),
    (b"X\r\nX: msk_abcdefgh ijk\r\n", b"X\r\nX: msk_******** ijk\r\n"),
    (b"X\r\nX: bearer abcdefgh\r\n", b"X\r\nX: bearer ********\r\n"),
    (b"\x16\x03\x01\x00\xff", b"\x16\x03\x01\x00\xff"),
    (b"", b""),
]


@pytest.mark.parametrize(("head", "shown"), SECRETS, ids=range(len(SECRETS)))
def test_secrets_are_blanked_in_their_place(head: bytes, shown: bytes) -> None:
    """Also where the head is no head; all other bytes stay where they were."""
    assert blank_secrets(head) == shown
    assert len(shown) == len(head)

"""Messages on the bus."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.cache.messages import PROBE, BusMessage, decode_message, encode_message

NUMBERS = some.integers(0, 2**53)


@given(
    some.builds(
        BusMessage,
        start=NUMBERS,
        to=NUMBERS,
        changes=some.dictionaries(some.text(max_size=20), NUMBERS, max_size=4),
        at=some.none() | some.floats(0, 2e9),
    )
)
def test_what_is_said_is_heard(news: BusMessage) -> None:
    """Every field."""
    assert decode_message(encode_message(news)) == news


def test_a_probe_is_no_news() -> None:
    """Whoever called hears itself; the others need not care."""
    assert decode_message(PROBE) is None


def test_fields_of_a_newer_version_are_skipped() -> None:
    """A fleet is upgraded one node at a time."""
    assert decode_message(b'{"from":1,"to":2,"keys":{},"at":null,"more":[]}') == BusMessage(1, 2)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"7", b"null", b"{}", b"\xff", b"[" * 9999),
        b'{"from":1,"to":2}',
        b'{"from":1,"to":2,"keys":[]}',
        b'{"from":"x","to":2,"keys":{}}',
        b'{"from":1,"to":2,"keys":{"a":"b"}}',
        b'{"from":1,"to":2,"keys":{},"at":[]}',
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """With one kind of error."""
    with pytest.raises(ValueError):
        decode_message(data)


def test_moves_are_told() -> None:
    """What only moved goes along; who says nothing of it has moved nothing."""
    news = BusMessage(1, 3, {"slug:a": 2, "slug:b": 3}, 1.5, frozenset({"slug:a"}))
    assert decode_message(encode_message(news)) == news
    silent = decode_message(b'{"from":1,"to":2,"keys":{"slug:a":2},"at":null}')
    assert silent is not None
    assert silent.moved == frozenset()

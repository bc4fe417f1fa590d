"""Which reads of a WebSocket are nothing but pings."""

import pytest

from router.http1.pings import only_pings

PING, PONG, MASKED = b"\x89\x00", b"\x8a\x02hi", b"\x89\x82\x01\x02\x03\x04hi"
LONGEST = b"\x8a\x7d" + 125 * b"x"
READS = {
    "a ping": (PING, True),
    "a pong with what the ping said": (PONG, True),
    "a client's, which is masked": (MASKED, True),
    "the longest": (LONGEST, True),
    "several": (PING + MASKED + LONGEST + PONG, True),
    "text": (b"\x81\x02hi", False),
    "bytes": (b"\x82\x01x", False),
    "the rest of a message in parts": (b"\x80\x01x", False),
    "a close frame": (b"\x88\x02\x03\xe8", False),
    "text behind a ping": (PING + b"\x81\x02hi", False),
    "a ping behind text": (b"\x81\x02hi" + PING, False),
    "the middle of a long message": (500 * b"x", False),
    "a ping that goes on in the next read": (LONGEST[:-1], False),
    "a ping without its length": (PONG + b"\x89", False),
    "a ping longer than one may be": (b"\x89\x7e\x00\x7e" + 126 * b"x", False),
    "a ping in parts, which may not be": (b"\x09\x00", False),
    "a reserved bit": (b"\xc9\x00", False),
}


@pytest.mark.parametrize("case", READS)
def test_only_pings(case: str) -> None:
    """Whole pings and pongs, and nothing else: in doubt it is use."""
    data, expected = READS[case]
    assert only_pings(data) is expected

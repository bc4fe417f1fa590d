"""The generator of HTTP/2 requests that differ."""

from pathlib import Path

import pytest
from hpack import Decoder, Encoder

from bench.h2_load import block, is_good, write
from bench.visitors import visits


def _name(number: int) -> str:
    return f"box{number}.example.com"


def test_blocks_say_the_visit_and_depend_on_none_before() -> None:
    """Each by a decoder that has seen no other, since connections take them in any order."""
    for visit in visits(_name, 100):
        expected = [(":method", "GET"), (":scheme", "https"), (":authority", visit.name), (":path", visit.target)]
        expected += [(name.lower(), value) for name, value in visit.fields]
        decoder = Decoder()
        assert [(str(name), str(value)) for name, value in decoder.decode(block(visit))] == expected
        assert len(decoder.header_table.dynamic_entries) == 0


def test_a_file_has_one_whole_frame_for_each_visit(tmp_path: Path) -> None:
    asked = list(visits(_name, 20))
    write(asked, tmp_path / "frames")
    text, found = (tmp_path / "frames").read_bytes(), []
    while text:
        size = int.from_bytes(text[:3], "big")
        assert text[3:9] == b"\x01\x05\0\0\0\0"  # HEADERS that end their block and stream, of a stream to be told
        found.append(text[9 : 9 + size])
        text = text[9 + size :]
    assert found == [block(visit) for visit in asked]


@pytest.mark.parametrize(
    ("status", "good"), [("200", True), ("304", True), ("404", False), ("502", False), ("429", False)]
)
def test_the_status_of_a_response(status: str, *, good: bool) -> None:
    encoder = Encoder()
    assert is_good(encoder.encode([(":status", status), ("content-type", "text/html")])) is good
    encoder.header_table_size = 0  # what is said once: the block begins with it
    assert is_good(encoder.encode([(":status", status)])) is good

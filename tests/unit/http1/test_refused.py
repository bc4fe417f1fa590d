"""Which byte of a refused message was wrong, and which rule it broke."""

import ast
import re
from pathlib import Path

import pytest

from router.http1 import refused
from router.http1.bodies import ChunkedReader, FramingError
from router.http1.heads import RefusedError
from router.http1.refused import bad_request_byte, bad_response_byte, rule_of
from router.http1.repair import HeadRepair
from router.http1.requests import RequestReader, check_start
from router.settings import Limits

LIMITS = Limits()
LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a.example\r\n"
HEAD = LINE + HOST
STATUS = b"HTTP/1.1 200 OK\r\n"


def refusal_of(raw: bytes) -> str:
    try:
        if raw.endswith(b"\r\n\r\n"):
            RequestReader(LIMITS).read(raw)
        else:
            check_start(raw, LIMITS)
    except RefusedError as error:
        return str(error)
    raise AssertionError("it was not refused")


def read_response(raw: bytes) -> None:
    repair = HeadRepair(LIMITS)
    repair.feed(raw)
    repair.head(b"GET")


# The message, cut where the wrong byte begins; and the rule.
REQUESTS = [
    ([HEAD + b"X", b" Y: 1\r\n\r\n"], "RFC 9110 §5.1"),
    ([HEAD + b"X", b" : 1\r\n\r\n"], "RFC 9110 §5.1"),
    ([HEAD + b"X: a", b"\x00b\r\n\r\n"], "RFC 9110 §5.5"),
    ([b"PROPFIND / HTTP/1.1\r\n" + HOST, b" X: 1\r\n\r\n"], "RFC 9112 §5.2"),
    ([b"FOO /x HTTP/1.1\r\n" + HOST + b"X", b" Y: 1\r\n\r\n"], "RFC 9110 §5.1"),
    ([b"FOO /x HTTP/1.0\r\n" + HOST + b"X", b" Y: 1\r\n\r\n"], "RFC 9110 §5.1"),
    ([HEAD + b"X: 1\r", b"Y: 2\r\n\r\n"], "RFC 9112 §2.2"),
    ([HEAD + b"Content-Length: 1", b"x\r\n\r\n"], "RFC 9110 §8.6"),
    ([HEAD + b"Content-Length: ", b"00\r\n\r\n"], "RFC 9110 §8.6"),
    ([HEAD + b"Content-Length: 1\r\nTransfer-Encoding", b": chunked\r\n\r\n"], "RFC 9112 §6.3"),
    ([HEAD + b"Transfer-Encoding: chunked", b", gzip\r\n\r\n"], "RFC 9112 §6.1"),
    ([b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: ", b"chunked\r\n\r\n"], "RFC 9112 §6.1"),
    ([HEAD, HOST + b"X: 1\r\n\r\n"], "RFC 9112 §3.2"),
    ([LINE + b"X: 1\r\n", b"\r\n"], "RFC 9112 §3.2"),
    ([HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n", HOST + b"\r\n"], "RFC 9112 §3.2"),
    ([b"G", b"@T / HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9110 §9.1"),
    ([b"", b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9110 §9.3.6"),
    ([b"", b"hEAD / HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3"),
    ([b"A" * 32, b"A / HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3"),
    ([b"GET /a b", b" HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3"),
    ([b"GET /", b"\r\n" + HOST + b"\r\n"], "RFC 9112 §3"),
    ([b"GET / ", b"HTTP/2.0\r\n" + HOST + b"\r\n"], "RFC 9112 §2.3"),
    ([b"GET / ", b"HTTP/0.9\r\n" + HOST + b"\r\n"], "RFC 9112 §2.3"),
    ([b"GET /a", b"#b HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3.2"),
    ([b"GET ", b"a/b HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3.2"),
    ([b"GET http://", b"b/ HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3.2.2"),
    ([HEAD + b"Expect:  ", b"x\r\nY: 1\r\n\r\n"], "RFC 9110 §10.1.1"),
    ([b"", b"\x16\x03\x01abc"], "RFC 9112 §3"),
    ([HEAD + b"X: 1", b"\nY: 2"], "RFC 9112 §2.2"),
    ([b"GET /" + b"a" * (LIMITS.request_line - 5), b"aaa HTTP/1.1\r\n" + HOST + b"\r\n"], "RFC 9112 §3"),
    ([b"GET /" + b"a" * (LIMITS.request_line - 5), b"aaa"], "RFC 9112 §3"),
    ([HEAD + b"X: " + b"a" * (LIMITS.header - 3), b"aa\r\n\r\n"], "RFC 6585 §5"),
    ([(HEAD + b"X: " + b"a" * 40_000 + b"\r\nY: " + b"a" * 40_000)[: LIMITS.headers], b"a\r\n\r\n"], "RFC 6585 §5"),
    ([HEAD + b"X: 1\r\n" * (LIMITS.header_count - 1), b"X: 1\r\n\r\n"], "RFC 6585 §5"),
]


@pytest.mark.parametrize(("parts", "source"), REQUESTS, ids=range(len(REQUESTS)))
def test_the_byte_of_a_request(parts: list[bytes], source: str) -> None:
    raw = b"".join(parts)
    why = refusal_of(raw)
    assert bad_request_byte(raw, why, LIMITS) == len(parts[0]), why
    assert rule_of(why).source == source


RESPONSES = [
    ([STATUS + b"X", b"\r\n\r\n"], "RFC 9112 §5"),
    ([STATUS, b": y\r\n\r\n"], "RFC 9112 §5"),
    ([STATUS + b"X", b"(: y\r\n\r\n"], "RFC 9112 §5"),
    ([b"", b"SSH-2.0\r\n"], "RFC 9112 §4"),
    ([b"HTTP/1.1 ", b" 200 OK\r\n\r\n"], "RFC 9112 §4"),
    ([STATUS + b"Content-Length: 1\r\n", b"Content-Length: 2\r\nX: 1\r\n\r\n"], "RFC 9112 §6.3"),
    ([STATUS, b"Content-Length: x\r\nA: b\r\n\r\n"], "RFC 9112 §6.3"),
    ([STATUS + b"A: b", b"\x00c\r\n\r\n"], "RFC 9110 §5.5"),
    ([STATUS + b"A: b\r", b"c\r\n\r\n"], "RFC 9112 §2.2"),
    ([STATUS + b"A: b\nC: d\r", b"\n\r\n"], "RFC 9112 §2.2"),
    ([STATUS + b"A: b\r\n", b"Transfer-Encoding: gzip\r\n\r\n"], "RFC 9112 §6.1"),
    ([STATUS + b"A: b\n", b"Transfer-Encoding: gzip\n\n"], "RFC 9112 §6.1"),
    ([b"HTTP/1.0 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n"], "RFC 9112 §6.1"),
    ([b"", b"HTTP/1.1 101 S\r\nA: b\r\n\r\n"], "RFC 9110 §15.2.2"),
    ([STATUS + b"A: b\r\n \r", b"\n\r\n"], "RFC 9112 §5.2"),
    ([(STATUS + b"A: " + b"x" * 70_000)[: LIMITS.headers], b"x\r\n\r\n"], "limits.headers, limits.header_count"),
]


@pytest.mark.parametrize(("parts", "source"), RESPONSES, ids=range(len(RESPONSES)))
def test_the_byte_of_a_response(parts: list[bytes], source: str) -> None:
    raw = b"".join(parts)
    with pytest.raises(RefusedError) as caught:
        read_response(raw)
    why = str(caught.value)
    assert rule_of(why).source == source, why
    assert bad_response_byte(raw, why, b"GET", LIMITS) == len(parts[0]), why


CHUNKS = [
    ([b"5\r\nhello\r\n", b"x\r\n"], True),
    ([b"5\r\nhello", b"!\r\n"], True),
    ([b"5", b" \r\nhello"], False),
    ([b"5;a", b"\x00\r\n"], True),
    ([b"1\r", b"x"], True),
]


@pytest.mark.parametrize(("parts", "lenient"), CHUNKS, ids=range(len(CHUNKS)))
@pytest.mark.parametrize("before", [b"", b"3\r\nabc\r\n", b"3\r\nabc\r\n0"])
def test_the_byte_of_a_body(parts: list[bytes], lenient: bool, before: bytes) -> None:
    """In the piece that was read, whatever came before it."""
    reader = ChunkedReader(LIMITS.headers, lenient=lenient)
    reader.feed(before)
    with pytest.raises(FramingError) as caught:
        reader.feed(b"".join(parts))
    assert reader.bad_byte(b"".join(parts)) == len(parts[0])
    assert rule_of(str(caught.value)).source.startswith("RFC 9112 §7.1")


def test_the_byte_of_trailers_is_not_known() -> None:
    reader = ChunkedReader(LIMITS.headers)
    reader.feed(b"0\r\n")
    with pytest.raises(FramingError):
        reader.feed(b"X\r\n\r\n")
    assert reader.bad_byte(b"X\r\n\r\n") == -1


def test_what_is_not_refused_has_no_byte() -> None:
    """By other limits, as after a reload, what was refused may be right: then it is the end."""
    head = HEAD + b"\r\n"
    assert bad_request_byte(head, "The request's header X has", LIMITS) == len(head) - 2
    assert bad_request_byte(head, "more than one Host", LIMITS) == len(head) - 2
    response = STATUS + b"Content-Length: 0\r\n\r\n"
    assert bad_response_byte(response, "its trailers", b"GET", LIMITS) == len(response) - 2
    assert bad_response_byte(STATUS, "its trailers", b"GET", LIMITS) == len(STATUS)


def _words() -> set[str]:
    """The words of every refusal in the readers' sources; of those with values in them, the words before."""
    found = set()
    for name in ("requests", "request_sizes", "heads", "repair", "responses", "bodies"):
        tree = ast.parse((Path(refused.__file__).with_name(f"{name}.py")).read_text(encoding="utf-8"))
        constants = {
            node.target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            place = {"RefusedError": 1, "FramingError": 0, "_refusal": 0}.get(node.func.id)
            if place is None or len(node.args) <= place:
                continue
            word = node.args[place]
            if isinstance(word, ast.Name):
                word = ast.Constant(constants.get(word.id))
            if isinstance(word, ast.JoinedStr):
                word = word.values[0]
            if isinstance(word, ast.Constant) and isinstance(word.value, str):
                found.add(word.value)
    return found


def test_every_refusal_has_its_rule() -> None:
    """No refusal of ours is answered with the general one."""
    words = _words()
    assert len(words) > 40
    general = rule_of("something that nobody says")
    # Those with a number in them begin with what all of their kind say.
    assert {one for one in words if rule_of(one) == general and not one.startswith("it has more than ")} == set()
    assert rule_of("it has more than 1000 header lines") != general
    assert all(re.match(r"RFC \d{4} §|limits\.", rule.source) for _, rule in refused._COMPILED)

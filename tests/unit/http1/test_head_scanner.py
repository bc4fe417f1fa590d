"""A usual head in one pass: what it accepts, the readers accept with the same outcome, and C and Python agree to the byte."""

import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import router.http1

FOLDER: Final = Path(router.http1.__path__[0])


def load(file: Path) -> ModuleType:
    """The module as this very file has it, whichever of both Python prefers."""
    spec = importlib.util.spec_from_file_location("router.http1.head_scanner", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    spec.loader.exec_module(module)
    if before is not None:
        sys.modules[spec.name] = before
    return module


COMPILED: Final = FOLDER / f"head_scanner{sysconfig.get_config_var('EXT_SUFFIX')}"
SCANNERS: Final = {"python": load(FOLDER / "head_scanner.py")} | ({"c": load(COMPILED)} if COMPILED.exists() else {})

WORDS: Final = (
    (b"host", b"referer"),
    (b"x-request-id",),
    (b"keep-alive",),
    (b"upgrade", b"x-real-ip"),
    (b"x-miosa-", b"ssl-client-"),
    {b"set-cookie": b"domain"},
    {b"cookie": b"__host-miosa"},
)

SECTIONS: Final = {
    "all go on": (b"Host: a\r\nAccept: */*\r\n", (b"Host: a\r\nAccept: */*\r\n", b"a", b"", b"", b"", b"")),
    "blanks around": (b"Host: \t a \t\r\n", (b"Host: \t a \t\r\n", b"a", b"", b"", b"", b"")),
    "no blanks": (b"host:a\r\n", (b"host:a\r\n", b"a", b"", b"", b"", b"")),
    "a value that leaves": (
        b"Host: a\r\nX-Request-ID: 7\r\nB: c\r\n",
        (b"Host: a\r\nB: c\r\n", b"a", b"", b"7", b"", b""),
    ),
    "a line that leaves": (b"KEEP-ALIVE: 5\r\nHost: a\r\n", (b"Host: a\r\n", b"a", b"", b"", b"", b"")),
    "nothing": (b"", (b"", b"", b"", b"", b"", b"")),
    "an empty value": (b"B:\r\nC: \r\n", (b"B:\r\nC: \r\n", b"", b"", b"", b"", b"")),
    "a long value with blanks": (
        b"B: 12345678\t12345678 12345678\xff\r\n",
        (b"B: 12345678\t12345678 12345678\xff\r\n", b"", b"", b"", b"", b""),
    ),
    "bytes beyond ASCII": (b"B: \x80\xff\r\n", (b"B: \x80\xff\r\n", b"", b"", b"", b"", b"")),
    "a cookie of others": (b"Cookie: a=b\r\n", (b"Cookie: a=b\r\n", b"", b"", b"", b"", b"")),
    "a cookie that is marked": (
        b"Host: a\r\nCookie: a=b; __HOST-miosa=c\r\n",
        (b"Host: a\r\n", b"a", b"", b"", b"a=b; __HOST-miosa=c", b""),
    ),
    "a cookie that is marked, and more": (
        b"Host: a\r\nCookie: __Host-miosa=c\r\nKeep-Alive: 5\r\nB: c\r\n",
        (b"Host: a\r\n", b"a", b"", b"", b"__Host-miosa=c", b"B: c\r\n"),
    ),
    "a cookie for a host": (b"Set-Cookie: a=b\r\n", (b"Set-Cookie: a=b\r\n", b"", b"", b"", b"", b"")),
    "a name that is like a beginning": (b"X-Miosa: a\r\n", (b"X-Miosa: a\r\n", b"", b"", b"", b"", b"")),
    "the same line twice": (b"B: c\r\nB: c\r\n", (b"B: c\r\nB: c\r\n", b"", b"", b"", b"", b"")),
    "the longest name": (b"n" * 64 + b": a\r\n", (b"n" * 64 + b": a\r\n", b"", b"", b"", b"", b"")),
}

UNUSUAL: Final = {
    "a name": b"Upgrade: h2c\r\n",
    "a name in any case": b"x-REAL-ip: ::1\r\n",
    "a beginning": b"SSL-Client-Verify: SUCCESS\r\n",
    "our own": b"X-Miosa-Hops: 1\r\n",
    "a line that is watched": b"Set-Cookie: a=b; domain=c\r\n",
    "a line that is watched in any case": b"SET-COOKIE: a=b; Domain=c\r\n",
    "a cookie that is marked and written otherwise": b"cookie: __Host-miosa=a\r\n",
    "two cookies that are marked": b"Cookie: __Host-miosa=a\r\nCookie: __Host-miosa=a\r\n",
    "a value twice": b"Host: a\r\nHost: a\r\n",
    "a value that is empty": b"Host: \t\r\n",
    "a name with an underscore": b"X_Request_ID: 7\r\n",
    "a name with a dot": b"x.y: 7\r\n",
    "a name that is too long": b"n" * 65 + b": a\r\n",
    "an empty name": b": a\r\n",
    "a blank before the colon": b"Host : a\r\n",
    "a folded line": b"B: c\r\n d\r\n",
    "a line without a colon": b"B\r\n",
    "a bare LF": b"B: c\nD: e\r\n",
    "a bare CR": b"B: c\rd\r\n",
    "a control character": b"B: \x00\r\n",
    "a DEL": b"B: \x7f\r\n",
    "a control character in a long value": b"B: 1234567890123456\x1f1234567890\r\n",
    "a DEL in a long value": b"B: 1234567890123456\x7f1234567890\r\n",
    "another empty line": b"\r\nB: c\r\n",
    "two CRs": b"B: c\r\r\n",
}


def names(module: ModuleType) -> Any:
    return module.Names(*WORDS)


@pytest.fixture(params=sorted(SCANNERS))
def module(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = SCANNERS[request.param]
    return found


@pytest.mark.parametrize(("section", "expected"), SECTIONS.values(), ids=SECTIONS)
def test_a_usual_head(module: ModuleType, section: bytes, expected: tuple[bytes, ...]) -> None:
    """The block of the lines that go on, and the values."""
    raw = b"GET /a?b HTTP/1.1\r\n" + section + b"\r\n"
    assert module.scan_request(raw, names(module), 100, 10) == (b"GET", b"/a?b", *expected)
    assert module.scan_response(b"any line\r\n" + section + b"\r\n", names(module), 10) == (b"any line", *expected)


@pytest.mark.parametrize("section", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_line(module: ModuleType, section: bytes) -> None:
    """Is for others to judge, wherever it stands."""
    for before, after in ((b"", b""), (b"A: b\r\n", b""), (b"", b"A: b\r\n")):
        raw = b"GET / HTTP/1.1\r\n" + before + section + after + b"\r\n"
        assert module.scan_request(raw, names(module), 100, 10) is None
        assert module.scan_response(raw, names(module), 10) is None


@pytest.mark.parametrize(
    "line",
    [
        b"get / HTTP/1.1",
        b"BREW / HTTP/1.1",
        b"GETS / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.1 ",
        b"GET /#a HTTP/1.1",
        b"GET /\x80 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET http://a/ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /" + b"a" * 100 + b" HTTP/1.1",
        b"GET /",
        b"",
    ],
)
def test_an_unusual_request_line(module: ModuleType, line: bytes) -> None:
    """Is for others to judge."""
    assert module.scan_request(line + b"\r\nHost: a\r\n\r\n", names(module), 100, 10) is None


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
def test_usual_methods(module: ModuleType, method: bytes) -> None:
    """With a request line up to the limit."""
    line = method + b" /a HTTP/1.1"
    raw = line + b"\r\nHost: a\r\n\r\n"
    assert module.scan_request(raw, names(module), len(line), 10)[0] == method
    assert module.scan_request(raw, names(module), len(line) - 1, 10) is None


def test_as_many_lines_as_may_be(module: ModuleType) -> None:
    """More are for others to judge, and so are many stretches of lines that stay."""
    raw = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10 + b"\r\n"
    assert module.scan_request(raw, names(module), 100, 10) is not None
    assert module.scan_request(raw, names(module), 100, 9) is None
    for stretches, expected in ((64, True), (65, False)):
        raw = b"GET / HTTP/1.1\r\n" + b"A: b\r\nKeep-Alive: 5\r\n" * stretches + b"\r\n"
        assert (module.scan_request(raw, names(module), 100, 200) is not None) is expected


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\n\n", b"\r\n\r", b"\r\n\r\nGET", b"\r\n\r\n\r\n"])
def test_what_is_no_single_head(module: ModuleType, end: bytes) -> None:
    """It ends with its empty line, and nothing comes behind that."""
    raw = b"GET / HTTP/1.1\r\nHost: a" + end
    assert module.scan_request(raw, names(module), 100, 10) is None
    assert module.scan_response(raw, names(module), 10) is None


PIECES = st.sampled_from(
    (
        *(
            b"GET ",
            b"/",
            b" HTTP/1.1\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b": ",
            b":",
            b" ",
            b"\t",
            b"\r",
            b"\n",
            b"_",
            b"\x00",
            b"\xe9",
        ),
        *(
            b"Host",
            b"Cookie",
            b"Set-Cookie: ",
            b"DOMAIN",
            b"X-Request-ID",
            b"Keep-Alive",
            b"x-miosa-a",
            b"__host-MIOSA",
        ),
        *(b"Referer", b"a", b"abcdefgh", b"\x7f", b"\x1f", b"Accept: */*\r\n", b"Cookie: a=b\r\n", b"Host: a\r\n"),
    )
)


@given(st.lists(PIECES, max_size=30).map(b"".join), st.integers(0, 40), st.integers(0, 5))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 40, 5)
@pytest.mark.skipif("c" not in SCANNERS, reason="it is not compiled: `make install`")
def test_both_agree(raw: bytes, most_line: int, most_lines: int) -> None:
    """Whatever the bytes are."""
    raw = b"GET / HTTP/1.1\r\n" * (len(raw) % 2) + raw
    requests = [one.scan_request(raw, names(one), most_line, most_lines) for one in SCANNERS.values()]
    assert requests[0] == requests[1]
    responses = [one.scan_response(raw, names(one), most_lines) for one in SCANNERS.values()]
    assert responses[0] == responses[1]

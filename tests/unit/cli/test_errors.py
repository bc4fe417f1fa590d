"""How `errors` shows what was refused."""

from typing import Any

import pytest

from router.cli.errors import caret_lines, error_lines

ONE: dict[str, Any] = {
    "at": 1_700_000_000.0,
    "first_at": 1_699_999_000.0,
    "count": 1,
    "side": "client",
    "part": "head",
    "host": "shop.miosa.app",
    "client_network": "203.0.113.0/24",
    "backend": None,
    "request_id": "req_1",
    "why": "Invalid header token",
    "rule": "A header's name is a token with the colon right behind it.",
    "source": "RFC 9110 §5.1",
    "offset": 34,
    "size": 43,
    "before": r"Host: shop.miosa.app\r\nX",
    "byte": " ",
    "after": r"Y: 1\r\n\r\n",
}


def lines(*errors: dict[str, Any], skipped: int = 0, silent: int = 0) -> list[str]:
    return list(error_lines({"errors": list(errors), "skipped": skipped, "silent": silent}, None))


def test_an_error_of_a_request() -> None:
    assert lines(ONE) == [
        "2023-11-14T22:13:20Z request shop.miosa.app from 203.0.113.0/24 req_1",
        "    Invalid header token. RFC 9110 §5.1: A header's name is a token with the colon right behind it.",
        "    byte 34 of 43:",
        r"    Host: shop.miosa.app\r\nX Y: 1\r\n\r\n",
        "                             ^",
        "",
        "1 refused",
    ]


def test_an_error_of_a_backend_in_a_body() -> None:
    """It says how often, and which program."""
    one = ONE | {"side": "backend", "part": "body", "backend": "10.0.0.1:80", "count": 3, "offset": 5, "byte": r"\x00"}
    assert lines(one, skipped=7, silent=1) == [
        "2023-11-14T22:13:20Z backend's response body shop.miosa.app from 203.0.113.0/24 by 10.0.0.1:80 req_1, 3 times since 2023-11-14T21:56:40Z",
        "    Invalid header token. RFC 9110 §5.1: A header's name is a token with the colon right behind it.",
        r"    byte 5 of 43 of the piece that was read: \x00",
        "",
        "1 refused",
        "7 more came too fast to be kept",
        "1 workers do not answer: theirs are missing",
    ]


def test_nothing_was_refused() -> None:
    assert lines() == ["nothing was refused since the start"]
    assert len(lines(ONE | {"offset": None})) == 4


@pytest.mark.parametrize("columns", [24, 40, 80, 200])
@pytest.mark.parametrize("byte", ["x", r"\x00", r"\n"])
def test_the_caret_is_under_the_byte_and_both_fit(columns: int, byte: str) -> None:
    """Bytes that are left out are left out whole."""
    before, after = r"\r\n\x00a" * 40, r"\\b\x01" * 40
    shown, caret = caret_lines(before, byte, after, columns)
    assert len(shown) <= columns
    place = caret.index("^")
    assert shown[place : place + len(byte)] == byte
    assert caret[place:] == "^" * len(byte)
    assert before.endswith(shown[4:place])
    assert after.startswith(shown[place + len(byte) :])
    assert shown[4:place].startswith(("\\r", "\\n", "\\x00", "a"))


def test_a_message_that_ends_too_soon_has_its_caret_behind_it() -> None:
    assert list(caret_lines(r"HTTP/1.1 200 OK\r\n", "", "", 80)) == [r"    HTTP/1.1 200 OK\r\n", " " * 23 + "^"]

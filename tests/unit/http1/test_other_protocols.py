"""What a program's first bytes say of the protocol that it speaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import errors
from router.errors import EDGE_PROBLEMS, Problem
from router.http1.other_protocols import recognise

TLS, SSH, HTTP2 = errors.SPEAKS_TLS, errors.SPEAKS_SSH, errors.SPEAKS_HTTP2
OTHER, UNKNOWN = errors.SPEAKS_ANOTHER_PROTOCOL, errors.BAD_BACKEND_RESPONSE

FIRST_BYTES = [
    (b"\x15\x03\x01\x00\x02\x02\x46", TLS),  # alert of protocol_version, TLS 1.0 record
    (b"\x15\x03\x03\x00\x02\x02\x16", TLS),
    (b"\x15", TLS),
    (b"\x16\x03\x03\x00\x7a\x02", TLS),
    (b"\x15\x02", UNKNOWN),
    (b"SSH-2.0-OpenSSH_9.6\r\n", SSH),
    (b"SSH-2.0-dropbear\r\n", SSH),
    (b"SSH-1.99-Cisco\r\n", SSH),
    (b"SSH is not served here", UNKNOWN),
    (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00", HTTP2),
    (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", HTTP2),
    (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05", HTTP2),
    (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00", HTTP2),
    (b"-ERR unknown command 'GET'\r\n", OTHER),
    (b"-NOAUTH Authentication required.\r\n", OTHER),
    (b"J\x00\x00\x00\x0a8.0.36\x00", OTHER),
    (b"E\x00\x00\x00\xff\x6a\x04Host is not allowed", OTHER),
    (b"E\x00\x00\x00\x84SFATAL\x00", OTHER),
    (b"220 mail.example.com ESMTP Postfix\r\n", OTHER),
    (b"220-FileZilla Server\r\n", OTHER),
    (b"421 Too many connections\r\n", OTHER),
    (b"* OK IMAP4rev1\r\n", OTHER),
    (b"+OK POP3 ready\r\n", OTHER),
    (b"RFB 003.008\n", OTHER),
    (b"ERROR\r\n", OTHER),
    (b'INFO {"server_id":"x"}\r\n', OTHER),
    (b"AMQP\x00\x00\x09\x01", OTHER),
    (b"\xff\xfd\x18", OTHER),
    (b"", UNKNOWN),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", UNKNOWN),
    (b"hello\r\n", UNKNOWN),
    (b"<html>", UNKNOWN),
    (b"Error: no\r\n", UNKNOWN),
]


@pytest.mark.parametrize(("first", "expected"), FIRST_BYTES)
def test_protocols(first: bytes, expected: Problem) -> None:
    """By their specifications; of what nobody knows nothing is claimed."""
    assert recognise(first) is expected


@given(st.binary(max_size=80))
def test_any_bytes_are_a_bad_response(first: bytes) -> None:
    """Whatever it is called, the code is one, and the row is tested with the others."""
    problem = recognise(first)
    assert problem.code == "bad_backend_response"
    assert problem in EDGE_PROBLEMS


@given(st.sampled_from([first for first, _ in FIRST_BYTES]), st.binary(max_size=80))
def test_what_follows_changes_nothing(first: bytes, rest: bytes) -> None:
    """Where the beginning tells, it tells however much has come."""
    if recognise(first) is not UNKNOWN and len(first) > 1:
        assert recognise(first + rest) is recognise(first)

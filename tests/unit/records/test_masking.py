"""Secrets in captures: masked by their names, wherever they stand, also in a body that was cut off anywhere."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records.masking import Masks

SECRET = "hunter2hunter2"
MASKS = Masks(("X-Pass-Through", "iban"))

SECRET_NAMES = (
    "authorization",
    "Proxy-Authorization",
    "Cookie",
    "set-cookie",
    "X-API-Key",
    "x-api-key",
    "apiKey",
    "api_key",
    "access_token",
    "X-CSRF-Token",
    "refreshToken",
    "client_secret",
    "clientSecret",
    "password",
    "new_password",
    "passwd",
    "passphrase",
    "X-Amz-Security-Token",
    "X-Hub-Signature-256",
    "session_id",
    "sid",
    "X-Auth",
    "pwd",
    "otp",
    "jwt",
    "private_key",
    "aws_secret_access_key",
    "x-pass-through",
    "IBAN",
)
PLAIN_NAMES = (
    "accept",
    "Content-Type",
    "author",
    "authority",
    "WWW-Authenticate",
    "X-Request-ID",
    "email",
    "keyboard",
    "monkey",
    "passenger",
    "Sec-WebSocket-Version",
    "id",
    "pinned",
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    """As a header, as a parameter of a query, as a field of a form and of JSON."""
    assert MASKS.header(name, SECRET) == ("***", True)
    assert MASKS.target(f"/a?b=1&{name}={SECRET}&c=2") == f"/a?b=1&{name}=***&c=2"
    form = MASKS.body(f"{name}={SECRET}&b=1".encode(), "application/x-www-form-urlencoded; charset=utf-8", "")
    assert form == f"{name}=***&b=1".encode()
    assert json.loads(MASKS.body(json.dumps({name: SECRET, "b": 1}).encode(), "application/json", "")) == {
        name: "***",
        "b": 1,
    }


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_of_what_is_no_secret(name: str) -> None:
    """They stay as they are."""
    assert MASKS.header(name, "value") == ("value", False)
    assert MASKS.target(f"/a?{name}=value") == f"/a?{name}=value"
    body = json.dumps({name: "value"}).encode()
    assert MASKS.body(body, "application/json", "") == body


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"https://shop.example/in?state=1&token={SECRET}", "https://shop.example/in?state=1&token=***"),
        (f"Bearer {SECRET}", "Bearer ***"),
        (f"https://user:{SECRET}@shop.example/", "https://user:***@shop.example/"),
        ("msk_live_abcdefgh", "msk_***"),
        ("text/html", "text/html"),
        (f"https://shop.example/#access_token={SECRET}&a=b", "https://shop.example/#access_token=***&a=b"),
        (f"/in?a=b#id_token={SECRET}", "/in?a=b#id_token=***"),
    ],
)
def test_secrets_in_other_headers(value: str, shown: str) -> None:
    """What looks like one is masked in any header."""
    assert MASKS.header("Referer", value) == (shown, shown != value)


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "shown"),
    [
        ("text/html", "", b'<script>let a = {"token": "x"}</script>', b'<script>let a = {"token": "***"}</script>'),
        ("text/event-stream", "", b'data: {"api_key":"x"}\n\n', b'data: {"api_key":"***"}\n\n'),
        ("", "", b'{"password":{"old":["x"],"new":"y"},"b":2}', b'{"password":"***","b":2}'),
        ("application/json", "", b'{"password":["x", {"y": "z', b'{"password":"***"'),
        ("application/json", "", b'{"password": "x\\"y', b'{"password": "***"'),
        ("application/json", "", b'{"pass\\u0077ord": 17, "b": 2}', b'{"pass\\u0077ord": "***", "b": 2}'),
        ("application/json", "identity", b'{"token":}', b'{"token":}'),
        ("application/json", "", '{"token": "x"}'.encode("utf-16"), b"***"),
        ("application/json", "gzip", b"\x1f\x8b\0", b"\x1f\x8b\0"),
        ("image/png", "", b"\x89PNG\0", b"\x89PNG\0"),
        ("application/x-www-form-urlencoded", "", b"user%5Bpassword%5D=x&a=b", b"user%5Bpassword%5D=***&a=b"),
        ("application/x-www-form-urlencoded", "", b"a.token=x;b=c", b"a.token=***;b=c"),
        (
            'multipart/form-data; boundary="b"',
            "",
            (
                b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nx\r\n--b\r\n'
                b'Content-Disposition: form-data; name="a"\r\n\r\nb\r\n--b--'
            ),
            (
                b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n***\r\n--b\r\n'
                b'Content-Disposition: form-data; name="a"\r\n\r\nb\r\n--b--'
            ),
        ),
        (
            "multipart/form-data; boundary=b",
            "",
            (
                b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n{"token":"x"}\r\n--b\r\n'
                b"Content-Type: text/plain\r\n\r\nmsk_live_abcdefgh\r\n--b--"
            ),
            (
                b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n{"token":"***"}\r\n--b\r\n'
                b"Content-Type: text/plain\r\n\r\nmsk_***\r\n--b--"
            ),
        ),
        (
            "multipart/form-data; boundary=b",
            "",
            b'--b\nContent-Disposition: form-data; name="token"\n\nx\n--b--',
            b'--b\nContent-Disposition: form-data; name="token"\n\n***--b--',
        ),
        (
            "application/x-www-form-urlencoded",
            "",
            b"payload=%7B%22token%22%3A%22x%22%7D&a=%22b%22",
            b"payload=***&a=%22b%22",
        ),
        ("application/x-www-form-urlencoded", "", b'{"password":"x"}', b'{"password":"***"}'),
        ("application/json", "", rb'{"a":"{\"token\":\"x\"}"}', rb'{"a":"{\"token\":\"***\"}"}'),
        ("application/json", "", rb'["{\"token\":\"x\\', rb'["{\"token\":\"***\""'),
        ("application/json", "", rb'"{\"a\":\"b\"}"', rb'"{\"a\":\"b\"}"'),
        ("multipart/form-data", "", b"--b", b"***"),
        ("text/plain", "", b"my key is msk_live_abcdefgh", b"my key is msk_***"),
    ],
)
def test_bodies(content_type: str, encoding: str, body: bytes, shown: bytes) -> None:
    """Of each kind."""
    assert MASKS.body(body, content_type, encoding) == shown


_PLAIN_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).filter(
    lambda text: not MASKS.is_secret(text)
)
_HIDDEN = st.one_of(
    st.just(SECRET),
    st.builds(lambda a, b: f"{a}{SECRET}{b}", st.text(max_size=4), st.text(max_size=4)),
    st.builds(lambda value: [value, {"a": value}], st.just(SECRET)),
    st.builds(lambda value: {"deep": [[value]], value: 1}, st.just(SECRET)),
)
_PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), _PLAIN_TEXT)
_OBJECT: Callable[..., Any] = lambda inner: st.dictionaries(  # noqa: E731 - it is handed on
    st.sampled_from([*SECRET_NAMES, *PLAIN_NAMES]), inner, max_size=4
).flatmap(
    lambda found: st.fixed_dictionaries(
        {name: _HIDDEN if MASKS.is_secret(name) else st.just(value) for name, value in found.items()}
    )
)
_DOCUMENTS = st.recursive(_PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), _OBJECT(inner)), max_leaves=12)


@given(document=_DOCUMENTS, cut=st.integers(0, 10_000), pretty=st.booleans(), ascii_only=st.booleans())
def test_no_secret_of_a_document_is_left(document: Any, cut: int, pretty: bool, ascii_only: bool) -> None:
    """Nothing under a secret name, wherever the body was cut off; the rest stays as it was, and JSON that was whole is JSON."""
    text = json.dumps(document, indent=2 if pretty else None, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "surrogatepass")
    masked = MASKS.body(body, "application/json", "")
    assert json.loads(masked.decode("utf-8", "surrogatepass")) == _masked(document)
    part = MASKS.body(body[: cut % (len(body) + 1)], "application/json", "")
    assert SECRET.encode() not in part
    assert SECRET[:6].encode() not in part


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if MASKS.is_secret(key) else _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


@given(document=_DOCUMENTS, cut=st.integers(0, 10_000), times=st.integers(1, 3))
def test_no_secret_of_a_document_in_a_string_is_left(document: Any, cut: int, times: int) -> None:
    """Nor in a string in a string, wherever it was cut off; what is whole says the same as before but for the secrets."""
    text = json.dumps(document)
    for _ in range(times):
        text = json.dumps({"body": text})
    body = text.encode()
    masked: Any = json.loads(MASKS.body(body, "application/json", ""))
    for _ in range(times):
        masked = json.loads(masked["body"])
    assert masked == _masked(document)
    assert SECRET[:6].encode() not in MASKS.body(body[: cut % (len(body) + 1)], "application/json", "")


@given(
    fields=st.dictionaries(st.sampled_from([*SECRET_NAMES, *PLAIN_NAMES]), st.text(max_size=10), max_size=6),
    cut=st.integers(0, 10_000),
)
def test_no_secret_of_a_form_is_left(fields: dict[str, str], cut: int) -> None:
    """Wherever it was cut off."""
    sent = {name: SECRET if MASKS.is_secret(name) else value for name, value in fields.items()}
    body = urlencode(sent).encode()
    masked = MASKS.body(body[: cut % (len(body) + 1)], "application/x-www-form-urlencoded", "")
    assert SECRET[:1].encode() + b"unter" not in masked


@given(body=st.binary(max_size=300), content_type=st.sampled_from(["application/json", "text/plain", "multipart/form-data; boundary=a", ""]))  # fmt: skip
def test_any_bytes(body: bytes, content_type: str) -> None:
    """Nothing that a program sends makes it fail."""
    MASKS.body(body, content_type, "")

"""Which headers and structured data a drain may have."""

import pytest

from router.base.secret_box import SecretBox, SecretLostError
from router.drains.credentials import (
    Credentials,
    is_structured_data,
    open_credentials,
    refusal_of_header,
    seal_credentials,
)
from tests.support.log_drains import drain


@pytest.mark.parametrize("name", ["DD-API-KEY", "Authorization", "X-Scope-OrgID", "api_key", "Accept", "Cookie"])
def test_headers_that_services_want(name: str) -> None:
    """Are taken."""
    assert refusal_of_header(name, "a b=c") is None


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "a b", "a:b", "ä", "a\r\nb", "Host", "content-length", "Content-Type", "Content-Encoding",
        "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Expect", "Keep-Alive", "Proxy-Authorization",
        "Miosa-Signature", "X-MIOSA-Signature", "webhook-id", "User-Agent", "a" * 101,
    ],
)  # fmt: skip
def test_headers_that_are_refused(name: str) -> None:
    """What is no name, describes the message, or is the router's to say."""
    assert refusal_of_header(name, "value") is not None


@pytest.mark.parametrize(
    "value", ["", " a", "a ", "a\r\nb: c", "a\nb", "a\x00b", "ä", "a\x7f", "a" * 1001, "\t"], ids=repr
)
def test_values_that_are_refused(value: str) -> None:
    """What would end the header, or is not plain ASCII."""
    assert refusal_of_header("X-Key", value) is not None


@pytest.mark.parametrize("text", ["[a@1]", '[tok@41058 tag="x" b="\\"\\]\\\\"]', '[a@1][b@2 c=""]'])
def test_structured_data(text: str) -> None:
    """As RFC 5424 §6.3 has it."""
    assert is_structured_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "a", "[", "[]", "[a@1", "a@1]", "[a@1 b]", "[a@1 b=c]", '[a@1 b="]"]', '[a@1 b="c" ]', "[a@1] [b@2]",
        '[a@1 b="\n"]', "[a@1]\n", '[a@1 b="ä"]', "[" + "a" * 33 + "]", '[a@1 b="' + "c" * 1000 + '"]', '[a@1 b="\\n"]',
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_structured_data(text: str) -> None:
    """Would end the field or the line."""
    assert not is_structured_data(text)


def test_credentials_are_sealed_for_their_drain() -> None:
    """They can't be moved to another drain's row, nor read from it."""
    box = SecretBox([b"k" * 32])
    credentials = Credentials(headers={"X-Key": "hunter2"})
    sealed = seal_credentials(box, "d1", credentials)
    assert sealed is not None
    assert "hunter2" not in sealed
    assert open_credentials(box, drain(id="d1", credentials=sealed)) == credentials
    with pytest.raises(SecretLostError):
        open_credentials(box, drain(id="d2", credentials=sealed))
    assert "hunter2" not in repr(credentials)

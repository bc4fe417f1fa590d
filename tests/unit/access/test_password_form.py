"""The form with a password, as bytes: what a browser sends is read, anything else is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.access.password_form import MAX_SIZE, FormError, read_form

TYPE = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b"password=open", ("open", b"")),
        (b"next=%2Fa%3Fb&password=open+s%C3%A9same%21", ("open sésame!", b"/a?b")),
        (b"&&password=a&other=b&other=c&&", ("a", b"")),
        (b"password=a=b&next", ("a=b", b"")),
        (b"%70assword=a", ("a", b"")),
        (b"password=a&next=%FF", ("a", b"\xff")),
        ("password=é".encode(), ("é", b"")),
    ],
)
@pytest.mark.parametrize("typed", [TYPE, TYPE + b"; charset=utf-8", b" Application/X-WWW-Form-UrlEncoded ;"])
def test_what_browsers_send(typed: bytes, body: bytes, read: tuple[str, bytes]) -> None:
    """The password, and where it leads."""
    assert read_form(typed, body) == read


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        (None, b"password=a"),
        (b"text/plain", b"password=a"),
        (b"multipart/form-data", b"password=a"),
        (TYPE + b"x", b"password=a"),
        (TYPE, b""),
        (TYPE, b"password"),
        (TYPE, b"password="),
        (TYPE, b"PASSWORD=a"),
        (TYPE, b"password=a&password=a"),
        (TYPE, b"next=a&next=a&password=a"),
        (TYPE, b"password=%"),
        (TYPE, b"password=%a"),
        (TYPE, b"password=%ag"),
        (TYPE, b"password=a&%x=b"),
        (TYPE, b"password=%ff"),
        (TYPE, b"password=\xff"),
        (TYPE, b"password=%c0%80"),
        (TYPE, b"a=b&" * 16 + b"password=a"),
        (TYPE, b"password=" + b"a" * MAX_SIZE),
    ],
)
def test_what_is_refused(typed: bytes | None, body: bytes) -> None:
    """Rather than read as something; and why, without what it says."""
    with pytest.raises(FormError) as caught:
        read_form(typed, body)
    assert str(caught.value).startswith("it")


@given(st.binary(max_size=200) | st.text(alphabet="password=next&%+aF0", max_size=60).map(str.encode))
@example(b"password=a&next=b")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Never anything else; what is read has a password."""
    try:
        password, _ = read_form(TYPE, body)
    except FormError:
        return
    assert password

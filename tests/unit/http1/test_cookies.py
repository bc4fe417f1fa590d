"""Which cookies reach beyond their host, read as browsers read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.http1.cookies import narrowed

SCOPE = b"shop.miosa.app"

KEPT = [
    b"a=b",
    b"a=b; Path=/; Secure; HttpOnly; SameSite=Lax",
    b"a=b; Domain=shop.miosa.app",
    b"a=b; Domain=.shop.miosa.app; Path=/",
    b"a=b; dOMAIN = SHOP.Miosa.App ; Path=/",
    b"a=b; Domain=x.shop.miosa.app",
    b"a=b; Domain=",
    b"a=b; Domain",
    b"a=b; X-Domain=miosa.app; Path=/?domain=miosa.app",
    b"domain=miosa.app; Path=/",
    b"Domain=miosa.app",
    b"__Host-a=b; Secure; Path=/",
    b"",
]


@pytest.mark.parametrize("value", KEPT)
def test_what_stays_as_it_was(value: bytes) -> None:
    """To the byte: cookies for the host, for what lies below it, and pairs that only look so."""
    assert narrowed(b"Set-Cookie: " + value, SCOPE) == b"Set-Cookie: " + value


NARROWED = [
    (b"a=b; Domain=miosa.app", b"a=b"),
    (b"a=b; Domain=.miosa.app; Path=/", b"a=b; Path=/"),
    (b"a=b; Path=/;DOMAIN=MIOSA.APP;Secure", b"a=b; Path=/;Secure"),
    (b"a=b;\tdomain\t=\tmiosa.app\t", b"a=b"),
    (b'a=b; Domain="miosa.app"', b"a=b"),
    (b'a="x; Domain=miosa.app; y"', b'a="x; y"'),
    (b"a=b; Domain=app", b"a=b"),
    (b"a=b; Domain=..miosa.app", b"a=b"),
    (b"a=b; Domain=miosa.app.", b"a=b"),
    (b"a=b; Domain=%6Diosa.app", b"a=b"),
    (b"a=b; Domain=miosa.app=; Max-Age=1", b"a=b; Max-Age=1"),
    (b"a=b; Domain=evilshop.miosa.app", b"a=b"),
    (b"a=b; Domain=other.miosa.app", b"a=b"),
    ("a=b; Domain=ｍiosa.app".encode(), b"a=b"),
    # The last attribute wins in some browsers, the last that is not empty in others.
    (b"a=b; Domain=miosa.app; Domain=shop.miosa.app", b"a=b"),
    (b"a=b; Domain=shop.miosa.app; Path=/; Domain=miosa.app", b"a=b; Path=/"),
    (b"a=b; Domain=miosa.app; Domain=", b"a=b"),
    (b"__Secure-a=b; Secure; Domain=miosa.app", b"__Secure-a=b; Secure"),
    (b"=; Domain=miosa.app", b"="),
    (b"; Domain=miosa.app", b""),
]


@pytest.mark.parametrize(("value", "left"), NARROWED)
def test_what_becomes_the_host_s_own(value: bytes, left: bytes) -> None:
    """Without any Domain attribute a browser keeps a cookie for its host; all else of it stays."""
    assert narrowed(b"Set-Cookie: " + value, SCOPE) == b"Set-Cookie: " + left


@given(
    some.lists(
        some.sampled_from(
            [b"a=b", b"Domain=miosa.app", b"domain = .APP", b"Domain=shop.miosa.app", b" Domain", b"Path=/", b'"', b""]
        ),
        min_size=1,
    )
)
def test_no_attribute_is_left_that_covers_the_zone(parts: list[bytes]) -> None:
    """However they are put together; and once narrowed a line stays as it is."""
    line = narrowed(b"Set-Cookie: n=v; " + b";".join(parts), SCOPE)
    for attribute in line.split(b";")[1:]:
        name, _, value = attribute.partition(b"=")
        if name.strip().lower() == b"domain":
            assert value.strip().lower() in (b"", SCOPE)
    assert narrowed(line, SCOPE) == line

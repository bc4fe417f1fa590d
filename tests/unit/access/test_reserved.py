"""Where visitors go after a form or a login: never to another host, whatever they were told to say."""

import string
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.reserved import PASSWORD, is_reserved, safe_next

ELSEWHERE = (
    b"",
    b"page",
    b"?a=1",
    b"//evil.example",
    b"///evil.example",
    b"//evil.example/%2f..",
    b"/\\evil.example",
    b"\\\\evil.example",
    b"\\/evil.example",
    b"/a\\b",
    b"/%2fevil.example",
    b"/%2Fevil.example",
    b"/%252fevil.example",
    b"/%25252fevil.example",
    b"/%5cevil.example",
    b"/%5Cevil.example",
    b"%2f%2fevil.example",
    b"/\t/evil.example",
    b"/\n/evil.example",
    b"/\r/evil.example",
    b"\t//evil.example",
    b" //evil.example",
    b"/ /evil.example",
    b"/%09/evil.example",
    b"/%0a/evil.example",
    b"/%0d%0aSet-Cookie:%20a=b",
    b"/%20/evil.example",
    b"/%00",
    b"/a\r\nSet-Cookie: a=b",
    b"/a\x00b",
    b"/a\x7fb",
    b"https:",
    b"https:/evil.example",
    b"https:evil.example",
    b"https://evil.example",
    b"https://shop.preview.test/",
    b"http:\\\\evil.example",
    b"javascript:alert(1)",
    b"user@evil.example",
    b"@evil.example",
    b".evil.example",
    b":8443/",
    b"#//evil.example",
    b"/a#b",
    "/grün".encode(),
    "/\u2044evil.example".encode(),
    "//\uff45vil.example".encode(),
    b"/" + b"a" * 2048,
    PASSWORD,
    PASSWORD + b"?next=/",
    b"/%2ewell-known/miosa/password",
    b"/.well-known/miosa/login?next=/",
)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_what_leads_elsewhere_leads_home(target: bytes) -> None:
    """What browsers or proxies may read as another host, what no request could have as its target, and our own paths."""
    assert safe_next(target) == b"/"


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/page",
        b"/a/b?c=d&e=%2f%2f",
        b"/?next=https://other.example/",
        b"/a//b",
        b"/a/..//b",
        b"/user@host",
        b"/a%20b",
        b"/gr%C3%BCn",
        b"/100%",
        b"/%zz",
        b"/.well-known/miosa",
        b"/.well-known/security.txt",
        b"/?q=" + b"a" * 2044,
    ],
)
def test_a_path_of_the_host_stays_as_it_is(target: bytes) -> None:
    """To the byte."""
    assert safe_next(target) == target


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        (b"/a?miosa_token=mpl_x", b"/a"),
        (b"/a?b=1&X-Miosa-Preview-Token=mpt_x&c=2", b"/a?b=1&c=2"),
        (b"/?miosa_token=mpl_x&b=//", b"/?b=//"),
    ],
)
def test_tokens_of_ours_are_taken_out(target: bytes, clean: bytes) -> None:
    """Who comes in by a cookie needs none, and the program must not see one."""
    assert safe_next(target) == clean


@given(st.text(alphabet=string.ascii_lowercase + "/\\%25cCfF2.:@?#\t\n\r ", max_size=40))
def test_no_text_leads_to_another_host(text: str) -> None:
    """Neither as it is nor decoded, as the standard library resolves it."""
    target = safe_next(text.encode())
    for form in (target.decode(), quote(target.decode(), safe="/?%&=@:;,+$!*'()~[]|^{}<>\"`")):
        assert urlsplit(urljoin("https://shop.preview.test/start", form)).netloc == "shop.preview.test"


def test_paths_below_the_prefix_are_ours() -> None:
    """And none beside it: a program may have its own in `/.well-known/`."""
    assert is_reserved(PASSWORD)
    assert is_reserved(PASSWORD + b"?a")
    assert not is_reserved(b"/.well-known/miosa")
    assert not is_reserved(b"/.well-known/miosaic/password")
    assert not is_reserved(b"/a/.well-known/miosa/password")

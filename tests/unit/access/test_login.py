"""What is read of requests of those who sign in."""

import pytest

from router.access.login import binding_of, cookies_by_name, is_binding, is_cookie, parameters_of
from router.access.reserved import login_path

PATHS = [
    (b"/.well-known/miosa/login", b"/.well-known/miosa/login"),
    (b"/.well-known/miosa/login?next=/a", b"/.well-known/miosa/login"),
    (b"/.well-known/miosa/arrive?code=x", b"/.well-known/miosa/arrive"),
    (b"/.well-known/miosa/logout", b"/.well-known/miosa/logout"),
    (b"/.well-known/miosa/login/", b""),
    (b"/.well-known/miosa/Login", b""),
    (b"/.well-known/miosa/log%69n", b""),
    (b"//.well-known/miosa/login", b""),
    (b"/.well-known/miosa/password", b""),
    (b"/login", b""),
    (b"/?/.well-known/miosa/login", b""),
]


@pytest.mark.parametrize(("target", "path"), PATHS)
def test_which_paths_are_a_logins(target: bytes, path: bytes) -> None:
    """These three, to the letter."""
    assert login_path(target) == path


PARAMETERS = [
    (b"/callback", {}),
    (b"/callback?", {}),
    (b"/callback?code=a&state=b", {"code": "a", "state": "b"}),
    (b"/callback?code=a%20b+c", {"code": "a b c"}),
    (b"/callback?code=", {"code": ""}),
    (b"/callback?code=n%C3%B6", {"code": "nö"}),
    (b"/callback?code=a&code=b", None),
    (b"/callback?code=a&%63ode=b", None),
    (b"/callback?code=%ff", None),
    (b"/callback?code=\xff", None),
    (b"/callback?" + b"&".join(b"p%d=1" % number for number in range(21)), None),
]


@pytest.mark.parametrize(("target", "found"), PARAMETERS)
def test_parameters(target: bytes, found: dict[str, str] | None) -> None:
    """Each stands there once, and can be read in one way; else none is looked at."""
    assert parameters_of(target) == found


def test_what_may_be_a_cookie_or_its_hash() -> None:
    """What others have made up is none."""
    secret = b"A-_z" * 10 + b"abc"
    assert is_cookie(secret)
    assert is_binding(binding_of(secret))
    for text in (b"", secret[1:], secret + b"a", secret[:-1] + b";", secret[:-1] + b"\n"):
        assert not is_cookie(text)
    for word in ("", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "\n", "é" * 64):
        assert not is_binding(word)


def test_cookies_by_name() -> None:
    """Of several with one name the first counts, and of very many the first ones."""
    pairs = [(b"a", b"1 "), (b"b", b"\xff"), (b"a", b"2"), *[(b"c%d" % number, b"") for number in range(100)]]
    found = cookies_by_name(pairs)
    assert (found["a"], found["b"], len(found)) == ("1", "\xff", 39)

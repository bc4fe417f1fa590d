"""What is read of a request, and what of it goes on."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.brought import MAX_TOKEN, Brought, sole_credential, without_tokens
from router.http1.upgrade import settle_upgrade
from tests.unit.http1.messages import read

NOTHING: tuple[list[bytes], bytes, bytes] = ([], b"", b"/")

# target → tokens, the link's, the target as it goes on
TARGETS = [
    (b"/", *NOTHING),
    (b"/a?b=c", [], b"", b"/a?b=c"),
    (b"/?miosa_token=t", [b"t"], b"t", b"/"),
    (b"/?MIOSA_Token=t", [b"t"], b"t", b"/"),
    (b"/a?b=c&miosa_token=t&d=%20+", [b"t"], b"t", b"/a?b=c&d=%20+"),
    (b"/a?miosa_token=t&b", [b"t"], b"t", b"/a?b"),
    (b"/a?&miosa_token=t", [b"t"], b"t", b"/a?"),
    (b"/a?miosa_token=t?x", [b"t?x"], b"t?x", b"/a"),
    (b"/a?miosa_token=", [], b"", b"/a"),
    (b"/a?miosa_token", [], b"", b"/a"),
    (b"/a?miosa_token=%6Dpl_x", [b"mpl_x"], b"mpl_x", b"/a"),
    (b"/a?X-Miosa-Preview-Token=t", [b"t"], b"", b"/a"),
    (b"/a?x-MIOSA-preview-token=t&x-miosa-preview-token=u", [b"t", b"u"], b"", b"/a"),
    (b"/a?miosa_token=t&miosa_token=u", [b"t", b"u"], b"t", b"/a"),
    (b"/a?miosa_tokens=t", [], b"", b"/a?miosa_tokens=t"),
    (b"/a?xmiosa_token=t", [], b"", b"/a?xmiosa_token=t"),
    (b"/miosa_token=t", [], b"", b"/miosa_token=t"),
    (b"/a?b=miosa_token=t", [], b"", b"/a?b=miosa_token=t"),
    (b"/a;miosa_token=t?b", [], b"", b"/a;miosa_token=t?b"),
    (b"/a?b;miosa_token=t", [], b"", b"/a?b;miosa_token=t"),
    (b"/a?miosa%5Ftoken=t&b=%20", [b"t"], b"t", b"/a?b=%20"),
    (b"/a?miosa%5ftoken=t", [b"t"], b"t", b"/a"),
    (b"/a?b&%6Diosa_token=t", [b"t"], b"t", b"/a?b"),
    (b"/a?%6D%49%6F%73%61%5F%74%6F%6B%65%6E=t", [b"t"], b"t", b"/a"),
    (b"/a?" + b"".join(b"%%%02x" % byte for byte in b"X-Miosa-Preview-Token") + b"=t", [b"t"], b"", b"/a"),
    (b"/a?x%2Dmiosa%2Dpreview%2Dtoken=t&miosa_token=u", [b"t", b"u"], b"u", b"/a"),
    (b"/a?%6Diosa_token", [], b"", b"/a"),
    (b"/a?miosa_token%3Dt", [], b"", b"/a?miosa_token%3Dt"),
    (b"/a?miosa%255Ftoken=t", [], b"", b"/a?miosa%255Ftoken=t"),
    (b"/a?miosa%5token=t&%=%zz&x=%6Diosa_token", [], b"", b"/a?miosa%5token=t&%=%zz&x=%6Diosa_token"),
    (b"/a?%6diosa_token" + b"x" * 99 + b"=t", [], b"", b"/a?%6diosa_token" + b"x" * 99 + b"=t"),
    (b"/%6Diosa_token=t?%62", [], b"", b"/%6Diosa_token=t?%62"),
]


@pytest.mark.parametrize(("target", "tokens", "link", "goes_on"), TARGETS)
def test_targets(target: bytes, tokens: list[bytes], link: bytes, goes_on: bytes) -> None:
    """Parameters of ours are taken out; every other byte stays as it was."""
    brought = Brought(read(first=b"GET " + target + b" HTTP/1.1"))
    assert (brought.tokens, brought.link, brought.target) == (tokens, link, goes_on)
    assert brought.changes_target == (target != goes_on)
    assert brought.forward(consumed=frozenset()).target == goes_on


@given(st.binary(max_size=80), st.sampled_from([b"miosa_token", b"X-Miosa-Preview-Token", b"b"]), st.integers(0, 4))
def test_any_query(junk: bytes, name: bytes, place: int) -> None:
    """Whatever stands around it: without a parameter of ours nothing changes, and with one only that is missing."""
    clean = bytes(byte for byte in junk if 0x21 <= byte <= 0x7E and byte not in b"#")
    parts = [part for part in clean.split(b"&") if b"miosa" not in unquote_to_bytes(part).lower()]
    with_token = [*parts[:place], name + b"=t", *parts[place:]]
    brought = Brought(read(first=b"GET /?" + b"&".join(with_token) + b" HTTP/1.1"))
    if name == b"b":
        assert not brought.changes_target
    else:
        assert brought.target == (b"/?" + b"&".join(parts) if parts else b"/")


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer t", b"t"),
        (b"bearer t", b"t"),
        (b"BEARER   t  ", b"t"),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Bearer a b", None),
        (b"Bearer a,b", None),
        (b"Basic t", None),
        (b"Bearert", None),
        (b"", None),
    ],
)
def test_bearers(value: bytes, token: bytes | None) -> None:
    """One token behind the scheme, in any case; anything else is the program's."""
    brought = Brought(read(b"Authorization: " + value))
    assert list(brought.bearer.values()) == ([] if token is None else [token])


def test_only_what_was_consumed_is_left_out() -> None:
    """Of several Authorization lines the one that was ours, by its value; places of other lines follow."""
    head = read(b"Authorization: Bearer ours", b"X-A: b", b"authorization:Basic eDp5", b"Origin: https://a.b")
    forwarded = Brought(head).forward(consumed=frozenset((b"Bearer ours",)))
    assert forwarded.lines == [b"Host: shop.miosa.app", b"X-A: b", b"authorization:Basic eDp5", b"Origin: https://a.b"]
    assert forwarded.host_at == 0
    assert head.lines != forwarded.lines  # others may share it


def test_a_head_without_anything_of_ours_is_not_copied() -> None:
    """It goes on as it is, and so do its remembered bytes."""
    head = read(b"Authorization: Basic eDp5", b"Referer: https://a.b/?c=d")
    assert Brought(head).forward(consumed=frozenset()) is head


@pytest.mark.parametrize(
    ("referer", "clean"),
    [
        (b"https://a.b/?miosa_token=t", b"https://a.b/"),
        (b"https://a.b/c?d&X-Miosa-Preview-Token=t&e", b"https://a.b/c?d&e"),
        (b"https://a.b/?c=%64&miosa%5Ftoken=t", b"https://a.b/?c=%64"),
        (b"https://a.b/?%6d%69osa_token=t&c", b"https://a.b/?c"),
        (b"https://a.b/%3Fmiosa%5Ftoken=t", b"https://a.b/%3Fmiosa%5Ftoken=t"),
        (b"https://a.b/c?d", b"https://a.b/c?d"),
        (b"https://a.b/miosa_token=t", b"https://a.b/miosa_token=t"),
    ],
)
def test_a_referer_tells_no_token(referer: bytes, clean: bytes) -> None:
    """The page before may have been opened by one."""
    assert without_tokens(referer) == clean
    forwarded = Brought(read(b"X-A: b", b"Referer: " + referer, b"X-C: d")).forward(consumed=frozenset())
    assert forwarded.value(b"referer") == clean
    assert forwarded.lines[1::2] == [b"X-A: b", b"X-C: d"]


def test_tokens_of_headers() -> None:
    """Each line of that name, as it came; empty ones count as not sent. A huge one is not unquoted."""
    brought = Brought(read(b"X-Miosa-Preview-Token: a", b"x-miosa-preview-token:", b"X-MIOSA-PREVIEW-TOKEN: b, c"))
    assert brought.tokens == [b"a", b"b, c"]
    huge = b"%41" * (MAX_TOKEN + 1)
    assert Brought(read(first=b"GET /?miosa_token=" + huge + b" HTTP/1.1")).tokens == [huge]


@pytest.mark.parametrize(
    ("line", "cookies"),
    [
        (b"Cookie: __Host-miosa-preview=a", (b"a",)),
        (b"Cookie: x=y; __Host-miosa-preview=a; z", (b"a",)),
        (b"Cookie: __Host-miosa-preview=a; __Host-miosa-preview=b", (b"a", b"b")),
        (b"Cookie: __Host-miosa-preview", ()),
        (b"Cookie: __Host-miosa-previews=a", ()),
        (b"Cookie: x__Host-miosa-preview=a", ()),
        (b'Cookie: x="; __Host-miosa-preview=a"', (b'a"',)),
    ],
)
def test_cookies(line: bytes, cookies: tuple[bytes, ...]) -> None:
    """As browsers write them: names in exact case, ends at the semicolon."""
    assert tuple(Brought(read(line)).cookies) == cookies


KINDS = [
    (b"GET", (), True, True, False),
    (b"GET", (b"Sec-Fetch-Mode: navigate",), True, True, False),
    (b"GET", (b"Sec-Fetch-Mode: Navigate",), True, True, False),
    (b"GET", (b"Sec-Fetch-Mode: cors",), True, False, False),
    (b"GET", (b"Sec-Fetch-Mode: no-cors",), True, False, False),
    (b"GET", (b"Sec-Fetch-Mode: websocket",), True, False, False),
    (b"GET", (b"Accept: text/event-stream",), True, False, False),
    (b"GET", (b"Accept: text/html",), True, True, False),
    (b"HEAD", (), True, True, False),
    (b"OPTIONS", (), True, True, False),
    (b"OPTIONS", (b"Origin: https://a.b",), True, True, False),
    (b"OPTIONS", (b"Origin: https://a.b", b"Access-Control-Request-Method: GET"), True, True, True),
    (b"GET", (b"Origin: https://a.b", b"Access-Control-Request-Method: GET"), True, True, False),
    (b"POST", (), False, True, False),
    (b"PUT", (b"Sec-Fetch-Mode: cors",), False, False, False),
    (b"FROB", (), False, True, False),
    (b"get", (), False, True, False),
]


@pytest.mark.parametrize(("method", "lines", "safe", "navigates", "preflight"), KINDS)
def test_kinds_of_requests(
    method: bytes, lines: tuple[bytes, ...], safe: bool, navigates: bool, preflight: bool
) -> None:
    """By the method, exactly as it is spelled, and by what browsers say."""
    brought = Brought(read(*lines, first=method + b" / HTTP/1.1"))
    assert (brought.safe, brought.navigates, brought.preflight) == (safe, navigates, preflight)


@pytest.mark.parametrize(("line", "early"), [(b"Early-Data: 1", True), (b"Early-Data: 0", False), (b"X: 1", False)])
def test_early_data(line: bytes, early: bool) -> None:
    """RFC 8470 §5.1."""
    assert Brought(read(line)).early == early


COOKIE = b"Cookie: __Host-miosa-preview=c"


@pytest.mark.parametrize(
    ("lines", "first", "credential"),
    [
        ((COOKIE,), b"GET /a?b=c HTTP/1.1", b"cookie c"),
        ((b"X-Miosa-Preview-Token: t",), b"HEAD / HTTP/1.1", b"token t"),
        ((COOKIE, b"Referer: https://3000-a.sandbox.miosa.app/?b"), b"GET / HTTP/1.1", b"cookie c"),
        ((), b"GET / HTTP/1.1", b""),
        ((COOKIE, b"X-Miosa-Preview-Token: t"), b"GET / HTTP/1.1", b""),
        ((COOKIE, COOKIE), b"GET / HTTP/1.1", b""),
        ((COOKIE, b"Authorization: Basic eDp5"), b"GET / HTTP/1.1", b""),
        ((b"Authorization: Bearer k",), b"GET /a HTTP/1.1", b"authorization Bearer k"),
        ((b"Authorization: Bearer k", b"Authorization: Bearer k"), b"GET /a HTTP/1.1", b""),
        ((b"Authorization: Bearer k", b"X-Miosa-Preview-Token: t"), b"GET /a HTTP/1.1", b""),
        ((b"Authorization: Bearer k",), b"POST /a HTTP/1.1", b""),
        ((b"Authorization: Bearer k",), b"GET /?miosa_token=t HTTP/1.1", b""),
        ((COOKIE, b"Connection: Upgrade", b"Upgrade: websocket"), b"GET / HTTP/1.1", b""),
        ((COOKIE,), b"POST / HTTP/1.1", b""),
        ((COOKIE,), b"OPTIONS / HTTP/1.1", b""),
        ((COOKIE,), b"GET /?miosa_token=t HTTP/1.1", b""),
        ((COOKIE,), b"GET /?x-MIOSA-preview-token HTTP/1.1", b""),
        ((COOKIE, b"Referer: https://a.b/?miosa_token=t"), b"GET / HTTP/1.1", b""),
        ((COOKIE,), b"GET /?a=b&%6diosa%5Ftoken=t HTTP/1.1", b""),
        ((COOKIE, b"Referer: https://a.b/?%6diosa%5Ftoken=t"), b"GET / HTTP/1.1", b""),
        ((COOKIE, b"Referer: https://a.b/%20?c=%20"), b"GET /%20?a=%20&b=%20 HTTP/1.1", b"cookie c"),
        ((b"X-Miosa-Preview-Token:",), b"GET / HTTP/1.1", b"token "),
    ],
)
def test_what_alone_is_brought(lines: tuple[bytes, ...], first: bytes, credential: bytes) -> None:
    """Only where nothing else of the request has anything to do with who may come in, or has to be taken out of it. A cookie
    is never mistaken for a token."""
    head = read(*lines, first=first)
    if head.upgrade:
        settle_upgrade(head)
    assert sole_credential(head) == credential

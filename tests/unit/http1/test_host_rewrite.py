"""A program that is told another Host: every header tells it one story, and visitors read the truth."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.http1.forwarding import (
    ClientInfo,
    Forwarder,
    HeadRules,
    interim_to_client,
    request_to_backend,
    response_framing,
    response_to_client,
)
from router.http1.host_rewrite import public_location
from router.http1.requests import RequestHead
from router.http1.upgrade import settle_upgrade
from tests.unit.http1.messages import answer, read

PUBLIC = b"3000-s1.sandbox.shop.example"
LOCAL = b"localhost:3000"
MODES = (LOCAL, b"app.internal", b"dev.internal:1234")


def visitor(host: bytes = PUBLIC, scheme: bytes = b"https") -> ClientInfo:
    return ClientInfo("192.0.2.1", scheme, host, b"X-Forwarded-Host: " + host + b"\r\n")


def at_backend(
    *lines: bytes, told: bytes | None = LOCAL, who: ClientInfo | None = None, first: bytes = b"GET / HTTP/1.1"
) -> dict[bytes, list[bytes]]:
    """The header lines that the program reads, by lower-case name."""
    client = who or visitor()
    head: RequestHead = read(*lines, first=first, host=client.host)
    settle_upgrade(head)
    raw = request_to_backend(head, client, b"r-1", HeadRules(told))
    found: dict[bytes, list[bytes]] = {}
    for line in raw[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


def at_client(*lines: bytes, told: bytes | None = LOCAL, who: ClientInfo | None = None) -> list[bytes]:
    """The header lines that the visitor reads."""
    head = answer(*lines, b"Content-Length: 0")
    out = response_to_client(
        head,
        who or visitor(),
        HeadRules(told),
        request_id=b"r-1",
        framing=response_framing(head, b"GET", 1),
        client_version=1,
        keep_alive=True,
    )
    kept = out[:-4].split(b"\r\n")[1:]
    kept.remove(b"Content-Length: 0")
    kept.remove(b"X-Request-ID: r-1")
    return kept


# What frameworks compare.


@pytest.mark.parametrize("told", [None, *MODES])
def test_server_actions_pass(told: bytes | None) -> None:
    """Next.js: the host of Origin is X-Forwarded-Host, or else Host."""
    seen = at_backend(b"Origin: https://" + PUBLIC, b"Next-Action: x", told=told, first=b"POST / HTTP/1.1")
    (origin,) = seen[b"origin"]
    assert origin.partition(b"://")[2] == seen.get(b"x-forwarded-host", seen[b"host"])[0]


@pytest.mark.parametrize("told", [None, *MODES])
def test_forms_pass(told: bytes | None) -> None:
    """Rails: Origin is X-Forwarded-Proto://X-Forwarded-Host. Django: it is the scheme and Host."""
    head = read(b"X-Forwarded-Proto: https", host=PUBLIC)
    who = Forwarder(()).client_info(head, "192.0.2.1", trusted=True)
    seen = at_backend(b"Origin: https://" + PUBLIC, told=told, who=who)
    (origin,), (proto,) = seen[b"origin"], seen[b"x-forwarded-proto"]
    assert origin == proto + b"://" + seen[b"x-forwarded-host"][0] == proto + b"://" + seen[b"host"][0]
    assert seen[b"forwarded"] == [b'for=192.0.2.1;host="%b";proto=%b' % (seen[b"host"][0], proto)]


@pytest.mark.parametrize("told", MODES)
def test_nothing_says_otherwise(told: bytes) -> None:
    """No header of ours, and none of the visitor's that speaks of the host, has the public name."""
    seen = at_backend(
        b"Origin: https://" + PUBLIC,
        b"Referer: https://" + PUBLIC + b"/a?b",
        b"Destination: https://" + PUBLIC + b"/b%20c",
        b"If: <https://" + PUBLIC + b"/a> (<urn:uuid:1>) <https://" + PUBLIC + b"/b> (<urn:uuid:2>)",
        told=told,
        first=b"MOVE /a HTTP/1.1",
    )
    assert PUBLIC not in repr(seen).encode()
    assert seen[b"referer"] == [b"http://" + told + b"/a?b"]
    assert seen[b"destination"] == [b"http://" + told + b"/b%20c"]
    assert seen[b"if"] == [b"<http://%b/a> (<urn:uuid:1>) <http://%b/b> (<urn:uuid:2>)" % (told, told)]
    assert seen[b"x-forwarded-port"] == [told.rpartition(b":")[2] if b":" in told else b"80"]
    assert seen[b"x-forwarded-for"] == [b"192.0.2.1"]


def test_web_sockets_have_a_local_origin() -> None:
    """`next dev` takes its hot reloading from local origins only."""
    seen = at_backend(
        b"Origin: https://" + PUBLIC,
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        first=b"GET /_next/webpack-hmr HTTP/1.1",
    )
    assert seen[b"origin"] == [b"http://" + LOCAL]
    assert seen[b"upgrade"] == [b"websocket"]


# Whose Origin it is.

OWN = [
    (b"https", PUBLIC, b"https://" + PUBLIC),
    (b"https", PUBLIC, b"HTTPS://" + PUBLIC.upper()),
    (b"https", PUBLIC + b":443", b"https://" + PUBLIC),
    (b"https", PUBLIC, b"https://" + PUBLIC + b":443"),
    (b"https", PUBLIC + b":8443", b"https://" + PUBLIC + b":8443"),
    (b"http", PUBLIC + b":80", b"http://" + PUBLIC),
    (b"https", PUBLIC + b".", b"https://" + PUBLIC),
]
FOREIGN = [
    b"null",
    b"https://evil.example",
    b"http://" + PUBLIC,
    b"https://" + PUBLIC + b":8443",
    b"https://" + PUBLIC + b".evil.example",
    b"https://evil-" + PUBLIC,
    b"https://s1.sandbox.shop.example",
    b"https://" + PUBLIC + b"@evil.example",
    b"https://u@" + PUBLIC,
    b"https://" + PUBLIC + b"/",
    b"https://" + PUBLIC + b" https://evil.example",
    b"https://evil.example https://" + PUBLIC,
    b"https://" + PUBLIC + b"\\@evil.example",
    b"wss://" + PUBLIC,
    b"",
    b"http://localhost:3001",
    b"http://127.0.0.1:3000",
    b"http://localhost:3000.evil.example",
]


@pytest.mark.parametrize(("scheme", "host", "origin"), OWN)
def test_own_origins(scheme: bytes, host: bytes, origin: bytes) -> None:
    """An Origin is the program's own where scheme, name and port are those that were visited."""
    assert at_backend(b"Origin: " + origin, who=visitor(host, scheme))[b"origin"] == [b"http://" + LOCAL]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("told", [None, *MODES])
def test_foreign_origins_stay_foreign(origin: bytes, told: bytes | None) -> None:
    """What another site's page sends arrives as it came."""
    assert at_backend(b"Origin: " + origin, told=told)[b"origin"] == [origin]


@pytest.mark.parametrize("told", MODES)
def test_a_page_elsewhere_does_not_pass_for_the_programs(told: bytes) -> None:
    """A page on the visitor's own machine may have the very origin that the program is told: it stays a stranger."""
    seen = at_backend(b"Origin: http://" + told, b"Referer: http://" + told + b"/form", told=told)
    assert seen[b"origin"] == [b"null"]
    assert b"referer" not in seen
    seen = at_backend(b"Referer: https://evil.example/?https://" + PUBLIC, told=told)
    assert seen[b"referer"] == [b"https://evil.example/?https://" + PUBLIC]


def test_every_origin_line_is_looked_at() -> None:
    """Two lines are for the program to refuse, and neither hides behind the other."""
    seen = at_backend(b"Origin: https://" + PUBLIC, b"Origin: http://" + LOCAL)
    assert seen[b"origin"] == [b"http://" + LOCAL, b"null"]


NAMES = some.text(string.ascii_lowercase + string.digits + "-.", min_size=1, max_size=20).map(str.encode)
PORTS = some.sampled_from([b"", b":80", b":443", b":3000", b":8443"])


@given(some.sampled_from([b"http", b"https", b"ws"]), NAMES, PORTS, some.sampled_from(MODES))
def test_only_the_public_origin_becomes_the_told_one(scheme: bytes, name: bytes, port: bytes, told: bytes) -> None:
    """Whatever a page's origin is: the program takes it for its own only where it is the one that was visited."""
    origin = b"%b://%b%b" % (scheme, name, port)
    (seen,) = at_backend(b"Origin: " + origin, told=told)[b"origin"]
    assert seen != b"http://" + told
    assert seen in (origin, b"null")


@given(some.binary(max_size=60).filter(lambda raw: not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", raw)))
def test_other_values_are_kept_to_the_byte(value: bytes) -> None:
    """What does not name the host goes on as it came, whichever header it stands in."""
    names = (b"Referer", b"Destination", b"If", b"X-A")
    lines = [name + b": " + value for name in names]
    head = read(*lines, host=PUBLIC)
    raw = request_to_backend(head, visitor(), b"r-1", HeadRules(LOCAL))
    for line in head.lines[1:]:
        assert b"\r\n" + line + b"\r\n" in raw


# What visitors read.

ANSWERS = [
    (b"Location: http://localhost:3000/a?b#c", b"Location: https://" + PUBLIC + b"/a?b#c"),
    (b"location:http://127.0.0.1:3000/", b"location: https://" + PUBLIC + b"/"),
    (b"Content-Location: http://localhost:3000/a", b"Content-Location: https://" + PUBLIC + b"/a"),
    (b"Content-Location: /a", b"Content-Location: /a"),
    (b"Refresh: 5; url=http://localhost:3000/a", b"Refresh: 5; url=https://" + PUBLIC + b"/a"),
    (b"refresh:0;URL='http://localhost:3000/a?b=1'", b"refresh:0;URL='https://" + PUBLIC + b"/a?b=1'"),
    (b"Refresh: 5", b"Refresh: 5"),
    (
        b"Refresh: 1; url=https://other.example/?u=http://localhost:3000/",
        b"Refresh: 1; url=https://other.example/?u=http://localhost:3000/",
    ),
    (
        b'Link: <http://localhost:3000/a>; rel="next", </b>; rel=preload, <https://c.example/?<http://localhost:3000/>',
        b'Link: <https://%b/a>; rel="next", </b>; rel=preload, <https://c.example/?<https://%b/>' % (PUBLIC, PUBLIC),
    ),
    (
        b"Link: <https://c.example/?http://localhost:3000/>; rel=a",
        b"Link: <https://c.example/?http://localhost:3000/>; rel=a",
    ),
    (
        b"access-control-allow-origin: http://localhost:3000",
        b"Access-Control-Allow-Origin: https://" + PUBLIC,
    ),
    (b"Access-Control-Allow-Origin: *", b"Access-Control-Allow-Origin: *"),
    (b"Access-Control-Allow-Origin: http://localhost:3001", b"Access-Control-Allow-Origin: http://localhost:3001"),
    (b"Access-Control-Allow-Origin: null", b"Access-Control-Allow-Origin: null"),
    (b"Set-Cookie: a=1; Domain=localhost; Path=/", b"Set-Cookie: a=1; Path=/"),
    (b"Set-Cookie: a=localhost; Path=/", b"Set-Cookie: a=localhost; Path=/"),
    (b"Set-Cookie: a=1; domain=shop.example", b"Set-Cookie: a=1; domain=shop.example"),
    (b"X-Other: http://localhost:3000/", b"X-Other: http://localhost:3000/"),
]


@pytest.mark.parametrize(("line", "becomes"), ANSWERS)
def test_answers_speak_of_the_public_name(line: bytes, becomes: bytes) -> None:
    """Wherever an answer names the told host, the visitor reads the visited one; all else stays to the byte."""
    assert at_client(line) == [becomes]
    assert interim_to_client(answer(line, first=b"HTTP/1.1 103 x"), visitor(), HeadRules(LOCAL)) == (
        b"HTTP/1.1 103 x\r\n" + becomes + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("told", "line", "becomes"),
    [
        (b"app.internal", b"Location: https://app.internal/a", b"Location: https://" + PUBLIC + b"/a"),
        (b"app.internal", b"Location: http://app.internal:3000/a", b"Location: https://" + PUBLIC + b"/a"),
        (b"app.internal", b"Location: http://www.app.internal/a", b"Location: http://www.app.internal/a"),
        (b"a.internal", b"Location: http://a.internal:1.b.example/", b"Location: http://a.internal:1.b.example/"),
        (b"app.internal", b"Location: http://localhost/a", b"Location: http://localhost/a"),
        (b"app.internal", b"Set-Cookie: a=1; Domain=.internal", b"Set-Cookie: a=1"),
        (b"app.internal", b"Set-Cookie: a=1; Domain=www.app.internal", b"Set-Cookie: a=1; Domain=www.app.internal"),
    ],
)
def test_names_of_its_own(told: bytes, line: bytes, becomes: bytes) -> None:
    """A custom name is the program's on any port: nobody else is found under it."""
    assert at_client(line, told=told) == [becomes]


# The public name on the wrong scheme or port, whatever the program is told.

ODD = PUBLIC + b":8443"
MENDED = [
    # who sees the name and neither TLS nor the port
    (b"https", PUBLIC, b"http://%b/a" % PUBLIC, b"https://%b/a" % PUBLIC),
    (b"https", PUBLIC, b"http://%b:3000/a" % PUBLIC, b"https://%b/a" % PUBLIC),
    (b"https", PUBLIC, b"http://%b:80/a" % PUBLIC, b"https://%b/a" % PUBLIC),
    (b"https", PUBLIC, b"https://%b:3000/a" % PUBLIC, b"https://%b/a" % PUBLIC),
    (b"https", ODD, b"http://%b/a?b#c" % PUBLIC, b"https://%b/a?b#c" % ODD),
    (b"https", ODD, b"http://%b/a" % ODD, b"https://%b/a" % ODD),
    (b"https", ODD, b"https://%b/a" % PUBLIC, b"https://%b/a" % ODD),
    (b"https", ODD, b"http://%b" % PUBLIC.upper(), b"https://%b" % ODD),
    (b"https", ODD, b"//%b/a" % PUBLIC, b"https://%b/a" % ODD),
    (b"http", ODD, b"http://%b/a" % PUBLIC, b"http://%b/a" % ODD),
    # right as it is
    (b"https", PUBLIC, b"https://%b/a" % PUBLIC, None),
    (b"https", PUBLIC, b"https://%b:443/a" % PUBLIC, None),
    (b"https", PUBLIC + b":443", b"https://%b/a" % PUBLIC, None),
    (b"https", PUBLIC, b"//%b/a" % PUBLIC, None),
    (b"https", ODD, b"https://%b/a" % ODD, None),
    (b"http", PUBLIC, b"https://%b/a" % PUBLIC, None),  # sends visitors to TLS
    (b"http", ODD, b"https://%b/a" % PUBLIC, None),
    # not the public name
    (b"https", PUBLIC, b"/a", None),
    (b"https", PUBLIC, b"", None),
    (b"https", PUBLIC, b"http://www.%b/a" % PUBLIC, None),
    (b"https", PUBLIC, b"http://%b.evil.example/a" % PUBLIC, None),
    (b"https", PUBLIC, b"http://u:p@%b/a" % PUBLIC, None),
    (b"https", PUBLIC, b"http://%b\\@evil.example/a" % PUBLIC, None),
    (b"https", PUBLIC, b"http://%b:3000.evil.example/a" % PUBLIC, None),
    (b"https", PUBLIC, b"ftp://%b/a" % PUBLIC, None),
    (b"https", PUBLIC, b"http://other.example/?http://%b/" % PUBLIC, None),
]


@pytest.mark.parametrize(("scheme", "host", "value", "becomes"), MENDED)
@pytest.mark.parametrize("told", [None, *MODES])
def test_public_locations_are_mended(
    scheme: bytes, host: bytes, value: bytes, becomes: bytes | None, told: bytes | None
) -> None:
    """A program that does not know that TLS ended before it, or through which port, sends nobody to the wrong place."""
    line = b"Location: " + value
    assert at_client(line, told=told, who=visitor(host, scheme)) == [
        line if becomes is None else b"Location: " + becomes
    ]


@given(some.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")), some.sampled_from([None, *MODES]))
def test_a_location_that_was_mended_is_right(value: bytes, told: bytes | None) -> None:
    """Mending twice is mending once, whatever a program sends."""
    for raw in (value, b"http://" + PUBLIC + b"/" + value, b"http://" + value):
        once = public_location(raw, visitor(), told)
        assert public_location(once, visitor(), told) == once

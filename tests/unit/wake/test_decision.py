"""What becomes of a request for a resource that does not run: every kind, setting, visitor and state."""

import itertools
import re

import pytest

from router.http1.requests import read_request_head
from router.routes.records import State
from router.routes.wakes import Wake
from router.settings import Limits
from router.wake.decision import Course, Kind, decide, kind_of

# Who may wake it: the setting, and whether the visitor had to show something.
MAY = {
    "off, anybody": (Wake.OFF, False),
    "off, shown": (Wake.OFF, True),
    "any, anybody": (Wake.ANY, False),
    "any, shown": (Wake.ANY, True),
    "authorised, anybody": (Wake.AUTHORISED, False),
    "authorised, shown": (Wake.AUTHORISED, True),
}

# By kind and who: a letter for each state, in the order of the first line.
#   . answered by its state    e 425    h hold    p page    H wake and hold    P wake and page
TABLE = """
                                     provisioning starting running paused stopping stopped error destroyed
    monitor     off, anybody         .            .        .       .      .        .       .     .
    monitor     off, shown           .            .        .       .      .        .       .     .
    monitor     any, anybody         .            .        .       .      .        .       .     .
    monitor     any, shown           .            .        .       .      .        .       .     .
    monitor     authorised, anybody  .            .        .       .      .        .       .     .
    monitor     authorised, shown    .            .        .       .      .        .       .     .
    prefetch    off, anybody         .            .        .       .      .        .       .     .
    prefetch    off, shown           .            .        .       .      .        .       .     .
    prefetch    any, anybody         .            .        .       .      .        .       .     .
    prefetch    any, shown           .            .        .       .      .        .       .     .
    prefetch    authorised, anybody  .            .        .       .      .        .       .     .
    prefetch    authorised, shown    .            .        .       .      .        .       .     .
    robot       off, anybody         .            .        .       .      .        .       .     .
    robot       off, shown           .            .        .       .      .        .       .     .
    robot       any, anybody         .            .        .       .      .        .       .     .
    robot       any, shown           .            .        .       .      .        .       .     .
    robot       authorised, anybody  .            .        .       .      .        .       .     .
    robot       authorised, shown    .            .        .       .      .        .       .     .
    preflight   off, anybody         .            .        .       .      .        .       .     .
    preflight   off, shown           .            .        .       .      .        .       .     .
    preflight   any, anybody         .            .        .       .      .        .       .     .
    preflight   any, shown           .            .        .       .      .        .       .     .
    preflight   authorised, anybody  .            .        .       .      .        .       .     .
    preflight   authorised, shown    .            .        .       .      .        .       .     .
    early       off, anybody         .            .        .       .      .        .       .     .
    early       off, shown           .            .        .       .      .        .       .     .
    early       any, anybody         h            h        h       e      e        e       .     .
    early       any, shown           h            h        h       e      e        e       .     .
    early       authorised, anybody  h            h        h       .      .        .       .     .
    early       authorised, shown    h            h        h       e      e        e       .     .
    websocket   off, anybody         .            .        .       .      .        .       .     .
    websocket   off, shown           .            .        .       .      .        .       .     .
    websocket   any, anybody         h            h        h       H      H        H       .     .
    websocket   any, shown           h            h        h       H      H        H       .     .
    websocket   authorised, anybody  h            h        h       .      .        .       .     .
    websocket   authorised, shown    h            h        h       H      H        H       .     .
    navigation  off, anybody         .            .        .       .      .        .       .     .
    navigation  off, shown           .            .        .       .      .        .       .     .
    navigation  any, anybody         p            p        p       P      P        P       .     .
    navigation  any, shown           p            p        p       P      P        P       .     .
    navigation  authorised, anybody  p            p        p       .      .        .       .     .
    navigation  authorised, shown    p            p        p       P      P        P       .     .
    events      off, anybody         .            .        .       .      .        .       .     .
    events      off, shown           .            .        .       .      .        .       .     .
    events      any, anybody         h            h        h       H      H        H       .     .
    events      any, shown           h            h        h       H      H        H       .     .
    events      authorised, anybody  h            h        h       .      .        .       .     .
    events      authorised, shown    h            h        h       H      H        H       .     .
    call        off, anybody         .            .        .       .      .        .       .     .
    call        off, shown           .            .        .       .      .        .       .     .
    call        any, anybody         h            h        h       H      H        H       .     .
    call        any, shown           h            h        h       H      H        H       .     .
    call        authorised, anybody  h            h        h       .      .        .       .     .
    call        authorised, shown    h            h        h       H      H        H       .     .
"""
COURSES = {
    ".": Course.ANSWER,
    "e": Course.TOO_EARLY,
    "h": Course.HOLD,
    "p": Course.PAGE,
    "H": Course.WAKE_AND_HOLD,
    "P": Course.WAKE_AND_PAGE,
}


def rows() -> dict[tuple[str, str, str], Course]:
    """The table, by kind, who, and state."""
    first, *lines = [line for line in TABLE.splitlines() if line.strip()]
    found = {}
    for line in lines:
        match = re.fullmatch(r" *(\w+) +(\w+, \w+) +(.*)", line)
        assert match is not None
        for state, letter in zip(first.split(), match[3].split(), strict=True):
            found[match[1], match[2], state] = COURSES[letter]
    return found


ROWS = rows()


@pytest.mark.parametrize(("kind", "who", "state"), ROWS, ids=lambda word: word.replace(", ", "-"))
def test_what_becomes_of_it(kind: str, who: str, state: str) -> None:
    """As the table says."""
    wake, authorised = MAY[who]
    assert decide(Kind(kind), wake, State(state), authorised=authorised) is ROWS[kind, who, state]


def test_the_table_has_every_row() -> None:
    """Nothing is left to chance."""
    assert set(ROWS) == set(itertools.product([kind.value for kind in Kind], MAY, [state.value for state in State]))


def test_courses_say_what_they_are() -> None:
    """Which wake, and which end in a page."""
    assert {course for course in Course if course.wakes} == {Course.WAKE_AND_HOLD, Course.WAKE_AND_PAGE}
    assert {course for course in Course if course.page} == {Course.PAGE, Course.WAKE_AND_PAGE}


# Request lines and headers, and the kind that they make.
HEADS = [
    (Kind.CALL, "GET", ""),
    (Kind.CALL, "GET", "Accept: */*|User-Agent: curl/8.5.0"),
    (Kind.CALL, "GET", "User-Agent: git/2.43.0|Accept: */*"),
    (Kind.CALL, "POST", "Accept: application/json"),
    (Kind.CALL, "GET", "Sec-Fetch-Mode: cors|Accept: text/html"),
    (Kind.CALL, "GET", "Sec-Fetch-Mode: no-cors|Accept: image/avif,*/*"),
    (Kind.CALL, "GET", "Accept: text/markdown"),
    (Kind.CALL, "OPTIONS", "Origin: https://a.example"),
    (Kind.CALL, "OPTIONS", "Access-Control-Request-Method: PUT"),
    (Kind.CALL, "POST", "Content-Type: application/grpc"),
    (Kind.CALL, "GET", "X-Miosa-Monitor: 0"),
    (Kind.CALL, "GET", "X-Miosa-Monitor: yes"),
    (Kind.CALL, "GET", "Purpose: testing"),
    (Kind.CALL, "GET", "User-Agent: my-bot/1.0"),
    (Kind.CALL, "GET", "Early-Data: 0"),
    (Kind.NAVIGATION, "GET", "Sec-Fetch-Mode: navigate"),
    (Kind.NAVIGATION, "POST", "Sec-Fetch-Mode: navigate"),
    (Kind.NAVIGATION, "GET", "Accept: text/html,application/xhtml+xml,*/*;q=0.8"),
    (Kind.NAVIGATION, "HEAD", "Accept: text/html"),
    (Kind.NAVIGATION, "GET", "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: iframe"),
    (Kind.EVENTS, "GET", "Accept: text/event-stream"),
    (Kind.EVENTS, "GET", "Sec-Fetch-Mode: cors|Accept: text/event-stream"),
    (Kind.WEBSOCKET, "GET", "Connection: Upgrade|Upgrade: websocket"),
    (Kind.WEBSOCKET, "GET", "Connection: Upgrade|Upgrade: websocket|Accept: text/html"),
    (Kind.EARLY, "GET", "Early-Data: 1"),
    (Kind.EARLY, "GET", "Early-Data: 1|Sec-Fetch-Mode: navigate"),
    (Kind.EARLY, "GET", "Early-Data: 1|Connection: Upgrade|Upgrade: websocket"),
    (Kind.PREFLIGHT, "OPTIONS", "Origin: https://a.example|Access-Control-Request-Method: PUT"),
    (Kind.PREFLIGHT, "OPTIONS", "Origin: https://a.example|Access-Control-Request-Method: PUT|Early-Data: 1"),
    (Kind.ROBOT, "GET", "User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)|Accept: text/html"),
    (Kind.ROBOT, "GET", "User-Agent: Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
    (Kind.ROBOT, "GET", "User-Agent: facebookexternalhit/1.1|Early-Data: 1"),
    (Kind.ROBOT, "GET", "User-Agent: WhatsApp/2.23.20.0 A"),
    (Kind.ROBOT, "GET", "User-Agent: TelegramBot (like TwitterBot)"),
    (Kind.ROBOT, "GET", "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (Kind.ROBOT, "GET", "User-Agent: Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"),
    (Kind.PREFETCH, "GET", "Sec-Purpose: prefetch|Sec-Fetch-Mode: navigate"),
    (Kind.PREFETCH, "GET", "Sec-Purpose: prefetch;prerender"),
    (Kind.PREFETCH, "GET", "Purpose: prefetch"),
    (Kind.PREFETCH, "GET", "X-Purpose: preview"),
    (Kind.PREFETCH, "GET", "X-Moz: prefetch|Early-Data: 1"),
    (Kind.MONITOR, "GET", "X-Miosa-Monitor: 1"),
    (Kind.MONITOR, "GET", "x-miosa-monitor: 1|Sec-Fetch-Mode: navigate|Purpose: prefetch"),
    (Kind.MONITOR, "GET", "X-Miosa-Monitor: 1|X-Miosa-Preview-Token: mpt_a"),
]


@pytest.mark.parametrize(("kind", "method", "lines"), HEADS, ids=str)
def test_the_kind_of_a_request(kind: Kind, method: str, lines: str) -> None:
    """By what it says of itself."""
    section = "".join(f"{line}\r\n" for line in lines.split("|") if line)
    raw = f"{method} / HTTP/1.1\r\nHost: shop.miosa.app\r\n{section}\r\n".encode()
    assert kind_of(read_request_head(raw, Limits())) is kind


@pytest.mark.parametrize(
    "browser",
    [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
        "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/490.0]",
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/131.0 Mobile Safari/537.36 Line/14.19",
        "python-requests/2.32.3",
        "node",
        "Playwright/1.49",
    ],
)
def test_people_and_programs_are_no_robots(browser: str) -> None:
    """Browsers inside other applications neither."""
    raw = f"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {browser}\r\n\r\n".encode()
    assert kind_of(read_request_head(raw, Limits())) is Kind.CALL

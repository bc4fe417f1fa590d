"""What becomes of a request for a resource that does not run: one pure function of the request's kind, of who may wake the
resource, and of its state. Asked only after access was granted, so that no stranger learns anything or wakes anybody.

    kind          sleeps, and the request may wake it      starts, or runs and its port is not open yet
    navigation    wake; a page after a moment              wait; a page after a moment
    call, events  wake and hold                            hold
    websocket     wake and hold                            hold
    early         425                                      hold
    the others    answered by its state                    answered by its state

The others are what nobody waits for: prefetches, link previews and crawlers, monitors that say so, and preflights, which
are answered for a program that is away as it is. What comes in early data of TLS may be a replay of anybody's (RFC 8470),
and must not start a machine.
"""

import enum
import re
from typing import Final

from router.http1.requests import RequestHead
from router.pages import Form, form_of
from router.routes.records import State
from router.routes.wakes import Wake

_PREFETCH: Final = re.compile(rb"(?:^|[ ,;])(?:prefetch|prerender|preview)", re.IGNORECASE)
_PREFETCH_HEADERS: Final = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")

# Programs that follow links which people have posted, and crawlers: they come uninvited, and in crowds.
_ROBOT: Final = re.compile(
    rb"facebookexternalhit|facebot|meta-external|twitterbot|slack(?:bot|-imgproxy)|discordbot|telegrambot|whatsapp/|"
    rb"linkedinbot|skypeuripreview|microsoftpreview|pinterest(?:bot)?/|redditbot|mastodon/|bluesky|cardyb|iframely|embedly|"
    rb"vkshare|viber|line-poker|kakaotalk-scrap|google-inspectiontool|googlebot|bingbot|bingpreview|yandex(?:bot|images)|"
    rb"duckduckbot|baiduspider|applebot|petalbot|semrushbot|ahrefsbot|gptbot|ccbot|claudebot|bytespider|amazonbot|"
    rb"outbrain|flipboard|tumblr/|nuzzel|quora link preview|w3c_validator|snapchat|bitlybot|zoominfobot|censys|zgrab",
    re.IGNORECASE,
)

_SLEEPING: Final = frozenset((State.PAUSED, State.STOPPED, State.STOPPING))


class Kind(enum.Enum):
    """What kind of request it is, as far as waiting goes; the first that fits, in this order."""

    MONITOR = "monitor"
    PREFETCH = "prefetch"
    ROBOT = "robot"
    PREFLIGHT = "preflight"
    EARLY = "early"
    WEBSOCKET = "websocket"
    NAVIGATION = "navigation"
    EVENTS = "events"
    CALL = "call"


class Course(enum.Enum):
    """What becomes of it. What is held goes on as if nothing had been, once the port is open."""

    ANSWER = "answer"  # by the resource's state, at once
    TOO_EARLY = "too early"
    HOLD = "hold"
    PAGE = "page"  # held for a moment, then a page waits in its place
    WAKE_AND_HOLD = "wake and hold"
    WAKE_AND_PAGE = "wake and page"

    @property
    def wakes(self) -> bool:
        return self is Course.WAKE_AND_HOLD or self is Course.WAKE_AND_PAGE

    @property
    def page(self) -> bool:
        return self is Course.PAGE or self is Course.WAKE_AND_PAGE


_NEVER: Final = frozenset((Kind.MONITOR, Kind.PREFETCH, Kind.ROBOT, Kind.PREFLIGHT))


def kind_of(head: RequestHead) -> Kind:
    """What the request says of itself."""
    if head.credentials is not None and head.credentials.monitor:
        return Kind.MONITOR
    for name in _PREFETCH_HEADERS:
        value = head.value(name)
        if value is not None and _PREFETCH.search(value) is not None:
            return Kind.PREFETCH
    if head.user_agent and _ROBOT.search(head.user_agent) is not None:
        return Kind.ROBOT
    if (
        head.method == b"OPTIONS"
        and head.value(b"origin") is not None
        and head.value(b"access-control-request-method") is not None
    ):
        return Kind.PREFLIGHT
    if head.value(b"early-data") == b"1":
        return Kind.EARLY
    if head.upgrade:
        return Kind.WEBSOCKET
    form = form_of(head.value(b"sec-fetch-mode"), head.value(b"accept"))
    if form is Form.HTML:
        return Kind.NAVIGATION
    return Kind.EVENTS if form is Form.EVENT_STREAM else Kind.CALL


def decide(kind: Kind, wake: Wake, state: State, *, authorised: bool) -> Course:
    """See the module. `state` is `running` where the resource has no endpoint yet, or its port refuses. `authorised`: the
    visitor had to show something to be let in."""
    if wake is Wake.OFF or kind in _NEVER or state in (State.ERROR, State.DESTROYED):
        return Course.ANSWER
    if state not in _SLEEPING:
        return Course.PAGE if kind is Kind.NAVIGATION else Course.HOLD
    if wake is Wake.AUTHORISED and not authorised:
        return Course.ANSWER
    if kind is Kind.EARLY:
        return Course.TOO_EARLY
    return Course.WAKE_AND_PAGE if kind is Kind.NAVIGATION else Course.WAKE_AND_HOLD

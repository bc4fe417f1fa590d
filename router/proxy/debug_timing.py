"""`X-Miosa-Debug: <key>`: whoever has access to a resource sees in `Server-Timing` where the time of their own request went.

    settle             is the key one that has access to what the host leads to?
    attach             the request goes on to its backend: its response will say it
    server_timing      what it says

What has access: an API key that opens the preview, or, where everybody may, one whose scope has the resource; and a token for
programs of the preview itself. Links, passwords and cookies are for visitors, and show nothing. Any other value changes
nothing in the response: neither a key that is nobody's, nor one of another tenant, nor one that can't be looked up now.

A key that is not remembered is looked up while the request waits, for a second at most. Only what has the form of a key is
looked up, and made-up keys so many a second: beyond that they wait for nothing, and cost nothing but a look at their form.

`body` is only there where the response has ended when its head is written; in any other case nobody knows it yet. The access
line and the request record have the whole time.
"""

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from router.access.judging import judge_key, key_reaches
from router.access.keys import UNKNOWN
from router.base.preview_secrets import digest
from router.errors import StoreUnavailableError
from router.observe.access import resolution_source
from router.proxy.guard import Visit, guard_of
from router.routes.policies import SecretKind

if TYPE_CHECKING:
    from router.access.rules import AccessRules
    from router.proxy.exchange import Exchange
    from router.routes.route import Route

_API_KEY: Final = re.compile(rb"msk_[A-Za-z0-9_-]{20,196}")
_TOKEN: Final = re.compile(rb"mpt_[A-Za-z0-9_-]{43}")
_LOOK_UP_TIME: Final = 1.0  # seconds that a request waits for its key, at most
_AT_ONCE: Final = 16  # keys that are looked up in one worker
_PER_SECOND: Final = 20.0  # keys that turn out to be nobody's, of one worker


class KeyLookUps:
    """How many keys of `X-Miosa-Debug` may be looked up: so many at once, and so many a second that are nobody's."""

    def __init__(self, now: float) -> None:
        self._left = _PER_SECOND
        self._at = now
        self._running = 0

    def begin(self, now: float) -> bool:
        """Whether one more may be looked up; then `end` has to follow."""
        self._left = min(_PER_SECOND, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < 1 or self._running >= _AT_ONCE:
            return False
        self._left -= 1
        self._running += 1
        return True

    def end(self, *, known: bool) -> None:
        """It has been looked up; `known`: it is somebody's, and does not count."""
        self._running -= 1
        if known:
            self._left = min(_PER_SECOND, self._left + 1)


class Timing:
    """What is measured of one request that brings `X-Miosa-Debug`. `shown`: its key has access. `resolving` are the seconds in
    which it was found out where the host leads and whether the visitor may come in, `key` those of the look-up of the key;
    `at` is when the last of these was over. `asked`: the key has been looked up, or was not to be; `known`: it is somebody's."""

    def __init__(self) -> None:
        self.shown = False
        self.asked = False
        self.known = False
        self.resolving = 0.0
        self.key = 0.0
        self.at = 0.0


def timing_of(exchange: "Exchange") -> Timing:
    """That of this exchange, which brings the header."""
    timing = exchange.timing
    if timing is None:
        timing = exchange.timing = Timing()
    return timing


def resolved(exchange: "Exchange", since: float) -> None:
    """Something was looked up since then, before it was known whether, and where, the request goes on."""
    timing = timing_of(exchange)
    timing.at = exchange.worker.time()
    timing.resolving += timing.at - since


def settle(exchange: "Exchange", route: "Route") -> bool:
    """Find out whether the request's key has access to what the route leads to; False: the key is being looked up, and the
    exchange is admitted once more then."""
    credentials = exchange.head.credentials
    if credentials is None or not credentials.debug:
        return True
    timing, key = timing_of(exchange), credentials.debug
    timing.shown = False
    if route.resource is None or (_API_KEY.fullmatch(key) is None and _TOKEN.fullmatch(key) is None):
        return True
    worker = exchange.worker
    guard = guard_of(worker, route)
    rules = None if guard is None else guard.rules
    if rules is not None and not rules.takes_address(exchange.client):
        return True
    hashed = digest(key.decode("ascii"))
    if key.startswith(b"mpt_"):
        timing.shown = rules is not None and _opens(rules, hashed, worker.date())
        return True
    record = worker.access.peek(hashed)
    if record is UNKNOWN:
        if not timing.asked and worker.debug_look_ups.begin(worker.time()):
            timing.asked = True
            exchange.hold_body()
            worker.pacer.take(partial(_start, exchange, hashed, worker.time()))
            return False
        return True
    if rules is not None:
        timing.shown = judge_key(rules, record, worker.date()) is None
    else:
        timing.shown = key_reaches(route.resource, record, worker.date())
    return True


def _opens(rules: "AccessRules", hashed: str, now: float) -> bool:
    secret = rules.secrets.get(hashed)
    return (
        secret is not None
        and secret.kind is SecretKind.PROGRAM
        and not secret.revoked
        and (secret.until is None or now < secret.until)
    )


def _start(exchange: "Exchange", hashed: str, since: float) -> None:
    look_ups = exchange.worker.debug_look_ups
    if exchange.over:
        look_ups.end(known=True)
        return
    timing = timing_of(exchange)
    task = exchange.worker.tasks.start("look up a key", _look_up(exchange, hashed, since))
    exchange.waiting = task
    # Not in the task itself: one that is cancelled before its first step runs nothing of it. Who leaves meanwhile pays for the look-up
    # all the same: it goes on.
    task.add_done_callback(lambda _: look_ups.end(known=timing.known))


async def _look_up(exchange: "Exchange", hashed: str, since: float) -> None:
    worker, timing = exchange.worker, timing_of(exchange)
    try:
        try:
            async with asyncio.timeout(_LOOK_UP_TIME):
                timing.known = await worker.access.resolve(hashed) is not None
        except (StoreUnavailableError, TimeoutError):
            pass  # the request goes on as if it had brought no key; who can't be reached says so in the log (`record_cache.py`)
        timing.at = worker.time()
        timing.key = timing.at - since
        route = worker.resolver.peek(exchange.head.host)
        if route is None:
            exchange.looked_up = True
            route = await worker.resolver.resolve(exchange.head.host)
            resolved(exchange, timing.at)
        exchange.waiting = None
        if not exchange.over:
            exchange.admit(route)
    except Exception:
        exchange.crash()
        raise


def attach(exchange: "Exchange") -> None:
    """The request has been let in: its response will say where its time went, and no shared cache keeps that."""
    visit = exchange.visit
    visit = exchange.visit = Visit(restricted=True) if visit is None else visit.own()
    visit.restricted = visit.tells_times = True


def server_timing(exchange: "Exchange", *, whole: bool) -> bytes:
    """The value of `Server-Timing` at this moment. `whole`: the response ends with what is written now."""
    worker, timing, route = exchange.worker, timing_of(exchange), exchange.route
    now = worker.time()
    queue = _between(exchange.queued_at, exchange.admitted_at, now)
    dial = _between(exchange.dialled_at, exchange.connected_at, now)
    parts = [b"resolve;dur=%b" % _ms(timing.resolving)]
    if timing.key:
        parts.append(b"key;dur=%b" % _ms(timing.key))
    parts += [b"queue;dur=%b" % _ms(queue), b"dial;dur=%b" % _ms(dial)]
    if exchange.backend:
        sent = max(exchange.started, timing.at, exchange.woken_at, exchange.admitted_at, exchange.connected_at)
        parts.append(b"wait;dur=%b" % _ms((exchange.first_byte or now) - sent))
        if whole:
            parts.append(b"body;dur=%b" % _ms(now - (exchange.first_byte or now)))
    if route is not None:
        parts.append(b'level;desc="%b"' % str(route.decision.level).encode("ascii"))
        source = resolution_source(route.source, looked_up=exchange.looked_up)
        parts.append(b'source;desc="%b"' % source.encode("ascii"))
    return b", ".join(parts)


def _between(begin: float, end: float, now: float) -> float:
    """How long something took; until now where it is not over."""
    return 0.0 if not begin else (end if end >= begin else now) - begin


def _ms(seconds: float) -> bytes:
    return b"%d.%03d" % divmod(max(0, round(seconds * 1_000_000)), 1000)

"""The event stream of a page that waits for a resource (`pages/waiting.py`): a response of our own that goes on for as long
as the waking does.

It is written only to a browser that keeps up: what it has not taken when the next event comes is what that one replaces.
"""

from typing import TYPE_CHECKING

from router.errors import Problem
from router.http1.bodies import LAST_CHUNK, chunk
from router.http1.heads import CHUNKED, UNTIL_CLOSE
from router.http1.local_heads import stream_head
from router.observe import endings
from router.pages import Progress, Stage
from router.pages.waiting import HEARTBEAT, event, first_event, last_event

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.waking import Waking

_GRACE = 10.0  # seconds after the waking's end at which the sweep ends what is still there


def begin(exchange: "Exchange", waking: "Waking") -> None:
    """Answer with the stream, which says how far it has come."""
    worker, incoming, head = exchange.worker, exchange.incoming, exchange.head
    exchange.waiting = waking.watch(exchange)
    exchange.phase = endings.BODIES
    exchange.status = 200
    exchange.first_byte = worker.time()
    exchange.framing = CHUNKED if head.version == 1 else UNTIL_CLOSE
    exchange.keep_alive = head.keep_alive and head.version == 1 and incoming.request_done
    incoming.deadline = waking.until + _GRACE
    incoming.write(stream_head(exchange.id, version=head.version))
    _write(exchange, first_event(waking.progress))


def tell(exchange: "Exchange", progress: Progress) -> None:
    """One more event."""
    if progress.stage is Stage.OPEN or not exchange.incoming.write_paused:
        _write(exchange, event(progress))


def beat(exchange: "Exchange", until: float) -> None:
    """A sign of life, from a waking that goes on until then."""
    exchange.incoming.deadline = until + _GRACE
    if not exchange.incoming.write_paused:
        _write(exchange, HEARTBEAT)


def end(exchange: "Exchange", problem: Problem | None = None) -> None:
    """The stream is over, with why the resource could not be woken. Without that, a browser that is still there asks again."""
    if exchange.over:
        return
    if problem is not None:
        _write(exchange, last_event(problem))
    incoming = exchange.incoming
    if exchange.framing == CHUNKED:
        incoming.write(LAST_CHUNK)
    exchange.release(reusable=False)
    keep_alive = exchange.keep_alive and not exchange.worker.draining
    exchange.end(endings.COMPLETE)
    incoming.exchange_over(keep_alive=keep_alive)


def _write(exchange: "Exchange", data: bytes) -> None:
    exchange.sent += len(data)
    exchange.incoming.write(chunk(data) if exchange.framing == CHUNKED else data)

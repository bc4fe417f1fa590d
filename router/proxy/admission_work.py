"""What the admission of an exchange has to wait for, and the cookie that some of it ends in.

A wait holds the request's body, and comes back to the exchange, or is cancelled with it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from router import errors
from router.access.cookies import MAX_AGE, Grant, set_cookie, sign
from router.access.rules import AccessRules
from router.errors import StoreUnavailableError
from router.observe import endings
from router.proxy import debug_timing
from router.routes.policies import AccessSecret

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange

_LOOK_UP_TIME: Final = 10.0  # seconds for one, at most

_log = structlog.get_logger("router.proxy")


def wait(exchange: "Exchange", name: str, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Do `work`, when it is its turn; if it says so, admit the exchange once more, by the route that its host has then."""
    exchange.looked_up = True
    exchange.hold_body()
    exchange.worker.pacer.take(partial(_start, exchange, name, work, exchange.worker.time()))


def _start(exchange: "Exchange", name: str, work: Callable[[], Coroutine[Any, Any, bool]], since: float) -> None:
    if not exchange.over:
        exchange.waiting = exchange.worker.tasks.start(name, _work(exchange, work, since))


async def _work(exchange: "Exchange", work: Callable[[], Coroutine[Any, Any, bool]], since: float) -> None:
    worker = exchange.worker
    try:
        route = None
        async with asyncio.timeout(_LOOK_UP_TIME):
            if await work():
                route = await worker.resolver.resolve(exchange.head.host)
        exchange.waiting = None
        if exchange.timing is not None:
            debug_timing.resolved(exchange, since)
        if route is not None and not exchange.over:
            exchange.admit(route)
    except (StoreUnavailableError, TimeoutError):
        exchange.waiting = None
        if not exchange.over:
            exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
    except Exception:
        exchange.crash()
        raise


def cookie_for(exchange: "Exchange", rules: AccessRules, secret: AccessSecret) -> bytes | None:
    """The value of Set-Cookie for who has come in by this secret; None where no key signs one."""
    return cookie_of(exchange, rules, secret.id, secret.until)


def cookie_of(exchange: "Exchange", rules: AccessRules, secret_id: str, secret_until: float | None) -> bytes | None:
    """As `cookie_for`, of a secret or a session that holds until then."""
    worker = exchange.worker
    now, keys = worker.date(), worker.access.signing
    until = now + MAX_AGE if secret_until is None else min(now + MAX_AGE, secret_until)
    grant = Grant(rules.resource_id, rules.port, secret_id, rules.generation, now, until)
    value = None if keys is None else sign(grant, keys, now)
    if value is None:
        _log.error("a visitor got no cookie: no key signs cookies now", resource=rules.resource_id)
        return None
    return set_cookie(value, int(until - now))

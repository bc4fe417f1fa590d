"""Retry a service method whose transaction was chosen as deadlock victim.

Transactions lock rows in one order where they are known beforehand: tenant, workspace, project, resource. Some rows are
only found on the way, such as the one that has a slug already, so two transactions can still wait for each other. The
database then rolls one of them back. Nothing of it was stored, because a service method does its work in one
transaction, and so it can be called again without the caller's knowledge.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import structlog

from router.errors import DeadlockError

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5  # each takes PostgreSQL's deadlock_timeout, a second; a handler has sixty

_log = structlog.get_logger("router.tenancy")


def retry_on_deadlock(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The service method, called up to `TRIES` times. What it does outside its one transaction must be safe to repeat.

    Raises DeadlockError where the last try was a deadlock victim too.
    """

    @functools.wraps(method)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for number in range(1, TRIES):
            try:
                return await method(*args, **kwargs)
            except DeadlockError:
                _log.info("deadlock, retrying", method=method.__qualname__, tries=number)
        return await method(*args, **kwargs)

    return tried

"""Verbs that begin anew where they had to give way.

Rows are held in one order where a verb knows them beforehand: tenant, workspace, project, resource. Some it finds only
on its way, such as whoever has a slug already; so verbs can still wait for each other in a circle. The database then
undoes one of them. It has done nothing yet, as a verb does its work in one transaction, and nobody needs to hear of it.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import structlog

from router.errors import GaveWayError

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5  # each takes PostgreSQL's deadlock_timeout, a second; a handler has sixty

_log = structlog.get_logger("router.tenancy")


def anew(verb: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The verb, tried a few times. Whatever is around its one transaction must be safe to repeat.

    Raises GaveWayError where the last try had to give way too.
    """

    @functools.wraps(verb)
    async def tried(*words: P.args, **options: P.kwargs) -> T:
        for number in range(1, TRIES):
            try:
                return await verb(*words, **options)
            except GaveWayError:
                _log.info("a verb begins anew", verb=verb.__qualname__, tries=number)
        return await verb(*words, **options)

    return tried

"""domains.lookup.Lookup: aliases followed, answers remembered, searches shared. `router.dns` says who is asked."""

import asyncio
from collections.abc import Callable, Sequence

import dns.exception
import dns.name
import structlog

from router.base.addresses import is_public
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.dns.delegation import Delegation
from router.dns.query_budget import QueryBudget, Server
from router.dns.roots import ROOTS
from router.dns.single_flight import Search, SingleFlight
from router.dns.sources import Authoritative, Configured, Source
from router.dns.system_resolvers import system_resolvers
from router.dns.transport import QUERY_TIMEOUT, Transport
from router.dns.ttl_cache import TtlCache
from router.dns.views import Step, unknown
from router.dns.walk import MAX_TTL, PORT, Hints, Walk
from router.domains.lookup import Answer, Outcome, Question
from router.observe.metrics import Metrics
from router.settings import split_server

MAX_LOOKUPS = 256  # at once; more of them wait
MAX_ALIASES = 8
MAX_NEGATIVE_TTL = 30.0  # seconds that it is remembered that there are no records
_MAX_CACHED = 10_000

_TIMEOUT = Answer(Outcome.UNKNOWN, reason="timeout")

_log = structlog.get_logger("router.dns")


class DnsLookup:
    """Asks the servers of the setting DNS_SERVERS; where there are none, the authoritative ones of each name."""

    def __init__(
        self,
        servers: Sequence[str],
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        query_timeout: float = QUERY_TIMEOUT,
        resolvers: Sequence[str] | None = None,
        roots: Hints = ROOTS,
        allowed: Callable[[str], bool] = is_public,
        port: int = PORT,
    ) -> None:
        """`servers` and `resolvers` are `address` or `address:port`; None: the system's resolvers.

        `query_timeout` is in seconds. `roots`, `allowed` and `port` are where walks begin, whom they may ask, and where.
        """
        self._clock = clock
        self._metrics = metrics
        self._tasks = Tasks("dns")
        self._lookups = asyncio.Semaphore(MAX_LOOKUPS)
        self._transport = Transport(clock, query_timeout=query_timeout, metrics=metrics)
        self._source: Source
        grace = query_timeout / 2
        if servers:
            self._source = Configured([_server(server) for server in servers], self._tasks, grace=grace)
        else:
            walk = Walk(clock, self._tasks, roots=roots, allowed=allowed, port=port, grace=grace)
            helpers = [_server(one) for one in (system_resolvers() if resolvers is None else resolvers)]
            self._source = Authoritative(walk, helpers, self._tasks, clock, grace=grace)
        self._cache = TtlCache[Question, Step](clock, _MAX_CACHED)
        self._searches = SingleFlight[tuple[Question, bool], Step](self._tasks, clock)

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        """An answer to each question, in their order, all asked at once."""
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                await self._lookups.acquire()
        except TimeoutError:
            return [_TIMEOUT for _ in questions]
        try:
            answers = await self._answers(questions, until, fresh=fresh)
        finally:
            self._lookups.release()
        for question, answer in zip(questions, answers, strict=True):
            self._note(question, answer)
        return answers

    async def delegation(self, zone: str, until: float) -> Delegation:
        """To whom the zone is delegated now; `until` is an instant of the monotonic clock."""
        queries = QueryBudget(self._transport, self._clock, Search(until))
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                return await self._source.delegation(queries, dns.name.from_text(f"{zone}."))
        except TimeoutError:
            return Delegation(reason="timeout")

    async def close(self) -> None:
        """End every open question: its caller gets the answer unknown, for the reason `closed`."""
        await self._tasks.close()

    async def _answers(self, questions: Sequence[Question], until: float, *, fresh: bool) -> list[Answer]:
        if self._tasks.closed:
            return [Answer(Outcome.UNKNOWN, reason="closed") for _ in questions]
        going = [self._tasks.start("answer", self._answer(question, until, fresh=fresh)) for question in questions]
        try:
            if going:
                await asyncio.wait(going)
        finally:
            for task in going:
                task.cancel()
        return [_result(task) for task in going]

    async def _answer(self, question: Question, until: float, *, fresh: bool) -> Answer:
        """Follow a name's aliases to the records that are asked for."""
        name = question.name
        aliases: list[str] = []
        remark: str | None = None
        while True:
            step = await self._step(Question(name, question.type), until, fresh=fresh)
            remark = remark or step.remark
            is_alias = step.outcome is Outcome.FOUND and step.type is not question.type
            if not is_alias:
                return Answer(step.outcome, step.values, step.reason, step.errors, tuple(aliases), step.servers, remark)
            name = step.values[0]
            if name in (question.name, *aliases):
                return Answer(Outcome.UNKNOWN, reason="alias_loop", aliases=tuple(aliases))
            if len(aliases) == MAX_ALIASES:
                return Answer(Outcome.UNKNOWN, reason="too_many_aliases", aliases=tuple(aliases))
            aliases.append(name)

    async def _step(self, question: Question, until: float, *, fresh: bool) -> Step:
        """What is known of one name, or found out now."""
        known = None if fresh else self._cache.get(question)
        if known is not None:
            return known
        try:
            name = dns.name.from_text(f"{question.name}.")
        except dns.exception.DNSException:
            return unknown(question.type, "bad_name")

        async def find(search: Search[Step]) -> Step:
            queries = QueryBudget(self._transport, self._clock, search)
            step = await self._source.find(queries, name, question.type, fresh=fresh)
            self._cache.put(question, step, _seconds(step))
            return step

        try:
            return await self._searches.join((question, fresh), until, find)
        except TimeoutError:
            return unknown(question.type, "timeout")

    def _note(self, question: Question, answer: Answer) -> None:
        if self._metrics is not None:
            self._metrics.count("dns_lookups", answer.outcome.value)
        outcome, reason = answer.outcome.value, answer.reason
        _log.debug("looked up", name=question.name, type=question.type.value, outcome=outcome, reason=reason)


def _result(task: asyncio.Task[Answer]) -> Answer:
    if task.cancelled():
        return Answer(Outcome.UNKNOWN, reason="closed")
    if task.exception() is not None:  # a bug of ours, which the task's owner has logged
        return Answer(Outcome.UNKNOWN, reason="failed")
    return task.result()


def _seconds(step: Step) -> float:
    """How long a step may be remembered: what is not definitive, not at all."""
    if not step.outcome.definitive:
        return 0
    return min(step.ttl, MAX_TTL if step.outcome is Outcome.FOUND else MAX_NEGATIVE_TTL)


def _server(address: str) -> Server:
    host, port = split_server(address)
    return Server(address, ((host, port or PORT),))

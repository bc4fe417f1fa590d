"""domains.lookup.Lookup: aliases followed, answers remembered, searches shared. `router.dns` says who is asked."""

import asyncio
from collections.abc import Callable, Sequence

import dns.exception
import dns.name
import dns.resolver
import structlog

from router.addresses import is_public
from router.clock import Clock
from router.dns.inquiry import Inquiry, Server
from router.dns.remembered import Remembered, Search, Searches
from router.dns.roots import ROOTS
from router.dns.sources import Configured, InCharge, Source
from router.dns.transport import QUERY_TIME, Transport
from router.dns.views import Step, unknown
from router.dns.walk import LONGEST, PORT, Hints, Walk
from router.domains.lookup import Answer, Outcome, Question
from router.observe.metrics import Metrics
from router.settings import split_server
from router.tasks import Tasks

CHECKS = 64  # at once; more wait
MOST_ALIASES = 8
LONGEST_ABSENCE = 30.0  # seconds that it is remembered that there are no records
_MOST_REMEMBERED = 10_000

_TIMEOUT = Answer(Outcome.UNKNOWN, reason="timeout")

_log = structlog.get_logger("router.dns")


class DnsLookup:
    """Asks the servers of the setting DNS_SERVERS; where there are none, those in charge of each name."""

    def __init__(
        self,
        servers: Sequence[str],
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        query_time: float = QUERY_TIME,
        resolvers: Sequence[str] | None = None,
        roots: Hints = ROOTS,
        allowed: Callable[[str], bool] = is_public,
        port: int = PORT,
    ) -> None:
        """`servers` and `resolvers` are `address` or `address:port`; None: the system's resolvers.

        `query_time` is in seconds. `roots`, `allowed` and `port` are where walks begin, whom they may ask, and where.
        """
        self._clock = clock
        self._metrics = metrics
        self._tasks = Tasks("dns")
        self._checks = asyncio.Semaphore(CHECKS)
        self._transport = Transport(clock, query_time=query_time, metrics=metrics)
        self._source: Source
        patience = query_time / 2
        if servers:
            self._source = Configured([_server(server) for server in servers], self._tasks, patience=patience)
        else:
            walk = Walk(clock, self._tasks, roots=roots, allowed=allowed, port=port, patience=patience)
            helpers = [_server(one) for one in (_of_the_system() if resolvers is None else resolvers)]
            self._source = InCharge(walk, helpers, self._tasks, clock, patience=patience)
        self._steps = Remembered[Question, Step](clock, _MOST_REMEMBERED)
        self._searches = Searches[tuple[Question, bool], Step](self._tasks, clock)

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        """An answer to each question, in their order, all asked at once."""
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                await self._checks.acquire()
        except TimeoutError:
            return [_TIMEOUT for _ in questions]
        try:
            answers = await self._answers(questions, until, fresh=fresh)
        finally:
            self._checks.release()
        for question, answer in zip(questions, answers, strict=True):
            self._note(question, answer)
        return answers

    async def close(self) -> None:
        """End every question that is still open; whoever waits for an answer gets one."""
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
        while True:
            step = await self._step(Question(name, question.type), until, fresh=fresh)
            is_alias = step.outcome is Outcome.FOUND and step.type is not question.type
            if not is_alias:
                return Answer(step.outcome, step.values, step.reason, step.errors, tuple(aliases), step.servers)
            name = step.values[0]
            if name in (question.name, *aliases):
                return Answer(Outcome.UNKNOWN, reason="alias_loop", aliases=tuple(aliases))
            if len(aliases) == MOST_ALIASES:
                return Answer(Outcome.UNKNOWN, reason="too_many_aliases", aliases=tuple(aliases))
            aliases.append(name)

    async def _step(self, question: Question, until: float, *, fresh: bool) -> Step:
        """What is known of one name, or found out now."""
        known = None if fresh else self._steps.get(question)
        if known is not None:
            return known
        try:
            name = dns.name.from_text(f"{question.name}.")
        except dns.exception.DNSException:
            return unknown(question.type, "bad_name")

        async def find(search: Search[Step]) -> Step:
            inquiry = Inquiry(self._transport, self._clock, search)
            step = await self._source.find(inquiry, name, question.type, fresh=fresh)
            self._steps.put(question, step, _seconds(step))
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
    return min(step.ttl, LONGEST if step.outcome is Outcome.FOUND else LONGEST_ABSENCE)


def _server(address: str) -> Server:
    host, port = split_server(address)
    return Server(address, ((host, port or PORT),))


def _of_the_system() -> list[str]:
    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        _log.warning("the system has no resolvers, and DNS_SERVERS is not set: signatures are not checked")
        return []
    return [server for server in servers if isinstance(server, str)]

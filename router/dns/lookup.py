"""domains.lookup.Lookup on dnspython: questions to recursive resolvers, each server given 2 seconds at a time.

A server that refuses or fails is left out and the next one asked; one that is silent is asked again, until the check's
time is over. A truncated answer is asked for again over TCP. What arrives from elsewhere, or with a wrong id, is not an
answer: the real one may still come.
"""

import asyncio
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.nameserver
import dns.rdatatype
import dns.resolver
import structlog

from router.clock import Clock
from router.domains.lookup import Answer, Outcome, Question
from router.settings import split_server
from router.tasks import Tasks

QUERY_TIME = 2.0  # seconds for one server to answer
_PORT = 53
_PAYLOAD = 1232  # bytes of UDP that no network fragments (DNS Flag Day 2020)

_log = structlog.get_logger("router.dns")


class DnsLookup:
    """Asks the servers of the setting DNS_SERVERS, or the system's where there are none."""

    def __init__(self, servers: Sequence[str], clock: Clock, *, query_time: float = QUERY_TIME) -> None:
        self._clock = clock
        self._tasks = Tasks("dns")
        self._resolver = _resolver(servers)
        self._resolver.timeout = query_time
        self._resolver.use_edns(0, 0, _PAYLOAD)

    async def ask(
        self,
        questions: Sequence[Question],
        until: float,
        *,
        fresh: bool = False,  # noqa: ARG002  # remembers nothing
    ) -> Sequence[Answer]:
        """An answer to each question, in their order, all asked at once."""
        asking = [self._tasks.start(f"ask {question.type}", self._ask(question, until)) for question in questions]
        return await asyncio.gather(*asking)

    async def close(self) -> None:
        """End every question that is still open."""
        await self._tasks.close()

    async def _ask(self, question: Question, until: float) -> Answer:
        left = until - self._clock.monotonic()
        if left <= 0:
            return Answer(Outcome.UNKNOWN, reason="timeout")
        try:
            async with asyncio.timeout(left):
                found = await self._resolver.resolve(
                    f"{question.name}.", question.type.value, raise_on_no_answer=False, lifetime=left, search=False
                )
        except dns.resolver.NXDOMAIN:
            return Answer(Outcome.NXDOMAIN)
        except dns.resolver.NoNameservers as error:
            return Answer(Outcome.UNKNOWN, reason=_refusal(error))
        except (TimeoutError, dns.exception.Timeout):
            return Answer(Outcome.UNKNOWN, reason="timeout")
        except dns.exception.DNSException as error:
            return Answer(Outcome.UNKNOWN, reason=type(error).__name__.lower())
        return _read(found)


def _resolver(servers: Sequence[str]) -> dns.asyncresolver.Resolver:
    if servers:
        resolver = dns.asyncresolver.Resolver(configure=False)
        addresses = [split_server(server) for server in servers]
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port or _PORT) for host, port in addresses]
        return resolver
    try:
        return dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        _log.warning("no name servers: the system has none, and DNS_SERVERS is not set")
        return dns.asyncresolver.Resolver(configure=False)


def _read(found: dns.resolver.Answer) -> Answer:
    if found.rrset is None:
        if not found.response.flags & (dns.flags.AA | dns.flags.RA):
            # A referral: this server neither is in charge of the name nor looks further for us.
            return Answer(Outcome.UNKNOWN, reason="lame")
        return Answer(Outcome.NODATA)
    if found.rdtype == dns.rdatatype.CNAME:
        values = {record.target.to_text().removesuffix(".").lower() for record in found.rrset}
    else:
        values = {record.address for record in found.rrset}
    return Answer(Outcome.FOUND, tuple(sorted(values)))


def _refusal(error: dns.resolver.NoNameservers) -> str:
    """Why the last server asked gave no answer: its code, as in `servfail`, or the network's word."""
    failed = error.kwargs.get("errors") or ()
    if not failed:
        return "no_servers"
    cause = failed[-1][3]
    return cause.lower() if isinstance(cause, str) else "unreachable" if isinstance(cause, OSError) else "bad_answer"

"""What every Lookup promises: the twin in memory, and dnspython, whoever it asks."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.dns import DnsLookup
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from tests.support.internet import Internet
from tests.support.memory_dns import MemoryLookup
from tests.support.nameserver import NameServer

pytestmark = pytest.mark.asyncio

A, AAAA, CNAME, TXT = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.TXT
CAA, NS, SOA, MX = RecordType.CAA, RecordType.NS, RecordType.SOA, RecordType.MX
ZONES = ("example.com", "example.net", "miosa.ai")


class Data(Protocol):
    """What DNS knows."""

    def put(self, name: str, record_type: RecordType, *values: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def fail(self, name: str, reason: str | None = "servfail", *errors: str) -> None: ...

    def differ(self, name: str, record_type: RecordType, *views: Sequence[str]) -> None: ...


class TwoServers:
    """Two servers that know the same, and differ where they are told to."""

    def __init__(self, *servers: NameServer) -> None:
        self._servers = servers

    def put(self, name: str, record_type: RecordType, *values: str) -> None:
        for server in self._servers:
            server.put(name, record_type, *values)

    def remove(self, name: str) -> None:
        for server in self._servers:
            server.remove(name)

    def fail(self, name: str, reason: str | None = "servfail", *errors: str) -> None:
        for server in self._servers:
            server.fail(name, reason, *errors)

    def differ(self, name: str, record_type: RecordType, *views: Sequence[str]) -> None:
        for server, view in zip(self._servers, views, strict=True):
            server.put(name, record_type, *view)


@dataclass(frozen=True, slots=True)
class Dns:
    """Some DNS, and who asks it."""

    data: Data
    lookup: Lookup

    async def ask(self, name: str, record_type: RecordType = A, *, fresh: bool = False) -> Answer:
        until = SystemClock().monotonic() + 10
        (answer,) = await self.lookup.ask([Question(name, record_type)], until, fresh=fresh)
        return answer


@pytest_asyncio.fixture(params=["memory", "configured", "in charge"])
async def dns(request: pytest.FixtureRequest) -> AsyncIterator[Dns]:
    """The twin; servers of the setting DNS_SERVERS; the servers in charge, from the root down."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            twin = MemoryLookup()
            yield Dns(twin, twin)
            return
        if request.param == "configured":
            servers = [await stack.enter_async_context(NameServer()) for _ in range(2)]
            lookup = DnsLookup([server.server for server in servers], SystemClock())
            data = TwoServers(*servers)
        else:
            internet = await stack.enter_async_context(Internet(*ZONES))
            lookup = DnsLookup([], SystemClock(), **internet.options)
            data = TwoServers(internet.first, internet.second)
        stack.push_async_callback(lookup.close)
        yield Dns(data, lookup)


def found(*values: str, aliases: tuple[str, ...] = ()) -> Answer:
    return Answer(Outcome.FOUND, values, aliases=aliases)


NODATA, NXDOMAIN = Answer(Outcome.NODATA), Answer(Outcome.NXDOMAIN)


async def test_addresses_come_sorted(dns: Dns) -> None:
    """Name servers rotate them; two answers with the same records are equal."""
    dns.data.put("app.example.com", A, "192.0.2.7", "192.0.2.10")
    dns.data.put("app.example.com", AAAA, "2001:db8::7")
    assert await dns.ask("app.example.com") == found("192.0.2.10", "192.0.2.7")
    assert await dns.ask("app.example.com", AAAA) == found("2001:db8::7")


async def test_an_alias_is_one_step(dns: Dns) -> None:
    """A question for CNAME is not followed, one for addresses is."""
    dns.data.put("app.example.com", CNAME, "edge.example.net")
    dns.data.put("edge.example.net", CNAME, "proxy.miosa.ai")
    dns.data.put("proxy.miosa.ai", A, "192.0.2.1")
    assert await dns.ask("app.example.com", CNAME) == found("edge.example.net")
    aliases = ("edge.example.net", "proxy.miosa.ai")
    assert await dns.ask("app.example.com", A) == found("192.0.2.1", aliases=aliases)
    assert await dns.ask("app.example.com", AAAA) == Answer(Outcome.NODATA, aliases=aliases)


async def test_a_name_with_other_records_is_not_a_missing_one(dns: Dns) -> None:
    """NODATA and NXDOMAIN are different answers, and people need different advice."""
    dns.data.put("app.example.com", A, "192.0.2.7")
    assert await dns.ask("app.example.com", CNAME) == NODATA
    assert await dns.ask("example.com", A) == NODATA
    assert await dns.ask("other.example.com", A) == NXDOMAIN
    assert await dns.ask("nobody.example", CNAME) == NXDOMAIN


async def test_an_alias_may_lead_nowhere(dns: Dns) -> None:
    """The alias exists, what it names does not."""
    dns.data.put("app.example.com", CNAME, "gone.example.net")
    assert await dns.ask("app.example.com", CNAME) == found("gone.example.net")
    assert await dns.ask("app.example.com", A) == Answer(Outcome.NXDOMAIN, aliases=("gone.example.net",))


async def test_a_wildcard_covers_every_depth(dns: Dns) -> None:
    """RFC 4592: `*` stands for one label or several, and not for the name that it is under."""
    dns.data.put("*.example.com", CNAME, "proxy.miosa.ai")
    assert await dns.ask("any.example.com", CNAME) == found("proxy.miosa.ai")
    assert await dns.ask("3000-any.sandbox.example.com", CNAME) == found("proxy.miosa.ai")
    assert await dns.ask("example.com", CNAME) == NODATA


async def test_a_second_wildcard_hides_the_first(dns: Dns) -> None:
    """RFC 4592: `*.sandbox` makes `sandbox` exist, and from then on `*` covers nothing at or below it."""
    dns.data.put("*.example.com", CNAME, "proxy.miosa.ai")
    dns.data.put("*.sandbox.example.com", CNAME, "other.example.net")
    assert await dns.ask("any.sandbox.example.com", CNAME) == found("other.example.net")
    assert await dns.ask("sandbox.example.com", CNAME) == NODATA
    dns.data.put("*.sandbox.example.com", CNAME)
    dns.data.put("*.sandbox.example.com", A, "192.0.2.7")
    assert await dns.ask("any.sandbox.example.com", CNAME) == NODATA


async def test_a_name_of_its_own_hides_the_wildcard(dns: Dns) -> None:
    """RFC 4592: whatever records it has, and for the names below it as well."""
    dns.data.put("*.example.com", CNAME, "proxy.miosa.ai")
    dns.data.put("www.example.com", A, "192.0.2.7")
    assert await dns.ask("www.example.com", CNAME) == NODATA
    assert await dns.ask("a.www.example.com", CNAME) == NXDOMAIN
    dns.data.remove("www.example.com")
    assert await dns.ask("a.www.example.com", CNAME) == found("proxy.miosa.ai")


@pytest.mark.parametrize("reason", ["servfail", "refused"])
async def test_a_server_that_fails_says_nothing_about_the_name(dns: Dns, reason: str) -> None:
    """It is not known whether there are records, until the server can tell again."""
    dns.data.put("app.example.com", A, "192.0.2.7")
    dns.data.fail("app.example.com", reason)
    assert await dns.ask("app.example.com") == Answer(Outcome.UNKNOWN, reason=reason)
    dns.data.fail("app.example.com", None)
    assert await dns.ask("app.example.com") == found("192.0.2.7")


async def test_an_alias_into_a_failing_name(dns: Dns) -> None:
    """The alias is known, the addresses are not."""
    dns.data.put("app.example.com", CNAME, "edge.example.net")
    dns.data.fail("edge.example.net")
    assert await dns.ask("app.example.com", CNAME) == found("edge.example.net")
    assert (await dns.ask("app.example.com", A)).outcome is Outcome.UNKNOWN


async def test_why_it_failed_is_kept(dns: Dns) -> None:
    """Extended errors (RFC 8914) say what an rcode does not."""
    dns.data.put("app.example.com", A, "192.0.2.7")
    errors = ("22 No Reachable Authority: at delegation example.com", "23 Network Error")
    dns.data.fail("app.example.com", "servfail", *errors)
    assert await dns.ask("app.example.com") == Answer(Outcome.UNKNOWN, reason="servfail", errors=errors)


async def test_every_type_has_one_form(dns: Dns) -> None:
    """Whatever else is at a name, and however its servers order and write it."""
    dns.data.put("example.com", TXT, "v=spf1 -all", 'a "quoted" one', "x" * 300)
    dns.data.put("example.com", CAA, '0 issue "ca.example; accounturi=https://ca.example/1"', '128 future "x"')
    dns.data.put("example.com", NS, "ns2.example.com", "ns1.example.com")
    dns.data.put("example.com", SOA, "ns1.example.com hostmaster.example.com 7 3600 600 86400 60")
    dns.data.put("example.com", MX, "10 mail.example.com", "20 backup.example.net")
    assert await dns.ask("example.com", TXT) == found('a "quoted" one', "v=spf1 -all", "x" * 300)
    assert await dns.ask("example.com", CAA) == found(
        '0 issue "ca.example; accounturi=https://ca.example/1"', '128 future "x"'
    )
    assert await dns.ask("example.com", NS) == found("ns1.example.com", "ns2.example.com")
    assert await dns.ask("example.com", SOA) == found("ns1.example.com hostmaster.example.com 7 3600 600 86400 60")
    assert await dns.ask("example.com", MX) == found("10 mail.example.com", "20 backup.example.net")
    assert await dns.ask("example.com", A) == NODATA


async def test_records_of_other_types_are_at_the_end_of_an_alias_too(dns: Dns) -> None:
    """A claim's token may be where the name leads."""
    dns.data.put("_miosa-challenge.example.com", CNAME, "tokens.example.net")
    dns.data.put("tokens.example.net", TXT, "token")
    assert await dns.ask("_miosa-challenge.example.com", TXT) == found("token", aliases=("tokens.example.net",))


async def test_aliases_in_a_circle_lead_nowhere(dns: Dns) -> None:
    """Nothing is known of where they lead; the names on the way are."""
    dns.data.put("a.example.com", CNAME, "b.example.net")
    dns.data.put("b.example.net", CNAME, "a.example.com")
    expected = Answer(Outcome.UNKNOWN, reason="alias_loop", aliases=("b.example.net",))
    assert await dns.ask("a.example.com") == expected
    dns.data.put("self.example.com", CNAME, "self.example.com")
    assert await dns.ask("self.example.com") == Answer(Outcome.UNKNOWN, reason="alias_loop")
    assert await dns.ask("self.example.com", CNAME) == found("self.example.com")


async def test_so_many_aliases_are_followed(dns: Dns) -> None:
    """Eight, and no ninth."""
    names = [f"n{number}.example.com" for number in range(10)]
    for name, alias in itertools.pairwise(names):
        dns.data.put(name, CNAME, alias)
    dns.data.put(names[-1], A, "192.0.2.7")
    assert await dns.ask(names[1]) == found("192.0.2.7", aliases=tuple(names[2:]))
    expected = Answer(Outcome.UNKNOWN, reason="too_many_aliases", aliases=tuple(names[1:9]))
    assert await dns.ask(names[0]) == expected


async def test_servers_that_differ_are_each_heard(dns: Dns) -> None:
    """A change has reached one of them; nothing may be concluded, and what each says is there."""
    dns.data.put("app.example.com", TXT, "exists")
    dns.data.differ("app.example.com", A, ["192.0.2.7", "192.0.2.1"], [])
    answer = await dns.ask("app.example.com")
    assert (answer.outcome, answer.values, answer.reason) == (Outcome.PROPAGATING, (), None)
    assert [(view.type, view.outcome, view.values) for view in answer.servers] == [
        (A, Outcome.FOUND, ("192.0.2.1", "192.0.2.7")),
        (A, Outcome.NODATA, ()),
    ]
    assert len({view.server for view in answer.servers}) == 2
    dns.data.put("app.example.com", A, "192.0.2.7")
    assert await dns.ask("app.example.com") == found("192.0.2.7")


async def test_aliases_that_differ_are_not_followed(dns: Dns) -> None:
    """Not even for addresses; the aliases before them stay."""
    dns.data.put("app.example.com", CNAME, "edge.example.net")
    dns.data.differ("edge.example.net", CNAME, ["proxy.miosa.ai"], ["old.example.com"])
    answer = await dns.ask("app.example.com")
    assert (answer.outcome, answer.aliases) == (Outcome.PROPAGATING, ("edge.example.net",))
    assert [(view.type, view.values) for view in answer.servers] == [
        (CNAME, ("proxy.miosa.ai",)),
        (CNAME, ("old.example.com",)),
    ]


async def test_a_fresh_answer_is_what_the_servers_say_now(dns: Dns) -> None:
    """Whatever is remembered."""
    for address in ("192.0.2.1", "192.0.2.2"):
        dns.data.put("app.example.com", A, address)
        assert await dns.ask("app.example.com", fresh=True) == found(address)


async def test_answers_are_in_the_order_of_the_questions(dns: Dns) -> None:
    """One that fails does not disturb the others; no question, no answer."""
    dns.data.put("a.example.com", A, "192.0.2.1")
    dns.data.put("b.example.com", CNAME, "a.example.com")
    dns.data.fail("c.example.com")
    questions = [Question("c.example.com", A), Question("b.example.com", CNAME), Question("a.example.com", A)]
    answers = await dns.lookup.ask(questions, SystemClock().monotonic() + 10)
    assert [answer.outcome for answer in answers] == [Outcome.UNKNOWN, Outcome.FOUND, Outcome.FOUND]
    assert [answer.values for answer in answers[1:]] == [("a.example.com",), ("192.0.2.1",)]
    assert list(await dns.lookup.ask([], SystemClock().monotonic() + 10)) == []

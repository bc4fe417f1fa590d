"""What dnspython has to stand, and its twin knows nothing of: silence, truncation, forgery, servers of other people; and
what it may remember."""

import asyncio
from collections.abc import AsyncIterator

import dns.flags
import dns.name
import dns.rdatatype
import pytest
import pytest_asyncio

from router.base.clock import ManualClock, SystemClock
from router.dns import DnsLookup
from router.dns.lookup import MAX_LOOKUPS
from router.dns.query_budget import MAX_QUERIES, QueryBudget, Server
from router.dns.single_flight import Search
from router.dns.sources import Authoritative
from router.dns.transport import RESOLVER_CONCURRENCY, SERVER_CONCURRENCY, Transport
from router.dns.views import Step
from router.domains.lookup import Answer, Outcome, Question, RecordType, ServerAnswer
from router.observe.metrics import Metrics
from tests.support.nameserver import BOGUS, CUT, FORGED, GARBAGE, LAME, SILENT, NameServer
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

A, CNAME = RecordType.A, RecordType.CNAME
NAME = "app.example.com"
QUICK = 0.1  # seconds for a server to answer, where the test is about one that does not


@pytest_asyncio.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as started:
        started.put(NAME, A, "192.0.2.7")
        yield started


async def ask(*servers: str, name: str = NAME, record_type: RecordType = A, within: float = 10.0) -> Answer:
    """One question to these servers; nothing is left of it afterwards."""
    clock = SystemClock()
    lookup = DnsLookup(servers, clock, query_timeout=QUICK)
    (answer,) = await lookup.ask([Question(name, record_type)], clock.monotonic() + within)
    assert not lookup._tasks
    await lookup.close()
    return answer


async def test_silence_ends_with_the_time_of_the_check(server: NameServer) -> None:
    """A server that never answers is asked again until then, and nothing is known after that."""
    server.fail(NAME, SILENT)
    assert await ask(server.server, within=0.5) == Answer(Outcome.UNKNOWN, reason="timeout")
    assert len(server.queries) >= 2


async def test_a_check_whose_time_is_over_asks_nobody(server: NameServer) -> None:
    """Several rounds share one limit."""
    assert await ask(server.server, within=0) == Answer(Outcome.UNKNOWN, reason="timeout")
    assert server.queries == []


@pytest.mark.parametrize("fault", [SILENT, FORGED, GARBAGE, CUT, LAME, "servfail", "refused"])
async def test_one_server_that_is_ill(server: NameServer, fault: str) -> None:
    """No reason not to know; what is wrong with it stays beside the answer."""
    async with NameServer() as ill:
        ill.fail(NAME, fault)
        answer = await ask(ill.server, server.server)
        assert ill.queries
    assert (answer.outcome, answer.values) == (Outcome.FOUND, ("192.0.2.7",))
    reason = {FORGED: "timeout", GARBAGE: "timeout", CUT: "bad_answer"}.get(fault, fault)
    assert answer.servers == (
        ServerAnswer(ill.server, A, Outcome.UNKNOWN, reason=reason),
        ServerAnswer(server.server, A, Outcome.FOUND, ("192.0.2.7",)),
    )


async def test_servers_that_fail_in_different_ways(server: NameServer) -> None:
    """The reason is the one that says most, and each has its own beside it."""
    server.fail(NAME, SILENT)
    async with NameServer() as ill:
        ill.fail(NAME, "refused")
        answer = await ask(server.server, ill.server)
    assert (answer.outcome, answer.reason) == (Outcome.UNKNOWN, "refused")
    assert [view.reason for view in answer.servers] == ["timeout", "refused"]


async def test_nobody_listens_there() -> None:
    """A port that is closed is not an answer."""
    assert await ask(f"127.0.0.1:{free_port()}", within=0.5) == Answer(Outcome.UNKNOWN, reason="unreachable")


async def test_what_is_cut_off_is_asked_for_over_tcp(server: NameServer) -> None:
    """RFC 7766: a truncated answer is no answer."""
    server.truncating = True
    assert await ask(server.server) == Answer(Outcome.FOUND, ("192.0.2.7",))
    assert [transport for *_, transport in server.queries] == ["udp", "tcp"]


@pytest.mark.parametrize("fault", [CUT, GARBAGE])
async def test_what_nobody_can_read(server: NameServer, fault: str) -> None:
    """An answer that stays cut off over TCP, or is no message at all."""
    server.fail(NAME, fault)
    assert await ask(server.server) == Answer(Outcome.UNKNOWN, reason="bad_answer")


async def test_an_answer_that_does_not_fit_comes_whole(server: NameServer) -> None:
    """A hundred addresses are more than a datagram that no network fragments."""
    many = tuple(sorted(f"192.0.2.{number}" for number in range(100)))
    server.put("many.example.com", A, *many)
    assert await ask(server.server, name="many.example.com") == Answer(Outcome.FOUND, many)
    assert server.queries[-1][2] == "tcp"


@pytest.mark.parametrize(
    ("record_type", "values"),
    [
        (A, [f"198.51.{number // 250}.{number % 250}" for number in range(400)]),
        (RecordType.TXT, [f"{number} {'x' * 2000}" for number in range(10)]),
    ],
)
async def test_an_answer_that_is_too_large(server: NameServer, record_type: RecordType, values: list[str]) -> None:
    """In records, or in bytes: nobody reads it."""
    server.put("large.example.com", record_type, *values)
    answer = await ask(server.server, name="large.example.com", record_type=record_type)
    assert answer == Answer(Outcome.UNKNOWN, reason="bad_answer")


async def test_a_forged_answer_is_not_believed(server: NameServer) -> None:
    """It has the wrong id; the true one is still on its way."""
    server.put(NAME, A)
    server.put(NAME, CNAME, "proxy.miosa.ai")
    server.spoofed = True
    assert await ask(server.server, record_type=CNAME) == Answer(Outcome.FOUND, ("proxy.miosa.ai",))


async def test_a_server_that_is_not_in_charge_says_nothing(server: NameServer) -> None:
    """An empty answer of a server that neither has the zone nor looks further is not NODATA."""
    server.fail(NAME, LAME)
    assert await ask(server.server) == Answer(Outcome.UNKNOWN, reason="lame")


@pytest.mark.parametrize("code", ["formerr", "notimp", "notauth", "yxdomain"])
async def test_other_refusals_say_nothing_either(server: NameServer, code: str) -> None:
    """Whatever code a server has for it: the name may well exist."""
    server.fail(NAME, code)
    assert await ask(server.server) == Answer(Outcome.UNKNOWN, reason=code)


async def test_names_come_in_one_form(server: NameServer) -> None:
    """Whatever case an owner typed; bytes that are no letters come escaped."""
    server.put("shout.example.com", CNAME, "PROXY.Miosa.AI")
    server.put("odd.example.com", CNAME, r"a\000b\032c.example.net")
    server.put("root.example.com", CNAME, "")
    assert (await ask(server.server, name="shout.example.com", record_type=CNAME)).values == ("proxy.miosa.ai",)
    assert (await ask(server.server, name="odd.example.com", record_type=CNAME)).values == (r"a\000b\032c.example.net",)
    assert (await ask(server.server, name="root.example.com", record_type=CNAME)).values == ("",)
    assert (await ask(server.server, name="", record_type=CNAME)).outcome is Outcome.NODATA


async def test_whoever_asked_may_go_away(server: NameServer) -> None:
    """A check that is cancelled ends its questions."""
    names = [f"{number}.{NAME}" for number in range(3)]
    for name in names:
        server.fail(name, SILENT)
    clock = SystemClock()
    lookup = DnsLookup([server.server], clock)
    asking = asyncio.ensure_future(lookup.ask([Question(name, A) for name in names], clock.monotonic() + 10))
    await eventually(lambda: len(server.queries) == 3, "three questions")
    asking.cancel()
    await asyncio.wait([asking])
    await eventually(lambda: not lookup._tasks, "no question is left")
    await lookup.close()


async def test_a_machine_without_name_servers() -> None:
    """Nothing can be known there, and that is what it says."""
    clock = SystemClock()
    lookup = DnsLookup([], clock, resolvers=[], roots=[])
    assert await lookup.ask([Question(NAME, A)], clock.monotonic() + 10) == [
        Answer(Outcome.UNKNOWN, reason="no_servers")
    ]
    await lookup.close()


async def test_signatures_that_are_bogus(server: NameServer) -> None:
    """SERVFAIL from a resolver that checks, and an answer where it is told not to."""
    server.recursive = True
    server.fail(NAME, BOGUS, "6 DNSSEC Bogus: expired")
    expected = Answer(Outcome.UNKNOWN, reason="bogus", errors=("6 DNSSEC Bogus: expired",))
    assert await ask(server.server) == expected
    assert len(server.queries) == 2


async def test_a_resolver_that_does_not_say_why(server: NameServer) -> None:
    """It is asked to check once more: it might have been ill for a moment."""
    server.recursive = True
    server.fail(NAME, BOGUS)
    assert await ask(server.server) == Answer(Outcome.UNKNOWN, reason="bogus")
    checking = [not flags & dns.flags.CD for flags in server.flags]
    assert checking == [True, False, True]


async def test_a_resolver_that_names_another_reason(server: NameServer) -> None:
    """Then signatures are not the matter, although it answers where it is not to check."""
    server.recursive = True
    server.fail(NAME, BOGUS, "22 No Reachable Authority")
    expected = Answer(Outcome.UNKNOWN, reason="servfail", errors=("22 No Reachable Authority",))
    assert await ask(server.server) == expected


async def test_one_resolver_that_checks_is_enough(server: NameServer) -> None:
    """An authority's checks as well, whatever another one says that does not."""
    async with NameServer() as checking:
        checking.put(NAME, A, "192.0.2.7")
        checking.fail(NAME, BOGUS, "9 DNSKEY Missing")
        answer = await ask(server.server, checking.server)
    assert (answer.outcome, answer.reason, answer.values) == (Outcome.UNKNOWN, "bogus", ())
    assert [view.outcome for view in answer.servers] == [Outcome.FOUND, Outcome.UNKNOWN]


@pytest.mark.parametrize(("ttl", "kept"), [(10, 10), (60, 60), (86400, 60)])
async def test_records_are_remembered_for_so_long(server: NameServer, ttl: int, kept: int) -> None:
    """As long as they hold, and a minute at most."""
    server.ttl = ttl
    await remembered_for(server, NAME, kept)


@pytest.mark.parametrize(("ttl", "kept"), [(10, 10), (86400, 30)])
@pytest.mark.parametrize("name", ["none.example.com", "example.com"])
async def test_nothing_is_remembered_for_so_long(server: NameServer, name: str, ttl: int, kept: int) -> None:
    """As long as its zone says, and half a minute at most."""
    server.ttl = ttl
    await remembered_for(server, name, kept)


async def remembered_for(server: NameServer, name: str, kept: int) -> None:
    """Ask, and ask again before and after these seconds."""
    clock = ManualClock()
    lookup = DnsLookup([server.server], clock)
    for wait, asked in ((0.0, 1), (kept - 0.5, 1), (1.0, 2)):
        clock.advance(wait)
        await lookup.ask([Question(name, A)], clock.monotonic() + 10)
        assert len(server.queries) == asked
    await lookup.close()


async def test_what_does_not_hold_is_not_remembered(server: NameServer) -> None:
    """No time, or nothing said about it."""
    lookup = DnsLookup([server.server], SystemClock())
    for _ in range(2):
        await lookup.ask([Question(NAME, A), Question("none.example.com", A)], SystemClock().monotonic() + 10)
    assert len(server.queries) == 4
    await lookup.close()


async def test_so_many_queries_at_once_to_one_resolver(server: NameServer) -> None:
    """However many want to know something of it; and names that it finds out slowly don't keep the others waiting."""
    server.delay = 0.05
    lookup = DnsLookup([server.server], SystemClock())
    questions = [Question(f"n{number}.example.com", A) for number in range(RESOLVER_CONCURRENCY + 40)]
    asking = asyncio.ensure_future(lookup.ask(questions, SystemClock().monotonic() + 10))
    most = 0
    while not asking.done():
        await asyncio.sleep(0.005)
        most = max(most, server.waiting)
    assert SERVER_CONCURRENCY < most <= RESOLVER_CONCURRENCY
    assert {answer.outcome for answer in asking.result()} == {Outcome.NXDOMAIN}
    assert not lookup._transport._slots
    await lookup.close()


async def test_so_many_checks_at_once(server: NameServer) -> None:
    """The others wait for theirs, and say so where their time is over."""
    server.fail(NAME, SILENT)
    clock = SystemClock()
    lookup = DnsLookup([server.server], clock, query_timeout=0.5)
    checks = [
        asyncio.ensure_future(lookup.ask([Question(NAME, A)], clock.monotonic() + 10)) for _ in range(MAX_LOOKUPS)
    ]
    await eventually(lookup._lookups.locked, "all checks are under way")
    late = await lookup.ask([Question("none.example.com", A)], clock.monotonic() + 0.1)
    assert late == [Answer(Outcome.UNKNOWN, reason="timeout")]
    assert "none.example.com" not in [name for name, *_ in server.queries]
    await asyncio.gather(*checks)
    assert await lookup.ask([Question("none.example.com", A)], clock.monotonic() + 10) == [Answer(Outcome.NXDOMAIN)]
    await lookup.close()


async def test_whoever_waits_is_told_when_it_closes(server: NameServer) -> None:
    """Nothing is raised, and nothing begins afterwards."""
    server.fail(NAME, SILENT)
    clock = SystemClock()
    lookup = DnsLookup([server.server], clock)
    asking = asyncio.ensure_future(lookup.ask([Question(NAME, A)], clock.monotonic() + 10))
    await eventually(lambda: server.queries, "the question")
    await lookup.close()
    closed = [Answer(Outcome.UNKNOWN, reason="closed")]
    assert await asking == closed
    assert await lookup.ask([Question(NAME, A)], clock.monotonic() + 10) == closed


@pytest.mark.parametrize("name", ["a..example.com", "x" * 64 + ".example.com", ".".join(["label"] * 60)])
async def test_a_name_that_is_none(server: NameServer, name: str) -> None:
    """Nobody is asked, and nothing is raised."""
    assert await ask(server.server, name=name) == Answer(Outcome.UNKNOWN, reason="bad_name")
    assert server.queries == []


async def test_queries_and_answers_are_counted(server: NameServer) -> None:
    """By what was said, and by what was learned; never by whom."""
    server.truncating = True
    metrics = Metrics()
    lookup = DnsLookup([server.server], SystemClock(), metrics=metrics)
    await lookup.ask([Question(NAME, A), Question("none.example.com", A)], SystemClock().monotonic() + 10)
    await lookup.close()
    shown = metrics.render("")[0].decode()
    assert 'miosa_router_dns_queries_total{result="truncated"} 2.0' in shown
    assert 'miosa_router_dns_queries_total{result="nxdomain"} 1.0' in shown
    assert 'miosa_router_dns_lookups_total{result="found"} 1.0' in shown


async def test_one_search_has_so_many_queries(server: NameServer) -> None:
    """Whatever it is led to; then it knows no more."""
    clock = SystemClock()
    search = Search[Answer](clock.monotonic() + 10)
    queries = QueryBudget(Transport(clock), clock, search)
    asked = Server(server.server, ((server.address, server.port),))
    names = [dns.name.from_text(f"n{number}.example.com") for number in range(MAX_QUERIES + 1)]
    replies = [await queries.authoritative(asked, name, dns.rdatatype.A, dns.name.root) for name in names]
    assert {reply.reason for reply in replies[:-1]} == {None}
    assert replies[-1].reason == "too_many_queries"
    assert len(server.queries) == MAX_QUERIES


async def test_a_server_that_sends_rubbish_without_end(server: NameServer) -> None:
    """It is given up before its time is over."""
    server.fail(NAME, GARBAGE)
    server.garbage = 100
    clock = SystemClock()
    lookup = DnsLookup([server.server], clock, query_timeout=60.0)
    assert await lookup.ask([Question(NAME, A)], clock.monotonic() + 60) == [
        Answer(Outcome.UNKNOWN, reason="bad_answer")
    ]
    await lookup.close()


async def test_the_systems_resolvers() -> None:
    """Are those beside the walk where nobody said otherwise, if the system has any."""
    lookup = DnsLookup([], SystemClock())
    assert isinstance(lookup._source, Authoritative)
    assert all(server.addresses[0][1] == 53 for server in lookup._source._resolvers)
    await lookup.close()


async def test_a_bug_of_ours_is_not_raised(server: NameServer) -> None:
    """Whoever asked may have others to ask for; it is logged."""

    class Broken:
        async def find(self, *_: object, **__: object) -> Step:
            raise ValueError("a bug")

    lookup = DnsLookup([server.server], SystemClock())
    lookup._source = Broken()
    answers = await lookup.ask([Question(NAME, A)], SystemClock().monotonic() + 10)
    assert answers == [Answer(Outcome.UNKNOWN, reason="failed")]
    await lookup.close()


async def test_a_server_that_does_not_understand_edns(server: NameServer) -> None:
    """FORMERR to it is no answer: it is asked again without, as resolvers do, by a walk and as a resolver alike."""
    server.plain = True
    assert await ask(server.server) == Answer(Outcome.FOUND, ("192.0.2.7",))
    assert await ask(server.server, name="none.example.com") == Answer(Outcome.NXDOMAIN)


@pytest.mark.parametrize("order", [1, -1])
async def test_several_aliases_in_any_order(server: NameServer, order: int) -> None:
    """All of them are told, whichever the server sends last."""
    aliases = ["elsewhere.example.net", "verify.miosa.ai", "elsewhere.example.net"][::order]
    server.put("two.example.com", RecordType.CNAME, *aliases)
    answer = await ask(server.server, name="two.example.com", record_type=RecordType.CNAME)
    assert answer == Answer(Outcome.FOUND, ("elsewhere.example.net", "verify.miosa.ai"))

"""The walk from the root to the servers in charge: a small Internet on loopback addresses, and what is wrong in the real one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import dns.message
import dns.name
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.base.clock import SystemClock
from router.dns import DnsLookup
from router.dns.query_budget import MAX_QUERIES
from router.domains.lookup import NOT_AUTHORITATIVE, Answer, Outcome, Question, RecordType, ServerAnswer
from tests.support.internet import FIRST, SECOND, TOP, Internet
from tests.support.nameserver import BOGUS, LAME, SILENT, NameServer

pytestmark = pytest.mark.asyncio

A, AAAA, CNAME, CAA, NS = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.CAA, RecordType.NS
APP = "app.example.com"
THIRD = "127.0.0.5"
QUICK = 0.2  # seconds for a server to answer, where the test is about one that does not
THERE = Answer(Outcome.FOUND, ("192.0.2.7",))


@pytest_asyncio.fixture
async def internet() -> AsyncIterator[Internet]:
    async with Internet("example.com", "example.net", ttl=60) as started:
        for server in (started.first, started.second):
            server.put(APP, A, "192.0.2.7")
        yield started


class Asker:
    """A lookup in that Internet, asked one question at a time."""

    def __init__(self, internet: Internet, **options: Any) -> None:
        self.lookup = DnsLookup([], SystemClock(), **(internet.options | {"query_timeout": QUICK} | options))

    async def ask(
        self, name: str = APP, record_type: RecordType = A, *, fresh: bool = False, within: float = 10.0
    ) -> Answer:
        until = SystemClock().monotonic() + within
        (answer,) = await self.lookup.ask([Question(name, record_type)], until, fresh=fresh)
        return answer


@pytest_asyncio.fixture
async def asker(internet: Internet) -> AsyncIterator[Asker]:
    made = Asker(internet)
    yield made
    await made.lookup.close()
    assert not made.lookup._tasks


async def ask(internet: Internet, name: str = APP, record_type: RecordType = A, **options: Any) -> Answer:
    """One question of a lookup that has some options of its own."""
    asker = Asker(internet, **options)
    answer = await asker.ask(name, record_type)
    await asker.lookup.close()
    assert not asker.lookup._tasks
    return answer


def asked(*servers: NameServer) -> list[int]:
    return [len(server.queries) for server in servers]


async def test_every_server_in_charge_is_asked(internet: Internet, asker: Asker) -> None:
    """And no server is asked to recurse for us."""
    assert await asker.ask() == THERE
    assert asked(*internet.servers) == [1, 1, 1, 1]
    assert not any(flags for server in internet.servers for flags in server.flags)


async def test_the_way_is_known_the_second_time(internet: Internet, asker: Asker) -> None:
    """The zone's servers are remembered, for other names in it too."""
    await asker.ask()
    await asker.ask("other.example.com")
    assert asked(*internet.servers) == [1, 1, 2, 2]


async def test_an_answer_is_remembered(internet: Internet, asker: Asker) -> None:
    """As long as it holds; that there is nothing too."""
    for _ in range(2):
        assert await asker.ask() == THERE
        assert (await asker.ask("none.example.com")).outcome is Outcome.NXDOMAIN
    assert asked(internet.first, internet.second) == [2, 2]


async def test_a_fresh_question_asks_again(internet: Internet, asker: Asker) -> None:
    """Also who is in charge, from the top-level domain down; and what it finds is what is remembered then."""
    await asker.ask()
    for server in (internet.first, internet.second):
        server.put(APP, A, "192.0.2.8")
    assert await asker.ask() == THERE
    assert (await asker.ask(fresh=True)).values == ("192.0.2.8",)
    assert (await asker.ask()).values == ("192.0.2.8",)
    assert asked(*internet.servers) == [1, 2, 2, 2]


async def test_a_domain_that_moved_to_other_servers(internet: Internet, asker: Asker) -> None:
    """A fresh question goes to the new ones, while the old ones still answer."""
    await asker.ask()
    internet.second.put(APP, A, "192.0.2.99")
    internet.top.delegate("example.com", {"ns2.example.com": [SECOND]})
    assert (await asker.ask(fresh=True)).values == ("192.0.2.99",)


async def test_what_is_not_known_is_not_remembered(internet: Internet, asker: Asker) -> None:
    """The next search may find out."""
    for server in (internet.first, internet.second):
        server.fail(APP)
    assert (await asker.ask()).reason == "servfail"
    for server in (internet.first, internet.second):
        server.fail(APP, None)
    assert await asker.ask() == THERE


async def test_servers_that_differ_are_asked_anew_each_time(internet: Internet, asker: Asker) -> None:
    """Propagation ends; each server is shown by its name and address."""
    internet.second.put(APP, A)
    internet.second.put(APP, CNAME, "proxy.example.net")
    answer = await asker.ask()
    assert answer.outcome is Outcome.PROPAGATING
    assert answer.servers == (
        ServerAnswer(f"ns1.example.com ({FIRST})", A, Outcome.FOUND, ("192.0.2.7",)),
        ServerAnswer(f"ns2.example.com ({SECOND})", CNAME, Outcome.FOUND, ("proxy.example.net",)),
    )
    internet.second.remove(APP)
    internet.second.put(APP, A, "192.0.2.7")
    assert await asker.ask() == THERE


@pytest.mark.parametrize("fault", [SILENT, LAME, "servfail", "refused"])
async def test_a_server_that_does_not_say(internet: Internet, asker: Asker, fault: str) -> None:
    """The others decide, and nobody waits long for it."""
    internet.first.fail(APP, fault)
    answer = await asker.ask(within=5)
    assert (answer.outcome, answer.values) == (Outcome.FOUND, ("192.0.2.7",))
    assert [view.reason for view in answer.servers] == [fault, None]


async def test_a_server_that_has_records_and_is_not_in_charge(internet: Internet, asker: Asker) -> None:
    """Somebody's resolver among the servers of a zone answers from its memory."""
    internet.first.authoritative = False
    internet.first.put(APP, A, "192.0.2.66")
    answer = await asker.ask()
    assert (answer.values, answer.servers[0].reason) == (("192.0.2.7",), "lame")
    internet.first.recursive = True
    assert (await asker.ask(fresh=True)).servers[0].reason == "lame"


async def test_servers_that_forget_to_say_that_they_are_in_charge(internet: Internet, asker: Asker) -> None:
    """Their records are found, with a remark; what is not there is not there."""
    internet.first.authoritative = internet.second.authoritative = False
    assert await asker.ask() == replace(THERE, remark=NOT_AUTHORITATIVE)
    gone = await asker.ask("gone.example.com")
    assert (gone.outcome, gone.remark) == (Outcome.NXDOMAIN, NOT_AUTHORITATIVE)
    internet.second.authoritative = True
    assert (await asker.ask(fresh=True)).remark is None


async def test_a_domain_that_nobody_registered(internet: Internet, asker: Asker) -> None:
    """Its top-level domain knows."""
    assert await asker.ask("app.unregistered.com") == Answer(Outcome.NXDOMAIN)
    assert await asker.ask("app.unregistered.nowhere") == Answer(Outcome.NXDOMAIN)


async def test_a_domain_whose_servers_do_not_have_it(internet: Internet, asker: Asker) -> None:
    """Registered, and its name servers set to a provider that was not told."""
    internet.top.delegate("forgotten.com", {"ns1.forgotten.com": [FIRST], "ns2.forgotten.com": [SECOND]})
    assert await asker.ask("app.forgotten.com") == Answer(Outcome.UNKNOWN, reason="refused")


@pytest_asyncio.fixture
async def third(internet: Internet) -> AsyncIterator[NameServer]:
    """A server for a zone of its own, below example.com."""
    async with NameServer(address=THIRD, port=internet.root.port) as started:
        started.serve("sub.example.com")
        yield started


async def test_a_zone_below_a_zone(internet: Internet, asker: Asker, third: NameServer) -> None:
    """Its own servers are in charge, and not those above."""
    for server in (internet.first, internet.second):
        server.delegate("sub.example.com", {"ns.sub.example.com": [THIRD]})
    third.put("a.sub.example.com", A, "192.0.2.9")
    assert (await asker.ask("a.sub.example.com")).values == ("192.0.2.9",)


async def test_one_server_has_both_zones_and_the_other_has_not(
    internet: Internet, asker: Asker, third: NameServer
) -> None:
    """Where one of them refers us further, that is where to go."""
    internet.first.put("a.sub.example.com", A, "192.0.2.66")
    internet.second.delegate("sub.example.com", {"ns.sub.example.com": [THIRD]})
    third.put("a.sub.example.com", A, "192.0.2.9")
    assert (await asker.ask("a.sub.example.com")).values == ("192.0.2.9",)


async def test_a_zone_that_shares_a_server_with_the_one_above(
    internet: Internet, asker: Asker, third: NameServer
) -> None:
    """The answer shows that it is from further down; then all servers of that zone are asked, not those above."""
    internet.first.serve("sub.example.com", "example.com")
    internet.second.serve("sub.example.com", "example.com")
    for server in (internet.first, internet.second):
        server.put("sub.example.com", NS, "ns1.sub.example.com", "ns3.sub.example.com")
        server.put("ns1.sub.example.com", A, FIRST)
        server.put("ns3.sub.example.com", A, THIRD)
        server.put("a.sub.example.com", RecordType.TXT, "exists")
    third.put("a.sub.example.com", A, "192.0.2.9")
    answer = await asker.ask("a.sub.example.com")
    assert answer.outcome is Outcome.PROPAGATING
    assert [(view.server, view.values) for view in answer.servers] == [
        (f"ns1.sub.example.com ({FIRST})", ()),
        (f"ns3.sub.example.com ({THIRD})", ("192.0.2.9",)),
    ]


async def test_servers_in_another_zone(internet: Internet, asker: Asker) -> None:
    """Their addresses have to be looked up first, over as many zones as it takes, within reason."""
    internet.top.delegate("hosted.com", {"ns1.example.net": [], "ns2.example.net": []})
    for server in (internet.first, internet.second):
        server.serve("hosted.com", "example.com", "example.net")
        server.put("ns1.example.net", A, FIRST)
        server.put("ns2.example.net", A, SECOND)
        server.put("app.hosted.com", A, "192.0.2.7")
    assert await asker.ask("app.hosted.com") == THERE


async def test_addresses_for_somebody_elses_server_are_not_believed(internet: Internet, asker: Asker) -> None:
    """A zone's server may say where its own zones' servers are, and nobody else's."""
    internet.top.delegate("hosted.com", {"ns1.example.net": [TOP]})
    for server in (internet.first, internet.second):
        server.serve("hosted.com", "example.com", "example.net")
        server.put("ns1.example.net", A, FIRST)
        server.put("app.hosted.com", A, "192.0.2.7")
    assert await asker.ask("app.hosted.com") == THERE


async def test_servers_that_can_only_be_found_through_each_other(internet: Internet, asker: Asker) -> None:
    """Two zones, each served by a name in the other; and one that is served by a name in itself."""
    internet.top.delegate("one.com", {"ns.two.com": []})
    internet.top.delegate("two.com", {"ns.one.com": []})
    internet.top.delegate("self.com", {"ns.self.com": []})
    expected = Answer(Outcome.UNKNOWN, reason="no_address")
    assert await asker.ask("app.one.com") == expected
    assert await asker.ask("app.self.com") == expected
    assert sum(asked(*internet.servers)) < 30


async def test_a_chain_of_servers_has_an_end(internet: Internet, asker: Asker) -> None:
    """Each zone's server is a name in the next zone: a few are followed."""
    for number in range(10):
        internet.top.delegate(f"z{number}.com", {f"ns.z{number + 1}.com": []})
    assert (await asker.ask("app.z0.com")).reason == "no_address"
    assert sum(asked(*internet.servers)) < 30


async def test_nobody_makes_us_flood_somebody_else(internet: Internet, asker: Asker) -> None:
    """A zone that names many servers, all in zones that name many, all at one victim's."""
    victims = {f"ns{number}.example.net": [] for number in range(60)}
    for zone in range(30):
        internet.top.delegate(f"z{zone}.com", victims)
    internet.top.delegate("evil.com", {f"ns.z{zone}.com": [] for zone in range(30)})
    assert (await asker.ask("app.evil.com")).outcome is Outcome.UNKNOWN
    assert sum(asked(*internet.servers)) <= MAX_QUERIES


class Endless(NameServer):
    """Refers every question to itself, one label further each time."""

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        labels = query.question[0].name.labels
        zone = dns.name.Name(labels[-min(len(self.queries) + 4, len(labels)) :]).to_text(omit_final_dot=True)
        self.delegate(zone, {f"ns.{zone}": [self.address]})
        return super().answer(query, transport)


async def test_referrals_that_never_end(internet: Internet, asker: Asker) -> None:
    """One label further each time; some steps are taken."""
    internet.top.delegate("endless.com", {"ns.endless.com": [THIRD]})
    async with Endless(address=THIRD, port=internet.root.port) as endless:
        answer = await asker.ask(f"{'a.' * 60}endless.com")
        assert answer == Answer(Outcome.UNKNOWN, reason="too_many_referrals")
        assert len(endless.queries) < 40


async def test_a_referral_back_up(internet: Internet, asker: Asker) -> None:
    """Is no referral: that server is lame."""
    internet.top.delegate("up.com", {"ns1.up.com": [FIRST]})
    internet.first.serve("com")
    internet.first.delegate("com", {"ns.com": [TOP]})
    assert await asker.ask("app.up.com") == Answer(Outcome.UNKNOWN, reason="lame")


async def test_only_public_addresses_are_asked(internet: Internet) -> None:
    """A zone that says that its servers are inside our network gets nothing sent there."""
    answer = await ask(internet, allowed=lambda address: address not in (FIRST, SECOND))
    assert answer == Answer(Outcome.UNKNOWN, reason="not_global")
    assert asked(internet.first, internet.second) == [0, 0]


async def test_one_of_a_servers_addresses_is_enough(internet: Internet, asker: Asker) -> None:
    """The next one is tried where the first is silent."""
    internet.top.delegate("example.com", {"ns1.example.com": ["127.0.0.9", SECOND]})
    assert await asker.ask() == THERE


async def test_aliases_across_zones(internet: Internet, asker: Asker) -> None:
    """Whoever is in charge of where they lead is asked; what another server says of it is not believed."""
    for server in (internet.first, internet.second):
        server.serve("example.com", "example.net")
        server.put("www.example.com", CNAME, "edge.example.net")
    internet.first.serve("example.com")
    internet.first.put("edge.example.net", A, "192.0.2.66")
    internet.top.delegate("example.net", {"ns2.example.net": [SECOND]})
    internet.second.put("edge.example.net", A, "192.0.2.7")
    answer = await asker.ask("www.example.com")
    assert answer == Answer(Outcome.FOUND, ("192.0.2.7",), aliases=("edge.example.net",))


async def test_questions_about_a_top_level_domain(internet: Internet, asker: Asker) -> None:
    """CAA is asked for up to there."""
    assert await asker.ask("com", CAA) == Answer(Outcome.NODATA)


# The resolver beside the walk.


@pytest_asyncio.fixture
async def resolver() -> AsyncIterator[NameServer]:
    async with NameServer() as started:
        started.recursive = True
        started.put(APP, A, "192.0.2.50")
        yield started


async def test_a_resolver_that_finds_signatures_bogus(internet: Internet, resolver: NameServer) -> None:
    """Then an authority would get no answer, although the servers in charge give one; they all stay visible."""
    resolver.fail(APP, BOGUS, "7 Signature Expired: on 2026-11-01")
    answer = await ask(internet, resolvers=[resolver.server])
    assert (answer.outcome, answer.reason, answer.values) == (Outcome.UNKNOWN, "bogus", ())
    assert answer.errors == ("7 Signature Expired: on 2026-11-01",)
    assert [(view.outcome, view.reason) for view in answer.servers] == [
        (Outcome.FOUND, None),
        (Outcome.FOUND, None),
        (Outcome.UNKNOWN, "bogus"),
    ]


async def test_a_resolver_that_says_something_else(internet: Internet, resolver: NameServer) -> None:
    """It may remember what was; the servers in charge decide."""
    assert await ask(internet, resolvers=[resolver.server]) == THERE
    assert resolver.queries == [(APP, "A", "udp")]


@pytest.mark.parametrize("fault", ["servfail", "refused", SILENT])
async def test_a_resolver_that_is_ill(internet: Internet, resolver: NameServer, fault: str) -> None:
    """Says nothing about signatures."""
    resolver.fail(APP, fault)
    assert await ask(internet, resolvers=[resolver.server]) == THERE


async def test_a_network_that_lets_out_queries_to_its_resolver_only(internet: Internet, resolver: NameServer) -> None:
    """The resolver is believed then, and for a while no root is asked."""
    internet.root.fail(APP, SILENT)
    internet.root.fail(f"a.{APP}", SILENT)
    asker = Asker(internet, resolvers=[resolver.server])
    assert await asker.ask() == Answer(Outcome.FOUND, ("192.0.2.50",))
    roots = len(internet.root.queries)
    assert await asker.ask(f"a.{APP}") == Answer(Outcome.NXDOMAIN)
    assert len(internet.root.queries) == roots
    await asker.lookup.close()


async def test_many_searches_that_find_no_root_warn_once(internet: Internet, resolver: NameServer) -> None:
    """Ten searches begin before the first of them knows that no root answers; the log says it once."""
    names = [f"n{number}.{APP}" for number in range(10)]
    for name in names:
        internet.root.fail(name, SILENT)
    asker = Asker(internet, resolvers=[resolver.server])
    with capture_logs() as logs:
        await asker.lookup.ask([Question(name, A) for name in names], SystemClock().monotonic() + 10)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "no root server answers: the system's resolvers are believed for now"
    ]
    await asker.lookup.close()


async def test_no_time_for_the_root_is_not_a_closed_network(internet: Internet, resolver: NameServer) -> None:
    """A check that is over says so; the next one walks again."""
    internet.root.fail(APP, SILENT)
    asker = Asker(internet, resolvers=[resolver.server], query_timeout=5.0)
    assert await asker.ask(within=0.1) == Answer(Outcome.UNKNOWN, reason="timeout")
    internet.root.fail(APP, None)
    assert await asker.ask() == THERE
    await asker.lookup.close()


async def test_nobody_to_ask(internet: Internet) -> None:
    """Neither a root nor a resolver."""
    internet.root.fail(APP, SILENT)
    assert (await ask(internet)).reason == "no_servers"


async def test_whoever_asks_for_the_same_shares_the_walk(internet: Internet, asker: Asker) -> None:
    """Ten questions, one search."""
    until = SystemClock().monotonic() + 10
    answers: Sequence[Answer] = await asker.lookup.ask([Question(APP, A)] * 10, until)
    assert list(answers) == [THERE] * 10
    assert asked(*internet.servers) == [1, 1, 1, 1]

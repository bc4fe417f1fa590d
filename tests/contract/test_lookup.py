"""What every Lookup promises: the twin in memory, and dnspython against a name server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import pytest
import pytest_asyncio

from router.clock import SystemClock
from router.dns import DnsLookup
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.memory import MemoryLookup
from tests.support.nameserver import NameServer

pytestmark = pytest.mark.asyncio

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME


class Data(Protocol):
    """What DNS knows."""

    def put(self, name: str, record_type: RecordType, *values: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def fail(self, name: str, reason: str | None = "servfail") -> None: ...


@dataclass(frozen=True, slots=True)
class Dns:
    """Some DNS, and who asks it."""

    data: Data
    lookup: Lookup

    async def ask(self, name: str, record_type: RecordType = A) -> Answer:
        (answer,) = await self.lookup.ask([Question(name, record_type)], SystemClock().monotonic() + 10)
        return answer


@pytest_asyncio.fixture(params=["memory", "dnspython"])
async def dns(request: pytest.FixtureRequest) -> AsyncIterator[Dns]:
    if request.param == "memory":
        twin = MemoryLookup()
        yield Dns(twin, twin)
        return
    async with NameServer() as server:
        lookup = DnsLookup([server.server], SystemClock())
        yield Dns(server, lookup)
        await lookup.close()


def found(*values: str) -> Answer:
    return Answer(Outcome.FOUND, values)


NODATA, NXDOMAIN = Answer(Outcome.NODATA), Answer(Outcome.NXDOMAIN)


async def test_addresses_come_sorted(dns: Dns) -> None:
    """Name servers rotate them; two looks at the same records are equal."""
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
    assert await dns.ask("app.example.com", A) == found("192.0.2.1")
    assert await dns.ask("app.example.com", AAAA) == NODATA


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
    assert await dns.ask("app.example.com", A) == NXDOMAIN


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

"""Whether somebody's DNS leads to us."""

import itertools
from collections.abc import Sequence

import pytest

from router.domains.checks.pointing import DIFFERING, MAX_ALIASES, MAX_OBSERVED, CheckResult, Pointing, follow
from router.domains.lookup import Answer, Outcome, Question, RecordType, ServerAnswer
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME
APP = "app.example.com"
TARGETS = ("verify.miosa.ai", "proxy.miosa.ai")


@pytest.fixture
def dns() -> MemoryLookup:
    """Both targets with addresses of their own."""
    lookup = MemoryLookup()
    lookup.put("verify.miosa.ai", A, "192.0.2.1")
    lookup.put("proxy.miosa.ai", A, "192.0.2.1", "192.0.2.2")
    lookup.put("proxy.miosa.ai", AAAA, "2001:db8::1")
    return lookup


async def followed(dns: MemoryLookup, name: str = APP) -> Pointing:
    (found,) = await follow(dns, [name], TARGETS, 10.0)
    return found


def chain(dns: MemoryLookup, *names: str) -> None:
    for name, alias in itertools.pairwise(names):
        dns.put(name, CNAME, alias)


@pytest.mark.parametrize("target", TARGETS)
async def test_an_alias_to_a_target(dns: MemoryLookup, target: str) -> None:
    """Either target will do, and what it leads to itself does not matter."""
    dns.put(APP, CNAME, target)
    dns.fail(target)
    assert await followed(dns) == Pointing(APP, CheckResult.VALID, (target,), ends=(target,))


async def test_aliases_may_pass_through_other_names(dns: MemoryLookup) -> None:
    """An agency points its customers to a name of its own, and that one to us."""
    chain(dns, APP, "edge.agency.example", "proxy.miosa.ai")
    observed = ("edge.agency.example", "proxy.miosa.ai")
    assert await followed(dns) == Pointing(APP, CheckResult.VALID, observed, ends=("proxy.miosa.ai",))


@pytest.mark.parametrize("target", TARGETS)
async def test_an_alias_to_a_registration_s_own_target(dns: MemoryLookup, target: str) -> None:
    """Any of them leads to us; which one it is is kept, also where the servers differ."""
    own, other = f"{'0a' * 16}.{target}", f"{'0b' * 16}.{target}"
    chain(dns, APP, "edge.agency.example", own)
    found = await followed(dns)
    assert (found.result, found.ends) == (CheckResult.VALID, (own,))
    dns.differ(APP, CNAME, [own], [other])
    found = await followed(dns)
    assert (found.result, found.ends) == (CheckResult.VALID, (own, other))


async def test_nothing_there(dns: MemoryLookup) -> None:
    """The name does not exist, or has records of other kinds only."""
    assert await followed(dns) == Pointing(APP, CheckResult.MISSING, (), "nxdomain")
    dns.put(f"below.{APP}", A, "192.0.2.1")
    assert await followed(dns) == Pointing(APP, CheckResult.MISSING, (), "nodata")


async def test_an_alias_elsewhere(dns: MemoryLookup) -> None:
    """To another host, to a name that is gone, to one without addresses."""
    dns.put(APP, CNAME, "pages.elsewhere.example")
    assert await followed(dns) == Pointing(APP, CheckResult.WRONG, ("pages.elsewhere.example",), "nxdomain")
    dns.put("below.pages.elsewhere.example", A, "192.0.2.1")
    assert await followed(dns) == Pointing(APP, CheckResult.WRONG, ("pages.elsewhere.example",), "nodata")
    dns.put("pages.elsewhere.example", A, "198.51.100.9")
    observed = ("pages.elsewhere.example", "198.51.100.9")
    assert await followed(dns) == Pointing(APP, CheckResult.WRONG, observed, "other_addresses")


@pytest.mark.parametrize(
    "name", ["verify.miosa.ai.example.com", "notproxy.miosa.ai", "x.proxy.miosa.ai", f"{'0a' * 16}.x.proxy.miosa.ai"]
)
async def test_a_name_like_a_target_is_none(dns: MemoryLookup, name: str) -> None:
    """Names are compared whole."""
    dns.put(APP, CNAME, name)
    assert (await followed(dns)).result is CheckResult.WRONG


async def test_aliases_in_a_circle(dns: MemoryLookup) -> None:
    """Whoever goes round is told so, at once."""
    chain(dns, APP, "b.example.com", "c.example.com", "b.example.com")
    found = await followed(dns)
    assert (found.result, found.reason) == (CheckResult.WRONG, "alias_loop")
    dns.put("self.example.com", CNAME, "self.example.com")
    assert (await followed(dns, "self.example.com")).reason == "alias_loop"


async def test_aliases_are_followed_for_so_long(dns: MemoryLookup) -> None:
    """The last that is followed may be ours; one more is too many."""
    names = [APP, *(f"n{number}.example.com" for number in range(MAX_ALIASES - 1)), "proxy.miosa.ai"]
    chain(dns, *names)
    assert (await followed(dns)).result is CheckResult.VALID
    chain(dns, *names[:-1], "one-more.example.com", "proxy.miosa.ai")
    found = await followed(dns)
    assert (found.result, found.reason, len(found.observed)) == (CheckResult.WRONG, "too_many_aliases", MAX_ALIASES)


async def test_a_name_with_two_aliases(dns: MemoryLookup) -> None:
    """Some of the visitors would end elsewhere, although one of the two is right."""
    dns.put(APP, CNAME, "proxy.miosa.ai", "elsewhere.example")
    found = await followed(dns)
    assert (found.result, found.reason) == (CheckResult.WRONG, "several_aliases")


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        (("192.0.2.1",), ()),
        (("192.0.2.1", "192.0.2.2"), ("2001:db8::1",)),
        ((), ("2001:db8::1",)),
    ],
)
async def test_an_apex_with_our_addresses(dns: MemoryLookup, v4: tuple[str, ...], v6: tuple[str, ...]) -> None:
    """Its provider copies the target's addresses, or some of them."""
    dns.put("example.com", A, *v4)
    dns.put("example.com", AAAA, *v6)
    assert await followed(dns, "example.com") == Pointing("example.com", CheckResult.VALID, (*v4, *v6))


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        (("198.51.100.9",), ()),
        (("192.0.2.1", "198.51.100.9"), ()),
        (("192.0.2.1",), ("2001:db8::bad",)),
    ],
)
async def test_an_address_that_is_not_ours(dns: MemoryLookup, v4: tuple[str, ...], v6: tuple[str, ...]) -> None:
    """One is enough: a part of the visitors goes there. Most often it is a forgotten AAAA."""
    dns.put("example.com", A, *v4)
    dns.put("example.com", AAAA, *v6)
    found = await followed(dns, "example.com")
    assert (found.result, found.observed, found.reason) == (CheckResult.WRONG, (*v4, *v6), "other_addresses")
    ours = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    alone = not ours.intersection(found.observed)
    assert found.stray == (() if alone else tuple(one for one in found.observed if one not in ours))


async def test_not_knowing_is_not_missing(dns: MemoryLookup) -> None:
    """A server that fails, anywhere on the way, leaves it open, with the reason."""
    dns.fail(APP, "refused")
    assert await followed(dns) == Pointing(APP, CheckResult.UNKNOWN, (), "refused")
    dns.fail(APP, None)
    dns.put(APP, CNAME, "edge.agency.example")
    dns.fail("edge.agency.example")
    assert await followed(dns) == Pointing(APP, CheckResult.UNKNOWN, ("edge.agency.example",), "servfail")


async def test_our_own_addresses_may_be_unknown(dns: MemoryLookup) -> None:
    """Then nobody can say whether an apex has them; one with none at all is missing all the same."""
    dns.put("example.com", A, "192.0.2.99")
    dns.fail("proxy.miosa.ai", "timeout")
    assert await followed(dns, "example.com") == Pointing(
        "example.com", CheckResult.UNKNOWN, ("192.0.2.99",), "timeout"
    )
    dns.put("example.com", A, "192.0.2.1")
    assert (await followed(dns, "example.com")).result is CheckResult.VALID
    dns.put("example.com", A)
    assert (await followed(dns, "example.com")).result is CheckResult.MISSING


@pytest.mark.parametrize(
    ("views", "finding"),
    [
        ([("verify.miosa.ai",), ("proxy.miosa.ai",)], CheckResult.VALID),
        ([("verify.miosa.ai",), ("old.example.net",)], CheckResult.PROPAGATING),
        ([("verify.miosa.ai",), ()], CheckResult.PROPAGATING),
        ([("verify.miosa.ai", "old.example.net"), ("verify.miosa.ai",)], CheckResult.PROPAGATING),
        # Not ours, and where they lead is not known: one of them may pass through another's name to us.
        ([("old.example.net",), ("older.example.net",)], CheckResult.PROPAGATING),
    ],
)
async def test_servers_with_different_aliases(
    dns: MemoryLookup, views: list[tuple[str, ...]], finding: CheckResult
) -> None:
    """Only where every one of them leads to us, it is known where visitors go."""
    dns.differ(APP, CNAME, *views)
    found = await followed(dns)
    assert (found.result, found.reason) == (finding, None if finding is CheckResult.VALID else DIFFERING)
    assert found.observed == tuple(sorted({value for view in views for value in view}))
    assert [view.values for view in found.servers] == [tuple(sorted(view)) for view in views]


@pytest.mark.parametrize(
    ("v4", "v6", "finding", "reason"),
    [
        ([("192.0.2.1",), ("192.0.2.2",)], None, CheckResult.VALID, None),
        ([("192.0.2.1",), ("198.51.100.9",)], None, CheckResult.PROPAGATING, DIFFERING),
        ([("192.0.2.1",), ()], None, CheckResult.PROPAGATING, DIFFERING),
        ([("198.51.100.8",), ("198.51.100.9",)], None, CheckResult.WRONG, "other_addresses"),
        ([("198.51.100.8",), ()], None, CheckResult.WRONG, "other_addresses"),
        # What they agree on belongs to each of them.
        (None, [("2001:db8::bad",), ()], CheckResult.PROPAGATING, DIFFERING),
        (None, [("2001:db8::bad",), ("2001:db8::bad", "2001:db8::1")], CheckResult.WRONG, "other_addresses"),
        (None, [("2001:db8::1",), ()], CheckResult.VALID, None),
        # Each server by itself: one has our address and a stray one, the other has ours only.
        (
            [("192.0.2.1",), ("192.0.2.2",)],
            [("2001:db8::bad",), ("2001:db8::1",)],
            CheckResult.PROPAGATING,
            DIFFERING,
        ),
    ],
)
async def test_servers_with_different_addresses(
    dns: MemoryLookup,
    v4: list[tuple[str, ...]] | None,
    v6: list[tuple[str, ...]] | None,
    finding: CheckResult,
    reason: str | None,
) -> None:
    """Where all of them send visitors to us, or none does, that holds; else a change is on its way."""
    dns.put("example.com", A, "192.0.2.1")
    if v4 is not None:
        dns.differ("example.com", A, *v4)
    if v6 is not None:
        dns.differ("example.com", AAAA, *v6)
    found = await followed(dns, "example.com")
    assert (found.result, found.reason) == (finding, reason)
    assert [view.values for view in found.servers] == [tuple(sorted(view)) for view in v4 or v6 or []]


async def test_an_alias_that_comes_during_the_check(dns: MemoryLookup) -> None:
    """The name had none, and then one of its servers has: that is no address of anybody."""
    asked_before = dns.ask

    class Changing(MemoryLookup):
        async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
            answers = list(await asked_before(questions, until, fresh=fresh))
            for place, question in enumerate(questions):
                if question == Question("example.com", A):
                    alias = ServerAnswer("ns1.example.net", CNAME, Outcome.FOUND, ("proxy.miosa.ai",))
                    address = ServerAnswer("ns2.example.net", A, Outcome.FOUND, ("192.0.2.1",))
                    answers[place] = Answer(Outcome.PROPAGATING, servers=(alias, address))
            return answers

    dns.put("example.com", A, "192.0.2.1")
    found = await followed(Changing(), "example.com")
    assert (found.result, found.reason, found.observed) == (CheckResult.PROPAGATING, DIFFERING, ("192.0.2.1",))


async def test_our_own_servers_may_differ(dns: MemoryLookup) -> None:
    """An address that one of them has is one of ours."""
    dns.differ("proxy.miosa.ai", A, ["192.0.2.1"], ["192.0.2.1", "192.0.2.3"])
    dns.put("example.com", A, "192.0.2.3")
    assert (await followed(dns, "example.com")).result is CheckResult.VALID


async def test_what_failed_is_told_along(dns: MemoryLookup) -> None:
    """The extended errors of the answer that decided."""
    dns.fail(APP, "bogus", "6 DNSSEC Bogus: expired")
    found = await followed(dns)
    assert (found.result, found.reason, found.errors) == (CheckResult.UNKNOWN, "bogus", ("6 DNSSEC Bogus: expired",))


async def test_names_are_followed_together(dns: MemoryLookup) -> None:
    """As many rounds as the longest has aliases, and each gets its own finding, in the order given."""
    chain(dns, "a.example.com", "b.example.com", "proxy.miosa.ai")
    dns.put("apex.example.com", A, "192.0.2.2")
    dns.fail("ill.example.com")
    names = ["a.example.com", "none.example.com", "apex.example.com", "ill.example.com"]
    found = await follow(dns, names, TARGETS, 10.0)
    assert [item.name for item in found] == names
    assert [item.result for item in found] == [
        CheckResult.VALID,
        CheckResult.MISSING,
        CheckResult.VALID,
        CheckResult.UNKNOWN,
    ]
    assert await follow(dns, [], TARGETS, 10.0) == ()


async def test_what_strangers_send_has_a_limit(dns: MemoryLookup) -> None:
    """It is shown and stored; a thousand addresses are not."""
    dns.put("example.com", A, *(f"198.51.{number // 250}.{number % 250}" for number in range(1000)))
    assert len((await followed(dns, "example.com")).observed) == MAX_OBSERVED
    dns.put(APP, CNAME, *(f"n{number}.example.net" for number in range(1000)))
    assert len((await followed(dns)).observed) == MAX_OBSERVED


@pytest.mark.parametrize("reason", ["servfail", "refused", "notimp", "timeout", "bad_answer"])
async def test_servers_that_fail_for_aaaa_alone(reason: str) -> None:
    """Every resolver has the A records, and they are ours; but a stray one, or none, is judged as ever."""

    class NoAaaa(MemoryLookup):
        async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
            answers = await super().ask(questions, until, fresh=fresh)
            unknown = Answer(Outcome.UNKNOWN, reason=reason)
            return [
                unknown if question.type is AAAA and question.name.startswith("example") else answer
                for question, answer in zip(questions, answers, strict=True)
            ]

    dns = NoAaaa()
    dns.put("verify.miosa.ai", A, "192.0.2.1")
    dns.put("example.com", A, "192.0.2.1")
    assert (await followed(dns, "example.com")).result is CheckResult.VALID
    dns.put("example.com", A, "198.51.100.1")
    assert (await followed(dns, "example.com")).result is CheckResult.WRONG
    dns.put("example.com", A)
    assert (await followed(dns, "example.com")).result is CheckResult.UNKNOWN


async def test_bogus_signatures_are_never_right(dns: MemoryLookup) -> None:
    """Who checks them gets no answer at all, whichever of the records has them."""
    dns.put("example.com", A, "192.0.2.1")
    dns.fail("example.com", "bogus")
    assert (await followed(dns, "example.com")).result is CheckResult.UNKNOWN


class Forgetful(MemoryLookup):
    """Servers that have nothing to say of a name that is no alias, as those do that forget to say that they are in charge."""

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        answers = await super().ask(questions, until, fresh=fresh)
        lame = Answer(Outcome.UNKNOWN, reason="lame")
        pairs = zip(questions, answers, strict=True)
        return [lame if question.type is RecordType.CNAME else answer for question, answer in pairs]


@pytest.mark.parametrize(
    ("addresses", "result", "reason"),
    [
        (["192.0.2.1"], CheckResult.VALID, None),
        (["198.51.100.9"], CheckResult.UNKNOWN, "lame"),
        ([], CheckResult.UNKNOWN, "lame"),
    ],
)
async def test_nobody_says_whether_it_is_an_alias(
    addresses: list[str], result: CheckResult, reason: str | None
) -> None:
    """Our addresses settle it; anything else is not known, and takes nothing down."""
    dns = Forgetful()
    dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
    dns.put("app.example.com", RecordType.A, *addresses)
    (found,) = await follow(dns, ["app.example.com"], ["verify.miosa.ai"], 10.0)
    assert (found.result, found.reason) == (result, reason)

"""What several servers come to."""

from dataclasses import replace

import pytest

from router.dns.server_reply import Kind, ServerReply, failed
from router.dns.views import Step, View, compare
from router.domains.lookup import MAX_SHOWN, NOT_AUTHORITATIVE, Outcome, RecordType, ServerAnswer

A, CNAME = RecordType.A, RecordType.CNAME

ONE = ServerReply(Kind.FOUND, ("192.0.2.1",), 300)
OTHER = ServerReply(Kind.FOUND, ("192.0.2.2",), 60)
ALIAS = ServerReply(Kind.ALIAS, ("proxy.miosa.ai",), 60)
NODATA, NXDOMAIN = ServerReply(Kind.NODATA, ttl=30), ServerReply(Kind.NXDOMAIN, ttl=30)
UNSURE = replace(ONE, authoritative=False)
BOGUS = failed("bogus", ("6 DNSSEC Bogus",))


def step(*replies: ServerReply) -> Step:
    return compare(A, [View(f"ns{number}", said) for number, said in enumerate(replies, 1)])


@pytest.mark.parametrize(
    ("replies", "outcome", "reason"),
    [
        ([ONE], Outcome.FOUND, None),
        ([ONE, ONE], Outcome.FOUND, None),
        ([ALIAS, ALIAS], Outcome.FOUND, None),
        ([NODATA, NODATA], Outcome.NODATA, None),
        ([NXDOMAIN], Outcome.NXDOMAIN, None),
        # One that does not know outweighs nobody.
        ([ONE, failed("timeout")], Outcome.FOUND, None),
        ([failed("servfail"), failed("refused"), NXDOMAIN], Outcome.NXDOMAIN, None),
        # They differ: in records, in whether there are any, in what it is.
        ([ONE, OTHER], Outcome.PROPAGATING, None),
        ([ONE, NODATA], Outcome.PROPAGATING, None),
        ([NODATA, NXDOMAIN], Outcome.PROPAGATING, None),
        ([ONE, ALIAS], Outcome.PROPAGATING, None),
        ([ONE, ONE, failed("timeout"), OTHER], Outcome.PROPAGATING, None),
        # Nobody knows.
        ([failed("timeout"), failed("timeout")], Outcome.UNKNOWN, "timeout"),
        ([failed("timeout"), failed("lame")], Outcome.UNKNOWN, "lame"),
        ([failed("unreachable"), failed("notimp"), failed("timeout")], Outcome.UNKNOWN, "notimp"),
        ([failed("refused"), failed("servfail")], Outcome.UNKNOWN, "servfail"),
        ([failed("bad_answer"), failed("unreachable")], Outcome.UNKNOWN, "bad_answer"),
        ([], Outcome.UNKNOWN, "no_servers"),
        # Whoever checks gets no answer, whatever the others say.
        ([ONE, BOGUS], Outcome.UNKNOWN, "bogus"),
        ([ONE, OTHER, BOGUS, failed("servfail")], Outcome.UNKNOWN, "bogus"),
    ],
)
def test_what_they_come_to(replies: list[ServerReply], outcome: Outcome, reason: str | None) -> None:
    """The table of the module, row by row."""
    said = step(*replies)
    assert (said.outcome, said.reason) == (outcome, reason)
    assert bool(said.values) == (outcome is Outcome.FOUND)


@pytest.mark.parametrize(
    ("replies", "outcome", "values", "remark"),
    [
        ([UNSURE, UNSURE], Outcome.FOUND, ONE.values, NOT_AUTHORITATIVE),
        ([UNSURE, failed("timeout")], Outcome.FOUND, ONE.values, NOT_AUTHORITATIVE),
        ([replace(OTHER, authoritative=False), ONE], Outcome.FOUND, ONE.values, None),
        ([replace(NODATA, authoritative=False), ONE], Outcome.FOUND, ONE.values, None),
        ([UNSURE, replace(OTHER, authoritative=False)], Outcome.PROPAGATING, (), NOT_AUTHORITATIVE),
        ([UNSURE, BOGUS], Outcome.UNKNOWN, (), None),
    ],
)
def test_servers_that_do_not_say_that_they_are_in_charge(
    replies: list[ServerReply], outcome: Outcome, values: tuple[str, ...], remark: str | None
) -> None:
    """They count where no server says it; beside one that does they are lame."""
    said = step(*replies)
    assert (said.outcome, said.values, said.remark) == (outcome, values, remark)
    lame = [view for view in said.servers if view.reason == "lame"]
    assert bool(lame) == (ONE in replies)


def test_each_is_shown_where_they_are_not_all_the_same() -> None:
    """An alias as one, what failed with its reason, and no more of anybody's records than people read."""
    many = ServerReply(Kind.FOUND, tuple(f"192.0.2.{number}" for number in range(100)), 60)
    said = step(ALIAS, many, failed("refused"))
    assert said.servers == (
        ServerAnswer("ns1", CNAME, Outcome.FOUND, ("proxy.miosa.ai",)),
        ServerAnswer("ns2", A, Outcome.FOUND, many.values[:MAX_SHOWN]),
        ServerAnswer("ns3", A, Outcome.UNKNOWN, reason="refused"),
    )
    assert step(ONE, ONE).servers == step(failed("timeout"), failed("timeout")).servers == ()
    assert len(step(ONE, failed("timeout")).servers) == 2


def test_records_that_differ_past_what_is_shown_differ() -> None:
    """They are compared before they are cut."""
    values = tuple(f"192.0.2.{number:03}" for number in range(100))
    said = step(ServerReply(Kind.FOUND, values, 60), ServerReply(Kind.FOUND, values[:-1], 60))
    assert said.outcome is Outcome.PROPAGATING


def test_the_shortest_time_counts() -> None:
    """Of those that know; what failed says nothing of time."""
    longer = ServerReply(Kind.FOUND, ("192.0.2.2",), 600)
    assert step(OTHER, longer, failed("timeout")).ttl == 60


def test_extended_errors_are_joined() -> None:
    """Each once, whoever said it."""
    first, second = failed("servfail", ("22 No Reachable Authority",)), failed("timeout", ())
    assert step(first, first, second, BOGUS).errors == ("22 No Reachable Authority", "6 DNSSEC Bogus")

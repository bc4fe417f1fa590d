"""What several servers come to."""

import pytest

from router.dns.reading import Kind, Reading, failed
from router.dns.views import Step, View, compare
from router.domains.lookup import MAX_SHOWN, Outcome, RecordType, ServerAnswer

A, CNAME = RecordType.A, RecordType.CNAME

ONE = Reading(Kind.FOUND, ("192.0.2.1",), 300)
OTHER = Reading(Kind.FOUND, ("192.0.2.2",), 60)
ALIAS = Reading(Kind.ALIAS, ("proxy.miosa.ai",), 60)
NODATA, NXDOMAIN = Reading(Kind.NODATA, ttl=30), Reading(Kind.NXDOMAIN, ttl=30)
BOGUS = failed("bogus", ("6 DNSSEC Bogus",))


def step(*readings: Reading) -> Step:
    return compare(A, [View(f"ns{number}", said) for number, said in enumerate(readings, 1)])


@pytest.mark.parametrize(
    ("readings", "outcome", "reason"),
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
def test_what_they_come_to(readings: list[Reading], outcome: Outcome, reason: str | None) -> None:
    """The table of the module, row by row."""
    said = step(*readings)
    assert (said.outcome, said.reason) == (outcome, reason)
    assert bool(said.values) == (outcome is Outcome.FOUND)


def test_each_is_shown_where_they_are_not_all_the_same() -> None:
    """An alias as one, what failed with its reason, and no more of anybody's records than people read."""
    many = Reading(Kind.FOUND, tuple(f"192.0.2.{number}" for number in range(100)), 60)
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
    said = step(Reading(Kind.FOUND, values, 60), Reading(Kind.FOUND, values[:-1], 60))
    assert said.outcome is Outcome.PROPAGATING


def test_the_shortest_time_counts() -> None:
    """Of those that know; what failed says nothing of time."""
    longer = Reading(Kind.FOUND, ("192.0.2.2",), 600)
    assert step(OTHER, longer, failed("timeout")).ttl == 60


def test_extended_errors_are_joined() -> None:
    """Each once, whoever said it."""
    first, second = failed("servfail", ("22 No Reachable Authority",)), failed("timeout", ())
    assert step(first, first, second, BOGUS).errors == ("22 No Reachable Authority", "6 DNSSEC Bogus")

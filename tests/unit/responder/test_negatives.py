"""NXDOMAIN made of bytes is what the slow way says."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.responder.answering import respond
from router.responder.negatives import Negatives
from router.responder.reading import read
from router.responder.screening import Reply, screen
from tests.support.responder_zone import OTHER, TOKEN, VALUES, ZONE, query, zone

THE_ZONE = zone()
NEGATIVES = Negatives(THE_ZONE)


def quick(wire: bytes) -> bytes | None:
    if screen(wire, THE_ZONE.name.to_digestable()) is not None:
        return None
    token = NEGATIVES.token(wire)
    return None if token is None else NEGATIVES.answer(wire, token, VALUES)


def slow(wire: bytes) -> bytes | None:
    found = read(wire)
    return found.wire if isinstance(found, Reply) else respond(THE_ZONE, found, VALUES, tcp=False).wire


def shown(wire: bytes | None) -> tuple[object, ...]:
    """All that a resolver reads in it: the question's name as it is written, those of records in any case."""
    assert wire is not None
    message = dns.message.from_wire(wire)
    sections = [[rrset.to_text().lower() for rrset in section] for section in message.sections[1:]]
    question = message.question[0].to_text()
    return (
        message.id,
        message.flags,
        message.rcode(),
        question,
        sections,
        message.edns,
        message.ednsflags,
        message.payload,
        message.options,
    )


@pytest.mark.parametrize("name", [f"{OTHER}.{ZONE}", f"{OTHER}.AcMe.eXample.net", f"{'aB' * 16}.{ZONE}"])
@pytest.mark.parametrize("options", [{}, {"use_edns": -1}, {"want_dnssec": True}, {"payload": 65_535}, {"payload": 0}])
@pytest.mark.parametrize("kind", ["TXT", "A", "NS", "TYPE65280"])
@pytest.mark.parametrize("flags", [0x0000, 0x0100, 0x0110])
def test_the_same_answer(name: str, options: dict[str, int], kind: str, flags: int) -> None:
    """In any case, with EDNS and without, whatever is asked for, and whether or not it asks for recursion or no checking."""
    asked = query(name, kind, **options)
    wire = asked.to_wire()
    wire = wire[:2] + flags.to_bytes(2) + wire[4:]
    answer = quick(wire)
    assert shown(answer) == shown(slow(wire))


@pytest.mark.parametrize(
    "asked",
    [
        query(f"{TOKEN}.{ZONE}"),
        query(f"{TOKEN.upper()}.{ZONE}"),
        query(ZONE),
        query(f"x.{OTHER}.{ZONE}"),
        query(f"{OTHER[1:]}.{ZONE}"),
        query(f"{'1' * 32}.{ZONE}"),
        query(f"{OTHER}.{ZONE}", use_edns=1),
        query(f"{OTHER}.{ZONE}", pad=128),
    ],
)
def test_what_takes_the_slow_way(asked: dns.message.Message) -> None:
    """Names with values, names that are no tokens, and queries that are not plain."""
    assert quick(asked.to_wire()) is None


@given(st.integers(0, 200), st.integers(0, 255), st.booleans())
def test_a_query_with_a_wrong_byte(place: int, byte: int, edns: bool) -> None:
    """Either takes the slow way, or gets the same answer."""
    wire = bytearray(query(f"{OTHER}.{ZONE}", use_edns=0 if edns else -1).to_wire())
    wire[place % len(wire)] = byte
    answer = quick(bytes(wire))
    if answer is not None:
        assert shown(answer) == shown(slow(bytes(wire)))

"""What the responder says to whom: from bytes to bytes."""

import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsigkeyring
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.responder.answering import MAX_FACTOR, PAYLOAD, Values, needs_values, respond
from router.responder.reading import read
from router.responder.screening import Reply, cut_off, screen
from tests.support.responder_zone import OTHER, SERVERS, TOKEN, VALUES, ZONE, query, said, zone

THE_ZONE = zone()
SOA = f"{SERVERS[0]}. hostmaster.{ZONE}. 1 86400 7200 3600000 1"
CAA = '0 issue ";"'
NS = sorted(f"{server}." for server in SERVERS)


def reply(wire: bytes, values: Values | None = VALUES, *, tcp: bool = False) -> Reply:
    """The whole way that a query takes."""
    screened = screen(wire, THE_ZONE.name.to_digestable())
    if screened is not None:
        return screened
    found = read(wire)
    return found if isinstance(found, Reply) else respond(THE_ZONE, found, values, tcp=tcp)


def answer(asked: dns.message.Message, values: Values | None = VALUES, *, tcp: bool = False) -> dns.message.Message:
    """The answer, which must be one to this query for a resolver too."""
    wire = reply(asked.to_wire(), values, tcp=tcp).wire
    assert wire is not None
    message = dns.message.from_wire(wire)
    assert asked.is_response(message)
    return message


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "records"),
    [
        (f"{TOKEN}.{ZONE}", "TXT", "NOERROR", [f'"{"x" * 43}"', f'"{"y" * 43}"']),
        (f"{TOKEN}.{ZONE}", "A", "NOERROR", []),
        (f"{TOKEN}.{ZONE}", "CAA", "NOERROR", []),
        (f"{TOKEN}.{ZONE}", "CNAME", "NOERROR", []),
        (f"{OTHER}.{ZONE}", "TXT", "NXDOMAIN", []),
        (f"{OTHER}.{ZONE}", "NS", "NXDOMAIN", []),
        (f"{TOKEN[:-1]}.{ZONE}", "TXT", "NXDOMAIN", []),
        (f"{TOKEN[:-1]}1.{ZONE}", "TXT", "NXDOMAIN", []),  # no letter of base32
        (f"_acme-challenge.{TOKEN}.{ZONE}", "TXT", "NXDOMAIN", []),
        (f"*.{ZONE}", "TXT", "NXDOMAIN", []),
        (ZONE, "SOA", "NOERROR", [SOA]),
        (ZONE, "NS", "NOERROR", NS),
        (ZONE, "CAA", "NOERROR", [CAA]),
        (ZONE, "TXT", "NOERROR", []),
        (ZONE, "A", "NOERROR", []),
        (ZONE, "DNSKEY", "NOERROR", []),
        (ZONE, "TYPE65280", "NOERROR", []),
        ("ns1.acme.example.net", "A", "NOERROR", ["192.0.2.1"]),
        ("ns1.acme.example.net", "AAAA", "NOERROR", ["2001:db8::1"]),
        ("ns1.acme.example.net", "TXT", "NOERROR", []),
        ("ns2.deep.acme.example.net", "AAAA", "NOERROR", []),
        ("deep.acme.example.net", "A", "NOERROR", []),  # exists, because a name below it does
        ("deeper.deep.acme.example.net", "A", "NXDOMAIN", []),
        ("x.ns1.acme.example.net", "A", "NXDOMAIN", []),
        ("nothing.acme.example.net", "TXT", "NXDOMAIN", []),
        ("_responder.acme.example.net", "TXT", "NOERROR", ['"miosa-router"']),
    ],
)
def test_a_name_of_the_zone(name: str, kind: str, rcode: str, records: list[str]) -> None:
    """Is answered with authority; where there is no such record the SOA says for how long (RFC 2308): a second."""
    message = answer(query(name, kind))
    assert said(message) == (rcode, True, sorted(records))
    authority = [(rrset.name.to_text(), rrset.rdtype.name, rrset.ttl) for rrset in message.authority]
    assert authority == ([] if records else [(f"{ZONE}.", "SOA", 1)])


def test_values_are_kept_for_a_second_and_fixed_records_for_longer() -> None:
    """An order's values change, and a new order's must not be hidden by those of the last one."""
    assert [rrset.ttl for rrset in answer(query(f"{TOKEN}.{ZONE}")).answer] == [1]
    assert [rrset.ttl for rrset in answer(query(ZONE, "SOA")).answer] == [3600]


def test_name_servers_come_with_their_addresses() -> None:
    """As far as they lie in the zone."""
    additional = {(rrset.name.to_text(), rrset.rdtype.name) for rrset in answer(query(ZONE, "NS"), tcp=True).additional}
    assert additional == {(f"{SERVERS[0]}.", "A"), (f"{SERVERS[0]}.", "AAAA"), (f"{SERVERS[1]}.", "A")}


def test_a_store_that_is_away() -> None:
    """Makes names that could be a token's SERVFAIL, never NXDOMAIN; all others are answered."""
    for name in (TOKEN, OTHER):
        message = answer(query(f"{name}.{ZONE}"), None)
        assert said(message) == ("SERVFAIL", False, [])
        assert not message.authority
    assert said(answer(query(ZONE, "SOA"), None)) == ("NOERROR", True, [SOA])
    assert answer(query(f"nothing.{ZONE}"), None).rcode() == dns.rcode.NXDOMAIN


def test_only_tokens_need_the_store() -> None:
    """A flood of other names never reads it."""
    for name, needed in (
        (f"{TOKEN}.{ZONE}", True),
        (f"{TOKEN.upper()}.{ZONE}", True),
        (ZONE, False),
        (f"a.{ZONE}", False),
    ):
        found = read(query(name).to_wire())
        assert not isinstance(found, Reply)
        assert needs_values(THE_ZONE, found) is needed


def test_the_case_of_a_name_is_kept() -> None:
    """A resolver that writes names in random case (DNS 0x20) compares them, in the question and the records."""
    mixed = "AbCdEfGhIjKlMnOpQrStUvWxYz234567.aCmE.ExAmPlE.nEt."
    message = answer(query(mixed))
    assert message.question[0].name.to_text() == mixed
    assert message.answer[0].name.to_text() == mixed
    refused = reply(query("eLsEwHeRe.TeSt.").to_wire()).wire
    assert refused is not None
    assert dns.message.from_wire(refused).question[0].name.to_text() == "eLsEwHeRe.TeSt."


def _notify() -> dns.message.Message:
    message = query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    return message


def _status() -> dns.message.Message:
    message = query(ZONE, "SOA")
    message.set_opcode(dns.opcode.STATUS)
    return message


def _update() -> dns.message.Message:
    message = dns.update.UpdateMessage(ZONE)
    message.add(TOKEN, 1, "TXT", "evil")
    return message


@pytest.mark.parametrize(
    ("asked", "rcode"),
    [
        (query(ZONE, "ANY"), "REFUSED"),
        (query(f"{TOKEN}.{ZONE}", "ANY"), "REFUSED"),
        (query(ZONE, "AXFR"), "REFUSED"),
        (query(ZONE, "IXFR"), "REFUSED"),
        (query(ZONE, "MAILB"), "REFUSED"),
        (query(ZONE, "TSIG"), "REFUSED"),
        (query("version.bind", "TXT", rdclass=dns.rdataclass.CH), "REFUSED"),
        (query(ZONE, "TXT", rdclass=dns.rdataclass.CH), "REFUSED"),
        (query(ZONE, "TXT", rdclass=dns.rdataclass.ANY), "REFUSED"),
        (query("example.net", "NS"), "REFUSED"),
        (query("notacme.example.net", "NS"), "REFUSED"),
        (query(".", "NS"), "REFUSED"),
        (query(f"{ZONE}.other.test", "TXT"), "REFUSED"),
        (_notify(), "REFUSED"),
        (_update(), "REFUSED"),
        (_status(), "NOTIMP"),
        (query(ZONE, "SOA", use_edns=1), "BADVERS"),
    ],
)
def test_what_is_refused(asked: dns.message.Message, rcode: str) -> None:
    """Without a record, without authority, and in no more bytes than it was asked with."""
    wire = asked.to_wire()
    refused = reply(wire).wire
    assert refused is not None
    message = dns.message.from_wire(refused)
    assert (message.id, message.rcode().name, message.answer, message.authority) == (asked.id, rcode, [], [])
    assert message.flags & dns.flags.QR
    assert not message.flags & dns.flags.AA
    assert len(refused) <= len(wire)


def test_a_signed_query() -> None:
    """Is NOTAUTH: we share no key with anybody (RFC 8945 section 5.2.1)."""
    asked = query(ZONE, "SOA")
    asked.use_tsig(dns.tsigkeyring.from_text({"somebody.": "c2VjcmV0c2VjcmV0"}))
    refused = reply(asked.to_wire()).wire
    assert refused is not None
    assert dns.message.from_wire(refused).rcode() == dns.rcode.NOTAUTH


GOOD = query(f"{TOKEN}.{ZONE}", id=0x1234).to_wire()  # the same in each process that collects tests


def changed(at: int, to: bytes) -> bytes:
    return GOOD[:at] + to + GOOD[at + len(to) :]


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (b"", None),
        (GOOD[:11], None),
        (changed(2, b"\x80"), None),  # a response
        (GOOD[:12], "FORMERR"),
        (GOOD[:40], "FORMERR"),
        (GOOD[:-4], "FORMERR"),
        (GOOD + b"junk", "FORMERR"),
        (changed(4, b"\0\0"), "FORMERR"),  # no question
        (changed(4, b"\0\2"), "FORMERR"),
        (changed(6, b"\0\1"), "FORMERR"),  # an answer in it
        (changed(8, b"\0\1"), "FORMERR"),
        (changed(10, b"\xff\xff"), "FORMERR"),
        (changed(10, b"\0\2"), "FORMERR"),  # more records than there are
        (changed(12, b"\xc0\x0c"), "FORMERR"),  # a name that points to itself
        (changed(12, b"\x7f"), "FORMERR"),
        (GOOD[:12] + b"\x3f" + b"a" * 63 * 5, "FORMERR"),
        (GOOD[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\x10\0\1", "FORMERR"),  # 257 bytes
    ],
)
def test_what_is_malformed(wire: bytes, rcode: str | None) -> None:
    """Is FORMERR where it can be told whom to answer, and no answer else: never one to an answer."""
    got = reply(wire).wire
    assert (None if got is None else dns.message.from_wire(got, question_only=True).rcode().name) == rcode
    assert len(got or b"") <= max(len(wire), 12)


def test_an_answer_over_udp_is_bounded() -> None:
    """By what the client takes, by what no network fragments, and by a factor of the query; over TCP by nothing."""
    many = {TOKEN: tuple(f"{number:043}" for number in range(100))}
    for options in ({"use_edns": -1}, {"payload": 512}, {"payload": 65_535}, {"payload": 0}):
        asked = query(f"{TOKEN}.{ZONE}", **options)
        wire = reply(asked.to_wire(), many).wire
        assert wire is not None
        assert len(wire) <= min(PAYLOAD, len(asked.to_wire()) * MAX_FACTOR)
        assert dns.message.from_wire(wire).flags & dns.flags.TC
    plain = query(ZONE, "NS", use_edns=-1)
    wire = reply(plain.to_wire()).wire
    assert wire is not None
    assert len(wire) <= len(plain.to_wire()) * MAX_FACTOR
    assert dns.message.from_wire(wire).answer
    whole = answer(query(f"{TOKEN}.{ZONE}"), many, tcp=True)
    assert len(whole.answer[0]) == 100
    assert not whole.flags & dns.flags.TC


def test_two_values_need_no_tcp() -> None:
    """They are what every order has: one for each of its two names. Without EDNS too."""
    for edns in (0, -1):
        assert len(answer(query(f"{TOKEN}.{ZONE}", use_edns=edns)).answer[0]) == 2


def test_the_probe_of_tcp() -> None:
    """Is cut off over UDP, so that a resolver has to come over TCP to see it."""
    asked = query(f"tcp._responder.{ZONE}")
    over_udp = answer(asked)
    assert (bool(over_udp.flags & dns.flags.TC), over_udp.answer) == (True, [])
    assert said(answer(asked, tcp=True)) == ("NOERROR", True, ['"miosa-router"'])


def test_a_cut_off_answer_is_no_larger_than_its_query() -> None:
    """What a network gets that asks too much: come over TCP."""
    asked = query(f"{TOKEN}.{ZONE}")
    wire = cut_off(asked.to_wire())
    assert wire is not None
    assert len(wire) <= len(asked.to_wire())
    message = dns.message.from_wire(wire)
    assert asked.is_response(message)
    assert message.flags & dns.flags.TC
    assert cut_off(wire) is None  # it is a response itself
    assert cut_off(b"") is None


def test_edns_is_answered_where_it_was_used() -> None:
    """With our own size and the client's DO; without it where it was not."""
    with_edns = answer(query(ZONE, "SOA", want_dnssec=True))
    assert (with_edns.edns, with_edns.payload, bool(with_edns.ednsflags & dns.flags.DO)) == (0, PAYLOAD, True)
    assert answer(query(ZONE, "SOA", use_edns=-1)).edns == -1


def test_a_value_that_is_no_base64() -> None:
    """Stays one string, whatever it has."""
    odd = 'a"b\\c d'
    message = answer(query(f"{TOKEN}.{ZONE}"), {TOKEN: (odd,)})
    assert [part for rdata in message.answer[0] for part in rdata.strings] == [odd.encode()]


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda head, tail: struct.pack("!HHHHHH", *head) + tail,
            st.tuples(*[st.integers(0, 0xFFFF)] * 6),
            st.binary(max_size=120),
        ),
        st.builds(
            lambda place, byte: GOOD[: place % len(GOOD)] + bytes([byte]) + GOOD[place % len(GOOD) + 1 :],
            st.integers(0, 1000),
            st.integers(0, 255),
        ),
    ),
    st.booleans(),
)
def test_any_bytes(wire: bytes, tcp: bool) -> None:
    """Are answered with a response to them or not at all, and over UDP in a bounded size."""
    for values in (VALUES, None):
        got = reply(wire, values, tcp=tcp).wire
        if got is None:
            assert len(wire) < 12 or wire[2] & 0x80
            continue
        assert got[:2] == wire[:2]
        assert got[2] & 0x80
        assert tcp or len(got) <= max(len(wire) * MAX_FACTOR, 128)
        dns.message.from_wire(got)

"""What one server's message says."""

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dns.server_reply import MAX_ADDRESSES, MAX_SERVERS, Kind, ServerReply, failed, name_text, read
from router.dns.transport import _read
from router.domains.lookup import MAX_VALUE, MAX_VALUES

A, NS, CNAME, TXT, CAA = (dns.rdatatype.from_text(kind) for kind in ("A", "NS", "CNAME", "TXT", "CAA"))
AA, RA = dns.flags.AA, dns.flags.RA
APP, ZONE, COM = (dns.name.from_text(name) for name in ("app.example.com", "example.com", "com"))
SOA = "example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. 1 2 3 4 60"


def message(
    *records: str,
    flags: int = AA,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    wanted: dns.rdatatype.RdataType = A,
) -> dns.message.Message:
    """A server's message about APP. Records are lines of a zone file, each after its section's first letter."""
    query = dns.message.make_query(APP, wanted, use_edns=0, flags=0)
    response = dns.message.make_response(query)
    response.flags |= flags
    response.set_rcode(rcode)
    for record in records:
        section, line = record.split(" ", 1)
        name, ttl, rdclass, kind, value = line.split(" ", 4)
        rrset = dns.rrset.from_text(name, int(ttl), rdclass, kind, value)
        {"a": response.answer, "n": response.authority, "x": response.additional}[section].append(rrset)
    return dns.message.from_wire(response.to_wire(max_size=65535))


def reply(
    *records: str,
    flags: int = AA,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    wanted: dns.rdatatype.RdataType = A,
    zone: dns.name.Name | None = ZONE,
) -> ServerReply:
    return read(message(*records, flags=flags, rcode=rcode, wanted=wanted), APP, wanted, zone)


def test_records() -> None:
    """Sorted, with the time they hold."""
    said = reply("a app.example.com. 300 IN A 192.0.2.7", "a app.example.com. 300 IN A 192.0.2.10")
    assert said == ServerReply(Kind.FOUND, ("192.0.2.10", "192.0.2.7"), 300)


def test_an_alias() -> None:
    """Where it leads is somebody else's to say, whatever comes with it."""
    said = reply("a app.example.com. 60 IN CNAME Proxy.MIOSA.ai.", "a proxy.miosa.ai. 60 IN A 192.0.2.66")
    assert said == ServerReply(Kind.ALIAS, ("proxy.miosa.ai",), 60)
    said = reply("a app.example.com. 60 IN CNAME gone.example.net.", rcode=dns.rcode.NXDOMAIN)
    assert said.kind is Kind.ALIAS
    said = reply("a app.example.com. 60 IN CNAME proxy.miosa.ai.", wanted=CNAME)
    assert said == ServerReply(Kind.FOUND, ("proxy.miosa.ai",), 60)


def test_an_alias_from_a_dname() -> None:
    """The server makes a CNAME of it for the name that was asked for (RFC 6672 §3.1), and that counts."""
    said = reply("a example.com. 60 IN DNAME example.net.", "a app.example.com. 60 IN CNAME app.example.net.")
    assert said == ServerReply(Kind.ALIAS, ("app.example.net",), 60)


def test_somebody_elses_records() -> None:
    """Nobody asked for those."""
    assert reply("a other.example.com. 60 IN A 192.0.2.66", f"n {SOA}") == ServerReply(Kind.NODATA, ttl=60)


def test_nothing() -> None:
    """The zone's SOA says for how long; without one it is not to be remembered (RFC 2308)."""
    assert reply(f"n {SOA}") == ServerReply(Kind.NODATA, ttl=60)
    assert reply(f"n {SOA}", rcode=dns.rcode.NXDOMAIN) == ServerReply(Kind.NXDOMAIN, ttl=60)
    assert reply(f"n {SOA.replace('300', '30')}") == ServerReply(Kind.NODATA, ttl=30)
    assert reply() == ServerReply(Kind.NODATA)


@pytest.mark.parametrize(
    ("flags", "in_charge", "chosen"),
    [(0, "lame", "lame"), (AA, None, None), (RA, "lame", None), (AA | RA, None, None)],
    ids=["neither", "in charge", "recurses", "both"],
)
def test_who_may_say_so(flags: int, in_charge: str | None, chosen: str | None) -> None:
    """A zone's server must be in charge; one that we chose may look further instead."""
    record = "a app.example.com. 300 IN A 192.0.2.7"
    assert reply(flags=flags).reason == in_charge
    for records in ([record], []):
        assert reply(*records, flags=flags, zone=None).reason == chosen
    # What it does say counts, with a mark, where it has forgotten to say that it is in charge.
    nothing = reply(f"n {SOA}", flags=flags)
    assert (nothing.kind, nothing.authoritative) == (Kind.NODATA, in_charge is None)
    gone = reply(flags=flags, rcode=dns.rcode.NXDOMAIN)
    assert (gone.kind, gone.authoritative) == (Kind.NXDOMAIN, in_charge is None)
    assert reply(record, flags=flags) == ServerReply(Kind.FOUND, ("192.0.2.7",), 300, authoritative=in_charge is None)


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH", "BADVERS"])
def test_a_refusal(code: str) -> None:
    """Says nothing, whatever it brings along."""
    said = reply("a app.example.com. 300 IN A 192.0.2.7", rcode=dns.rcode.from_text(code))
    assert said == failed(code.lower())


def test_a_referral() -> None:
    """The servers of a zone further down, with the addresses that this server may know."""
    said = reply(
        "n example.com. 3600 IN NS ns2.example.com.",
        "n example.com. 3600 IN NS ns1.example.net.",
        "x ns2.example.com. 60 IN A 192.0.2.2",
        "x ns2.example.com. 60 IN AAAA 2001:db8::2",
        "x ns1.example.net. 60 IN A 192.0.2.66",
        "x other.example.com. 60 IN A 192.0.2.66",
        flags=0,
        zone=COM,
    )
    assert said.kind is Kind.REFERRAL
    assert said.referral is not None
    assert (said.referral.zone, said.referral.ttl) == (ZONE, 3600)
    servers = {name_text(host): addresses for host, addresses in said.referral.servers.items()}
    assert servers == {"ns1.example.net": (), "ns2.example.com": ("192.0.2.2", "2001:db8::2")}


@pytest.mark.parametrize("zone", ["example.com", "com", ".", "other.com", "net", "b.app.example.com"])
def test_a_referral_that_leads_nowhere_new(zone: str) -> None:
    """Up, sideways, past the name, or to where we are: that server is lame, and nobody goes in circles."""
    owner = dns.name.from_text(zone).to_text()
    assert reply(f"n {owner} 60 IN NS ns1.example.net.", flags=0) == failed("lame")


def test_an_empty_answer_with_a_soa_is_no_referral() -> None:
    """Some servers name themselves as well."""
    said = reply(f"n {SOA}", "n example.com. 60 IN NS ns1.example.com.", zone=COM)
    assert (said.kind, said.cut) == (Kind.NODATA, ZONE)


def test_an_answer_from_a_zone_further_down() -> None:
    """The same server has both zones, and its answer shows it."""
    said = reply("a app.example.com. 1 IN A 192.0.2.7", "n example.com. 60 IN NS ns1.example.com.", zone=COM)
    assert (said.kind, said.cut) == (Kind.FOUND, ZONE)
    said = reply("a app.example.com. 1 IN A 192.0.2.7", "n example.com. 60 IN NS ns1.example.com.")
    assert said.cut is None


def test_what_a_stranger_may_send_is_bounded() -> None:
    """Servers of a zone, addresses of a server, records of a name, characters of a record."""
    many = [f"n example.com. 60 IN NS ns{number}.example.com." for number in range(50)]
    glue = [f"x ns1.example.com. 60 IN A 192.0.2.{number}" for number in range(50)]
    said = reply(*many, *glue, flags=0, zone=COM)
    assert said.referral is not None
    assert len(said.referral.servers) == MAX_SERVERS
    assert max(len(addresses) for addresses in said.referral.servers.values()) == MAX_ADDRESSES
    records = [f"a app.example.com. 60 IN A 198.51.{number // 250}.{number % 250}" for number in range(500)]
    assert len(reply(*records).values) == MAX_VALUES
    long = " ".join(['"' + "x" * 255 + '"'] * 20)
    assert [len(value) for value in reply(f"a app.example.com. 60 IN TXT {long}", wanted=TXT).values] == [MAX_VALUE]


def test_texts_have_one_form() -> None:
    """Strings joined, bytes that can't be printed escaped; a tag in lower case."""
    said = reply(r'a app.example.com. 60 IN TXT "one " "two\009\200"', wanted=TXT)
    assert said.values == (r"one two\009\200",)
    said = reply(r'a app.example.com. 60 IN CAA 0 ISSUE "ca.example; x=\"y\""', wanted=CAA)
    assert said.values == (r'0 issue "ca.example; x=\"y\""',)


def test_extended_errors() -> None:
    """A number, its name where it has one, and the server's words, cut and made printable."""
    response = message(rcode=dns.rcode.SERVFAIL)
    options = [
        dns.edns.EDEOption(6, "expired\nX"),
        dns.edns.EDEOption(22),
        dns.edns.EDEOption(4000, "x" * 500),
        *[dns.edns.EDEOption(number, "more") for number in range(100)],
    ]
    response.use_edns(0, options=options)
    said = read(response, APP, A, ZONE)
    assert said.reason == "servfail"
    assert said.errors[:2] == ("6 DNSSEC Bogus: expired?X", "22 No Reachable Authority")
    assert said.errors[2].startswith("4000: xxx")
    assert max(len(error) for error in said.errors) == 200
    assert len(said.errors) == 8


def test_another_class_is_another_world() -> None:
    """CHAOS has A records too, of other contents."""
    chaos = "x ns1.example.com. 60 CH A chaos.test. 1234"
    said = reply("n example.com. 60 IN NS ns1.example.com.", chaos, flags=0, zone=COM)
    assert said.referral is not None
    assert list(said.referral.servers.values()) == [()]


WIRES = [
    message("a app.example.com. 300 IN A 192.0.2.7", "a app.example.com. 60 IN AAAA 2001:db8::1"),
    message("n example.com. 60 IN NS ns1.example.com.", "x ns1.example.com. 60 IN A 192.0.2.1", flags=0),
    message('a app.example.com. 60 IN CAA 0 issue "x"', f"n {SOA}"),
    message('a app.example.com. 60 IN TXT "x"', "a app.example.com. 60 IN MX 10 mail.example.com."),
]


@given(
    st.sampled_from(WIRES),
    st.lists(st.tuples(st.integers(2, 400), st.integers(0, 255)), max_size=6),
    st.sampled_from([A, NS, CNAME, TXT, CAA]),
    st.sampled_from([None, ZONE, COM, dns.name.root]),
)
def test_no_bytes_break_it(
    response: dns.message.Message,
    changes: list[tuple[int, int]],
    wanted: dns.rdatatype.RdataType,
    zone: dns.name.Name | None,
) -> None:
    """Whatever arrives is a reply or no message at all."""
    wire = bytearray(response.to_wire())
    for place, byte in changes:
        wire[place % len(wire)] = byte
    query = dns.message.make_query(APP, response.question[0].rdtype, id=response.id)
    arrived = _read(bytes(wire), query)
    if arrived is not None:
        said = read(arrived, APP, wanted, zone)
        assert (said.reason is not None) == (said.kind is Kind.FAILED)

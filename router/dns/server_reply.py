"""What one server's message says to one question, as a value: pure.

A reply counts where the server is authoritative for the name (AA), or a resolver of ours that recurses (RA). Some servers
forget AA: what they say is marked, and counts only where no server of the zone says that it is in charge (`views.py`). An
empty reply without AA and without the zone's SOA record is that of a lame server. Only the
records of the name itself are read. The rest of a reply may be about other people's names: an alias is followed by asking
again, at the authoritative servers of its target. A name's records other than an alias are cut to what we keep before they
are sorted, compared or stored.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from router.domains.lookup import MAX_VALUE, MAX_VALUES

_MAX_ERRORS = 8
_MAX_ERROR = 200  # characters
_SPELT = frozenset({"DNSKEY", "DS", "DNSSEC", "RRSIGs", "NSEC", "NXDOMAIN"})

MAX_SERVERS = 13  # of a zone; the root has as many
MAX_ADDRESSES = 2  # of a server


class Kind(enum.Enum):
    """What a message comes to."""

    FOUND = "found"
    ALIAS = "alias"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    REFERRAL = "referral"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Referral:
    """Who is in charge of a zone, and the addresses that were said with it."""

    zone: dns.name.Name
    servers: Mapping[dns.name.Name, tuple[str, ...]]
    ttl: int


@dataclass(frozen=True, slots=True)
class ServerReply:
    """What one message says. `ttl` is how many seconds it holds, `reason` why it says nothing.

    `cut` is a zone below the one that was asked, which the answer is from. `authoritative` is whether the server said that
    it may answer: AA, or RA where we chose it.
    """

    kind: Kind
    values: tuple[str, ...] = ()
    ttl: int = 0
    reason: str | None = None
    errors: tuple[str, ...] = ()
    referral: Referral | None = None
    cut: dns.name.Name | None = field(default=None, compare=False)
    authoritative: bool = True


def failed(reason: str, errors: tuple[str, ...] = ()) -> ServerReply:
    """Nothing is known, for that reason."""
    return ServerReply(Kind.FAILED, reason=reason, errors=errors)


def read(
    message: dns.message.Message,
    name: dns.name.Name,
    wanted: dns.rdatatype.RdataType,
    zone: dns.name.Name | None = None,
) -> ServerReply:
    """What it says of the name. `zone` is the one whose server was asked; None: one of our own choice, which may recurse."""
    errors = _errors(message)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return failed(dns.rcode.to_text(rcode).lower(), errors)
    in_charge = dns.flags.AA if zone is not None else dns.flags.AA | dns.flags.RA
    found = _at(message, name, wanted)
    alias = _at(message, name, dns.rdatatype.CNAME)
    if zone is not None and not found and not alias and (referral := _referral(message, name, zone)):
        return ServerReply(Kind.REFERRAL, ttl=referral.ttl, errors=errors, referral=referral)
    sure = bool(message.flags & in_charge)
    if not sure and (zone is None or not (found or alias or _is_negative(message, rcode))):
        return failed("lame", errors)
    cut = _cut(message, name, zone) if zone is not None else None
    for kind, rrsets in ((Kind.FOUND, found), (Kind.ALIAS, alias)):
        if rrsets:
            ttl = min(rrset.ttl for rrset in rrsets)
            return ServerReply(kind, _values(rrsets), ttl, errors=errors, cut=cut, authoritative=sure)
    kind = Kind.NXDOMAIN if rcode == dns.rcode.NXDOMAIN else Kind.NODATA
    return ServerReply(kind, ttl=_negative_ttl(message), errors=errors, cut=cut, authoritative=sure)


def _is_negative(message: dns.message.Message, rcode: dns.rcode.Rcode) -> bool:
    """Whether a message says that there is nothing (RFC 2308 §2), and not only says nothing."""
    return rcode == dns.rcode.NXDOMAIN or bool(_of_type(message.authority, dns.rdatatype.SOA))


def _referral(message: dns.message.Message, name: dns.name.Name, zone: dns.name.Name) -> Referral | None:
    """Who else is in charge. Only ever of a zone further down towards the name, so that no referral leads in circles."""
    if _of_type(message.authority, dns.rdatatype.SOA):
        return None
    servers = next((rrset for rrset in _below(message, name, zone) if rrset.rdtype == dns.rdatatype.NS), None)
    if servers is None:
        return None
    hosts = sorted(record.target for record in servers)[:MAX_SERVERS]  # a server rotates them; people do not
    glue: dict[dns.name.Name, list[str]] = {host: [] for host in hosts}
    for rrset in _of_type(message.additional, dns.rdatatype.A, dns.rdatatype.AAAA):
        # The address of a name outside of its own zone is not a server's to say.
        if rrset.name in glue and rrset.name.is_subdomain(zone):
            glue[rrset.name] += [record.address for record in rrset]
    return Referral(servers.name, {host: first_addresses(some) for host, some in glue.items()}, servers.ttl)


def first_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """As many of a server's addresses as are tried; IPv4 first, which every node has."""
    return tuple(sorted(dict.fromkeys(addresses), key=lambda address: ":" in address)[:MAX_ADDRESSES])


def _cut(message: dns.message.Message, name: dns.name.Name, zone: dns.name.Name) -> dns.name.Name | None:
    cuts = [rrset.name for rrset in _below(message, name, zone)]
    return max(cuts, key=len, default=None)


def _below(message: dns.message.Message, name: dns.name.Name, zone: dns.name.Name) -> list[dns.rrset.RRset]:
    """What the message says of who is in charge of a zone below `zone`, towards the name."""
    return [
        rrset
        for rrset in _of_type(message.authority, dns.rdatatype.NS, dns.rdatatype.SOA)
        if rrset.name != zone and rrset.name.is_subdomain(zone) and name.is_subdomain(rrset.name)
    ]


def _negative_ttl(message: dns.message.Message) -> int:
    """RFC 2308 §5: as the zone's SOA says; without one nothing is to be remembered."""
    soa = next(iter(_of_type(message.authority, dns.rdatatype.SOA)), None)
    return 0 if soa is None else min(soa.ttl, soa[0].minimum)


def _of_type(section: Iterable[dns.rrset.RRset], *types: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """A section's records of these types; other classes than the Internet's have other contents under the same types."""
    return [rrset for rrset in section if rrset.rdclass == dns.rdataclass.IN and rrset.rdtype in types]


def _at(message: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """A name's records of a type: one set, but where it has several CNAMEs one for each."""
    return [rrset for rrset in _of_type(message.answer, kind) if rrset.name == name]


def _values(rrsets: Iterable[dns.rrset.RRset]) -> tuple[str, ...]:
    values = {_TEXTS.get(rrset.rdtype, _addresses)(record)[:MAX_VALUE] for rrset in rrsets for record in rrset}
    return tuple(sorted(values)[:MAX_VALUES])


def name_text(name: dns.name.Name) -> str:
    """In lower case, without the final dot; bytes that are no letters come escaped."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _addresses(record: Any) -> str:
    return str(record.address)


def _txt(record: Any) -> str:
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03}" for byte in b"".join(record.strings)[:MAX_VALUE]
    )


def _caa(record: Any) -> str:
    flags, _, value = record.to_text().split(" ", 2)
    return f"{flags} {record.tag.decode('ascii', 'backslashreplace').lower()} {value}"


def _mx(record: Any) -> str:
    return f"{record.preference} {name_text(record.exchange)}"


def _soa(record: Any) -> str:
    names = f"{name_text(record.mname)} {name_text(record.rname)}"
    return f"{names} {record.serial} {record.refresh} {record.retry} {record.expire} {record.minimum}"


def _https(record: Any) -> str:
    """As a zone file has it; quoted values come with what is unprintable escaped."""
    return str(record.to_text())


def _target(record: Any) -> str:
    return name_text(record.target)


_TEXTS: Mapping[dns.rdatatype.RdataType, Callable[[Any], str]] = {
    dns.rdatatype.CNAME: _target,
    dns.rdatatype.NS: _target,
    dns.rdatatype.DNAME: _target,
    dns.rdatatype.MX: _mx,
    dns.rdatatype.SOA: _soa,
    dns.rdatatype.TXT: _txt,
    dns.rdatatype.CAA: _caa,
    dns.rdatatype.HTTPS: _https,
}


def _errors(message: dns.message.Message) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_error(option) for option in message.extended_errors()[:_MAX_ERRORS]))


def _error(option: dns.edns.EDEOption) -> str:
    """`6 DNSSEC Bogus: signature expired`."""
    words = str(int(option.code))
    name = dns.edns.EDECode.to_text(option.code)
    if name != words:  # a code without a name is written as its number
        title = name.split("_")
        words = " ".join([words, *(word if word in _SPELT else word.title() for word in title)])
    if option.text:
        words += f": {''.join(letter if letter.isprintable() else '?' for letter in option.text)}"
    return words[:_MAX_ERROR]

"""What one server's message says to one question, as a value: pure.

A server's word counts where it is in charge of the name: authoritative (AA), or a resolver of ours that looks further
for us (RA). Only the records of the name itself are read. The rest of an answer may be about other people's names: an
alias is followed by asking again, whoever is in charge of where it leads. A name's records other than an alias are cut
to what we keep before anybody sorts, compares or stores them.
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

_MOST_ERRORS = 8
_MOST_ERROR = 200  # characters
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
class Reading:
    """What one message says. `ttl` is how many seconds it holds, `reason` why it says nothing.

    `cut` is a zone below the one that was asked, which the answer is from.
    """

    kind: Kind
    values: tuple[str, ...] = ()
    ttl: int = 0
    reason: str | None = None
    errors: tuple[str, ...] = ()
    referral: Referral | None = None
    cut: dns.name.Name | None = field(default=None, compare=False)


def failed(reason: str, errors: tuple[str, ...] = ()) -> Reading:
    """Nothing is known, for that reason."""
    return Reading(Kind.FAILED, reason=reason, errors=errors)


def read(
    message: dns.message.Message,
    name: dns.name.Name,
    wanted: dns.rdatatype.RdataType,
    zone: dns.name.Name | None = None,
) -> Reading:
    """What it says of the name. `zone` is the one whose server was asked; None: one of our own choice, which may recurse."""
    errors = _errors(message)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return failed(dns.rcode.to_text(rcode).lower(), errors)
    in_charge = dns.flags.AA if zone is not None else dns.flags.AA | dns.flags.RA
    found = message.get_rrset(message.answer, name, dns.rdataclass.IN, wanted)
    alias = message.get_rrset(message.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
    if zone is not None and found is None and alias is None and (referral := _referral(message, name, zone)):
        return Reading(Kind.REFERRAL, ttl=referral.ttl, errors=errors, referral=referral)
    if not message.flags & in_charge:
        return failed("lame", errors)
    cut = _cut(message, name, zone) if zone is not None else None
    if found is not None:
        return Reading(Kind.FOUND, _values(found), found.ttl, errors=errors, cut=cut)
    if alias is not None:
        return Reading(Kind.ALIAS, _values(alias), alias.ttl, errors=errors, cut=cut)
    kind = Kind.NXDOMAIN if rcode == dns.rcode.NXDOMAIN else Kind.NODATA
    return Reading(kind, ttl=_negative_ttl(message), errors=errors, cut=cut)


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


def _values(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    text = _TEXTS.get(rrset.rdtype, _addresses)
    return tuple(sorted({text(record)[:MAX_VALUE] for record in rrset})[:MAX_VALUES])


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


def _target(record: Any) -> str:
    return name_text(record.target)


_TEXTS: Mapping[dns.rdatatype.RdataType, Callable[[Any], str]] = {
    dns.rdatatype.CNAME: _target,
    dns.rdatatype.NS: _target,
    dns.rdatatype.MX: _mx,
    dns.rdatatype.SOA: _soa,
    dns.rdatatype.TXT: _txt,
    dns.rdatatype.CAA: _caa,
}


def _errors(message: dns.message.Message) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_error(option) for option in message.extended_errors()[:_MOST_ERRORS]))


def _error(option: dns.edns.EDEOption) -> str:
    """`6 DNSSEC Bogus: signature expired`."""
    words = str(int(option.code))
    if option.code in dns.edns.EDECode:
        title = dns.edns.EDECode.to_text(option.code).split("_")
        words = " ".join([words, *(word if word in _SPELT else word.title() for word in title)])
    if option.text:
        words += f": {''.join(letter if letter.isprintable() else '?' for letter in option.text)}"
    return words[:_MOST_ERROR]

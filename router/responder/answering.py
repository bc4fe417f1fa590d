"""From a query to the response: pure.

The store's values are given as what is known of them: a mapping from tokens to values, or None while the store is away. Then
a name that could be a token's gets SERVFAIL: an authority tries again after that, and gives up after NXDOMAIN.
"""

from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rrset

from router.responder.reading import Query
from router.responder.screening import Reply
from router.responder.zone import VALUES_TTL, Node, Zone

Values = Mapping[str, Sequence[str]]

PAYLOAD = 1232  # bytes of UDP that no network fragments (DNS Flag Day 2020)
MAX_FACTOR = (
    4  # of a query's size that its answer over UDP may have; a larger one is cut off, for the sender to use TCP
)
_PLAIN = 512  # bytes that a client without EDNS takes (RFC 1035 section 4.2.1)
_MAX_TCP = 65_535
_RESULTS = {"TXT": "txt", "SOA": "fixed", "NS": "fixed", "CAA": "fixed", "A": "fixed", "AAAA": "fixed"}


def needs_values(zone: Zone, query: Query) -> bool:
    """Whether what the store says decides about the answer."""
    return query.name not in zone.nodes and zone.token_of(query.name) is not None


def respond(zone: Zone, query: Query, values: Values | None, *, tcp: bool) -> Reply:
    """The response."""
    response = dns.message.make_response(query.message, our_payload=PAYLOAD)
    if query.message.edns >= 0:
        response.ednsflags = query.message.ednsflags & dns.flags.DO  # RFC 3225 section 3; nothing here is signed
    if needs_values(zone, query) and values is None:
        response.set_rcode(dns.rcode.SERVFAIL)
        return Reply("away", response.to_wire())
    response.flags |= dns.flags.AA
    if query.name == zone.tcp_only and not tcp:
        response.flags |= dns.flags.TC
        return Reply("truncated", response.to_wire())
    node = _node(zone, query.name, values or {})
    found = None if node is None else node.get(query.type)
    if found is not None:
        response.answer.append(_owned(query.name, found))
        if query.type == dns.rdatatype.NS:
            _add_glue(response, zone, found)
        result = _RESULTS.get(dns.rdatatype.to_text(query.type), "fixed")
    else:
        if node is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        # RFC 2308 section 3: for as long as the smaller of the two times that the SOA has.
        response.authority.append(dns.rrset.from_rdata_list(zone.name, VALUES_TTL, list(zone.soa)))
        result = "nxdomain" if node is None else "nodata"
    wire = _written(response, _MAX_TCP if tcp else _limit(query))
    return Reply("truncated" if wire[2] & 0x02 else result, wire)


def _written(response: dns.message.Message, limit: int) -> bytes:
    """The response, cut off where it has more bytes. dnspython itself takes no limit below 512 for one."""
    wire = response.to_wire(max_size=limit, prefer_truncation=True)
    if len(wire) > limit and response.additional:  # glue: whoever asks here has it from the parent zone
        response.additional.clear()
        wire = response.to_wire(max_size=limit, prefer_truncation=True)
    if len(wire) > limit:
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        wire = response.to_wire()
    return wire


def _limit(query: Query) -> int:
    payload = min(max(query.message.payload, _PLAIN), PAYLOAD) if query.message.edns >= 0 else _PLAIN
    return min(payload, max(query.size * MAX_FACTOR, _PLAIN // 4))


def _node(zone: Zone, name: dns.name.Name, values: Values) -> Node | None:
    """What a name of the zone has; None where it does not exist."""
    if name in zone.nodes:
        return zone.nodes[name]
    token = zone.token_of(name)
    known = () if token is None else values.get(token, ())
    if not known:
        return None
    records = dns.rdataset.from_text("IN", "TXT", VALUES_TTL, *(_quoted(value) for value in known))
    return {dns.rdatatype.TXT: records}


def _quoted(value: str) -> str:
    r"""As a zone file has it. Values are base64url (RFC 8555 section 8.4); whatever else there is must not end the string."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _add_glue(response: dns.message.Message, zone: Zone, servers: dns.rdataset.Rdataset) -> None:
    for server in servers:
        node = zone.nodes.get(server.target, {})
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            if kind in node:
                response.additional.append(_owned(server.target, node[kind]))


def _owned(name: dns.name.Name, records: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    """The records under that name, which the query may have written in another case."""
    return dns.rrset.from_rdata_list(name, records.ttl, list(records))

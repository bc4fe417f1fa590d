"""A query that has passed `screening.py`, parsed."""

from dataclasses import dataclass

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig

from router.responder.screening import Reply, refuse

_EDNS_VERSION = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A question about a name of the zone. `size` is how many bytes it came in."""

    message: dns.message.Message
    name: dns.name.Name
    type: dns.rdatatype.RdataType
    size: int


def read(wire: bytes) -> Query | Reply:
    """The query, or the answer to one that can't be read."""
    try:
        message = dns.message.from_wire(wire)
    except (dns.message.UnknownTSIGKey, dns.tsig.PeerError):
        return refuse(wire, "refused", dns.rcode.NOTAUTH)  # RFC 8945 section 5.2.1: we have no keys
    except Exception:  # noqa: BLE001 - a stranger's bytes: whatever the library makes of them, they are no query
        return refuse(wire, "malformed", dns.rcode.FORMERR)
    if len(message.question) != 1 or message.answer or message.authority or message.additional:
        return refuse(wire, "malformed", dns.rcode.FORMERR)
    if message.edns > _EDNS_VERSION:
        return _bad_version(message)
    question = message.question[0]
    return Query(message, question.name, question.rdtype, len(wire))


def _bad_version(message: dns.message.Message) -> Reply:
    """RFC 6891 section 6.1.3: the answer says which version we know."""
    response = dns.message.make_response(message)
    response.use_edns(_EDNS_VERSION)
    response.set_rcode(dns.rcode.BADVERS)
    return Reply("malformed", response.to_wire())

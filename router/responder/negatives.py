"""NXDOMAIN to a token without an order, made of bytes.

It is what a flood of invented tokens asks for, and the slow way (parse, answer, write) takes 200 µs for each. Only the plainest
query is answered so: one label of 32 characters in front of the zone, without EDNS or with an OPT record that has no options.
A test compares each answer with that of the slow way.
"""

import re
import struct

import dns.flags
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from router.responder.answering import MAX_FACTOR, PAYLOAD, Values
from router.responder.screening import HEADER
from router.responder.zone import VALUES_TTL, Zone

_TOKEN = re.compile(rb"[a-z2-7]{32}")
_LABEL = 32
_NAME = HEADER.size  # where the question's name begins
_ZONE = _NAME + 1 + _LABEL  # and where the zone begins in it
_RECORD = struct.Struct("!HHHIH")
_OPT = struct.Struct("!BHHBBHH")  # root, type, payload, extended code, version, flags, length
_FLAGS = dns.flags.QR | dns.flags.AA | dns.rcode.NXDOMAIN
_NO_EDNS_SIZE = 512


class Negatives:
    """For one zone."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone.name.to_digestable()
        self._question = _ZONE + len(self._zone) + 4  # bytes up to the end of the question
        (soa,) = zone.soa
        data = soa.to_digestable()
        pointer = 0xC000 | _ZONE  # RFC 1035 section 4.1.4: the zone's name, as it stands in the question
        self._soa = _RECORD.pack(pointer, dns.rdatatype.SOA, dns.rdataclass.IN, VALUES_TTL, len(data)) + data

    def token(self, wire: bytes) -> str | None:
        """The token that such a query asks for; None where the query is another."""
        if wire[_NAME] != _LABEL or wire[_ZONE : self._question - 4].lower() != self._zone:
            return None
        label = wire[_NAME + 1 : _ZONE].lower()
        return label.decode("ascii") if _TOKEN.fullmatch(label) else None

    def answer(self, wire: bytes, token: str, values: Values) -> bytes | None:
        """The answer to a query that `screening.py` let through; None where it has to take the slow way."""
        if values.get(token):
            return None
        rest, additional = wire[self._question :], HEADER.unpack_from(wire)[5]
        opt = b""
        if additional:
            if additional != 1 or len(rest) != _OPT.size:
                return None
            root, kind, _, _, version, flags, length = _OPT.unpack(rest)
            if root or kind != dns.rdatatype.OPT or version or length:
                return None
            opt = _OPT.pack(0, dns.rdatatype.OPT, PAYLOAD, 0, 0, flags & dns.flags.DO, 0)
        elif rest:
            return None
        number, flags = struct.unpack_from("!HH", wire)
        head = HEADER.pack(number, _FLAGS | (flags & dns.flags.RD), 1, 0, 1, 1 if opt else 0)
        whole = head + wire[_NAME : self._question] + self._soa + opt
        return whole if len(whole) <= min(len(wire) * MAX_FACTOR, _NO_EDNS_SIZE) else None

"""What is not for us, by a look at the bytes: no record is parsed for it, and its answer is never larger than it was.

| query | answer |
|---|---|
| shorter than a header, or a response (QR) | none: an answer to it could be answered in turn, without end |
| NOTIFY, UPDATE | REFUSED |
| other operations | NOTIMP |
| not one question, one that runs out of the message, compressed or longer than a name may be | FORMERR |
| a class other than IN; AXFR, IXFR, ANY (RFC 8482 lets a server decline it) and other types that are no data | REFUSED |
| a name outside the zone | REFUSED |
| answers in it, or more additional records than OPT and TSIG | FORMERR |
"""

import struct
from dataclasses import dataclass

import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")

_QR, _TC, _RD = 0x8000, 0x0200, 0x0100
_OPCODE = 0x7800
_MAX_NAME = 255  # bytes of a name (RFC 1035 section 2.3.4)
_MAX_ADDITIONAL = 2
_REFUSED_OPERATIONS = (dns.opcode.NOTIFY, dns.opcode.UPDATE)
# RFC 6895 section 3.1: types for questions and for the protocol itself.
_NO_DATA = frozenset((0, dns.rdatatype.OPT, *range(128, 256)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What one query gets. `result` is a value of the label of the metric `responder_queries`; no `wire`: no answer."""

    result: str
    wire: bytes | None


DROPPED = Reply("dropped", None)


def screen(wire: bytes, zone: bytes) -> Reply | None:
    """The answer to what is not to be read any further; None where it is. `zone` is the zone's name in lower case, as in a
    message."""
    if len(wire) < HEADER.size:
        return DROPPED
    _, flags, questions, answers, authorities, additional = HEADER.unpack_from(wire)
    if flags & _QR:
        return DROPPED
    operation = (flags & _OPCODE) >> 11
    if operation != dns.opcode.QUERY:
        refused = operation in _REFUSED_OPERATIONS
        return _bare(wire, "refused" if refused else "malformed", dns.rcode.REFUSED if refused else dns.rcode.NOTIMP)
    question = _Question.of(wire) if questions == 1 else None
    if question is None:
        return _bare(wire, "malformed", dns.rcode.FORMERR)
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _NO_DATA or not question.lies_in(zone):
        return refuse(wire, "refused", dns.rcode.REFUSED)
    if answers or authorities or additional > _MAX_ADDITIONAL:
        return refuse(wire, "malformed", dns.rcode.FORMERR)
    return None


def refuse(wire: bytes, result: str, rcode: dns.rcode.Rcode) -> Reply:
    """An answer without records to a query whose question is sound."""
    question = _Question.of(wire)
    return _bare(wire, result, rcode, b"" if question is None else wire[HEADER.size : question.end])


def cut_off(wire: bytes) -> bytes | None:
    """An answer that says no more than "ask over TCP"; None where the query is not sound."""
    if len(wire) < HEADER.size or wire[2] & 0x80:
        return None
    question = _Question.of(wire)
    return None if question is None else _bare(wire, "", dns.rcode.NOERROR, wire[HEADER.size : question.end], _TC).wire


def _bare(wire: bytes, result: str, rcode: dns.rcode.Rcode, question: bytes = b"", more: int = 0) -> Reply:
    """A header, and the question as it came: in the sender's case, which it may compare."""
    number, flags = struct.unpack_from("!HH", wire)
    flags = _QR | (flags & (_OPCODE | _RD)) | more | rcode
    return Reply(result, HEADER.pack(number, flags, 1 if question else 0, 0, 0, 0) + question)


class _Question:
    """The one question of a message: its name as it came, and where it ends."""

    __slots__ = ("_labels", "_name", "end", "rdclass", "rdtype")

    def __init__(self, name: bytes, labels: list[int], end: int, rdtype: int, rdclass: int) -> None:
        self._name = name
        self._labels = labels
        self.end = end
        self.rdtype = rdtype
        self.rdclass = rdclass

    @classmethod
    def of(cls, wire: bytes) -> "_Question | None":
        """None where it is not sound. Nothing comes before it that its name could point to."""
        start = at = HEADER.size
        labels = []
        size = len(wire)
        while True:
            if at >= size or at - start >= _MAX_NAME:
                return None
            length = wire[at]
            labels.append(at - start)
            if length == 0:
                break
            if length > 63:
                return None
            at += 1 + length
        at += 1
        end = at + _QUESTION.size
        if end > size:
            return None
        rdtype, rdclass = _QUESTION.unpack_from(wire, at)
        return cls(wire[start:at], labels, end, rdtype, rdclass)

    def lies_in(self, zone: bytes) -> bool:
        """Whether the name is the zone's, or one below it."""
        place = len(self._name) - len(zone)
        return place in self._labels and self._name[place:].lower() == zone

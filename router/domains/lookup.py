"""What the checks of domains need of DNS: an answer to each question, with not knowing told apart from nothing there.

The owner of a domain decides what its name servers say, and when they say nothing. So NXDOMAIN, NODATA and records are
definitive, and everything else is not: servers that differ, and all that is unknown (SERVFAIL, REFUSED, a timeout, a
server that is not in charge). No domain goes down because of what is not definitive.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# What a stranger's server sends is kept, compared, shown and stored. More than this is dropped.
MAX_VALUES = 256  # records of one answer
MAX_VALUE = 1024  # characters of one record
MAX_SHOWN = 16  # records of one of several servers

NOT_AUTHORITATIVE = "not_authoritative"  # no server of a name says that it is in charge of it


class RecordType(enum.StrEnum):
    """Which records are asked for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    TXT = "TXT"
    CAA = "CAA"
    NS = "NS"
    SOA = "SOA"
    MX = "MX"
    HTTPS = "HTTPS"
    DNAME = "DNAME"


class Outcome(enum.StrEnum):
    """What came of a question."""

    FOUND = "found"
    NODATA = "nodata"  # the name exists, with other records
    NXDOMAIN = "nxdomain"
    PROPAGATING = "propagating"  # the servers in charge of the name differ
    UNKNOWN = "unknown"

    @property
    def definitive(self) -> bool:
        """Whether something may be concluded from it."""
        return self not in (Outcome.PROPAGATING, Outcome.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Question:
    """A canonical name, and which of its records. All but CNAME are those at the end of the name's aliases."""

    name: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one of several servers says; never PROPAGATING. `server` is its name and address, as people know it.

    An alias is FOUND with the type CNAME, else `type` is what the question asked for.
    """

    server: str
    type: RecordType
    outcome: Outcome
    values: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says to one question.

    `values` are sorted, each in one form: addresses in their canonical one, names in lower case without the final dot,
    a TXT record's strings joined, the fields of other records with a blank between them (`0 issue "ca.example"`,
    `10 mail.example.com`, `1 . alpn="h2"`). They are whatever a stranger's server sent, with unprintable bytes escaped (`\\009`).

    `reason` says in a word why the outcome is unknown: `servfail`, `refused`, `timeout`, `lame` (no server is in charge),
    `bogus` (DNSSEC), `unreachable`, `bad_answer`, `no_address` (the name's servers have none), `not_global` (they are at addresses
    that are not the Internet's), `no_servers` (we have no server to ask), `alias_loop`, `too_many_aliases`,
    `too_many_referrals`, `too_many_queries`, `bad_name`, `closed`, `failed` (a bug of ours), or another code of DNS.
    `errors` are extended errors (RFC 8914), as in `6 DNSSEC Bogus: signature expired`.

    `aliases` are the names that the question's name leads to, one after the other; the answer is about the last one.

    `remark` is a word on what is odd about an answer that holds: `not_authoritative`.

    `servers` are empty where the servers asked agree. Where they differ, or some did not answer, they are what each of
    them said.
    """

    outcome: Outcome
    values: tuple[str, ...] = ()
    reason: str | None = None
    errors: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    servers: tuple[ServerAnswer, ...] = ()
    remark: str | None = None


class Lookup(Protocol):
    """Asks DNS."""

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        """An answer to each question, in their order, all asked at once.

        What is not answered at the instant `until` of the monotonic clock is unknown, for the reason `timeout`. What is
        remembered from earlier questions will do, unless the answer must be `fresh`. Raises nothing.
        """

"""What the checks of domains need of DNS: an answer to each question, with not knowing told apart from nothing there.

Whoever owns a domain decides what its name servers say, and when they say nothing. So NXDOMAIN, NODATA and records are
definitive, and everything else (SERVFAIL, REFUSED, a timeout, a server that is not in charge) is unknown with its
reason: no domain goes down because of it.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class RecordType(enum.StrEnum):
    """Which records are asked for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"


class Outcome(enum.StrEnum):
    """What came of a question; all but the last are definitive."""

    FOUND = "found"
    NODATA = "nodata"  # the name exists, with other records
    NXDOMAIN = "nxdomain"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Question:
    """A canonical name, and which of its records. A and AAAA are those at the end of the name's aliases."""

    name: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says to one question.

    `values` are sorted: addresses in their canonical form, names in lower case without the final dot. They are whatever
    a stranger's server sent, with unprintable bytes escaped. `reason` says in a word why the outcome is unknown.
    """

    outcome: Outcome
    values: tuple[str, ...] = ()
    reason: str | None = None


class Lookup(Protocol):
    """Asks DNS."""

    async def ask(self, questions: Sequence[Question], until: float) -> Sequence[Answer]:
        """An answer to each question, in their order, all asked at once.

        What is not answered at the instant `until` of the monotonic clock is unknown, for the reason `timeout`. Raises
        nothing.
        """

"""Who ended an exchange, in which phase: two letters on every access line and a label of `exchanges_total`.

The idea is HAProxy's termination state. A status says what the client was told; the ending says what happened. An
answer with status 200 that ends `BB` was cut off by the backend in mid-body, and one that ends `CB` by a visitor who
closed the tab: the first is an alarm, the second is a Tuesday.

The first letter says who. Capitals acted (closed, reset, sent rubbish, refused); small letters let a time limit pass.
The second letter is the phase in which it happened, in the order in which an exchange goes through them. A request
body flows while its phase is still `H`: `B` begins with the answer's head. An exchange that ended as both sides wanted
is `--`, whatever its status; so is a tunnel that either side closed properly, and a redirect of our own.

An answer of our own is `E` where the edge decided it (unknown host, limit, drain, fault of ours) and `B` or `b` where
it reports the backend's state or failure. Which one, is the row in `COMBINATIONS`.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class Who(enum.StrEnum):
    """Who ended the exchange."""

    NOBODY = "-"
    CLIENT = "C"
    CLIENT_TIMEOUT = "c"
    BACKEND = "B"
    BACKEND_TIMEOUT = "b"
    EDGE = "E"


class Phase(enum.StrEnum):
    """How far it had come."""

    COMPLETE = "-"
    REQUEST_HEAD = "R"
    ADMISSION = "A"
    DIAL = "D"
    ANSWER_HEAD = "H"
    BODIES = "B"
    TUNNEL = "T"


COMPLETE = "--"
UNKNOWN = "??"  # a label for what the table does not have: a bug of ours, visible instead of fatal

# Every ending that can occur. An idle connection that closes between requests is no exchange and has none.
COMBINATIONS: Mapping[str, str] = MappingProxyType(
    {
        "--": "complete",
        "CR": "the client went away in the middle of its request's head",
        "cR": "the request's head took too long to arrive: 408",
        "ER": "the request's head was refused: malformed, too large, not supported, or no room for it",
        "CA": "the client went away while its host was looked up",
        "BA": "the resource is starting or stopped: there is nothing to dial",
        "EA": "the edge refused: unknown, deleted or blocked host, a limit, a drain, or the look-up failed",
        "CD": "the client went away while its backend was dialled",
        "BD": "the backend refused or reset every try to connect: 502",
        "bD": "the backend did not take the connection in time: 504",
        "ED": "the edge would not dial: the address is not allowed, or a drain ran out",
        "CH": "the client went away before the answer began",
        "cH": "the client stopped sending its request's body",
        "BH": "the backend closed the connection or sent something else than an answer: 502",
        "bH": "the backend did not begin its answer in time: 504",
        "EH": "the edge ended it before the answer began: the request's body was refused, or a drain ran out",
        "CB": "the client went away in mid-body",
        "cB": "the client neither read nor sent anything for too long",
        "BB": "the backend broke its answer off, or framed it wrongly",
        "bB": "the backend neither read nor sent anything for too long",
        "EB": "the edge ended it in mid-body: the request's body was refused, or a drain ran out",
        "CT": "the client reset the tunnel",
        "cT": "the client let the tunnel's idle time pass",
        "BT": "the backend reset the tunnel",
        "bT": "the backend let the tunnel's idle time pass",
        "ET": "the edge ended the tunnel: it reached its longest life, or a drain ran out",
    }
)


def prose(ending: str) -> str:
    """What two letters mean, for people."""
    return COMBINATIONS.get(ending, "not a known ending")

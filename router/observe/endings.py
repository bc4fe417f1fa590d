"""Who ended an exchange, in which phase: two letters on every access line and a label of `exchanges_total`.

The idea is HAProxy's termination state. A status says what the client was told; the ending says what happened. A
response with status 200 that ends `BB` was cut off by the backend in the middle of its body, and one that ends `CB` by a
visitor who closed the tab: the first needs an alarm, the second happens every day.

The first letter says who. Capitals acted (closed, reset, sent garbage, refused); small letters let a time limit pass.
The second letter is the phase in which it happened, in the order in which an exchange goes through them. A request
body flows while its phase is still `H`: `B` begins with the response's head. An exchange that ended as both sides wanted
is `--`, whatever its status; so is a tunnel that either side closed properly, and a redirect of our own. The table of
phases and events is in `proxy/exchange.py`.

A response of our own is `E` where the edge decided it (unknown host, limit, drain, fault of ours) and `B` or `b` where
it reports the backend's state or failure. Which one, is the row in `COMBINATIONS`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Who ended it.
CLIENT: Final = "C"
CLIENT_TIMEOUT: Final = "c"
BACKEND: Final = "B"
BACKEND_TIMEOUT: Final = "b"
EDGE: Final = "E"
WHO: Final = (CLIENT, CLIENT_TIMEOUT, BACKEND, BACKEND_TIMEOUT, EDGE)
BY_CLIENT: Final = (CLIENT, CLIENT_TIMEOUT)

# How far it had come.
REQUEST_HEAD: Final = "R"
ADMISSION: Final = "A"
WAKE: Final = "W"
QUEUE: Final = "Q"
DIAL: Final = "D"
RESPONSE_HEAD: Final = "H"
BODIES: Final = "B"
TUNNEL: Final = "T"
PHASES: Final = (REQUEST_HEAD, ADMISSION, WAKE, QUEUE, DIAL, RESPONSE_HEAD, BODIES, TUNNEL)

# Endings that are written out in the code; others are put together of who and phase.
COMPLETE: Final = "--"
CLIENT_TIMEOUT_IN_REQUEST_HEAD: Final = "cR"
EDGE_IN_REQUEST_HEAD: Final = "ER"
BACKEND_IN_ADMISSION: Final = "BA"
EDGE_IN_ADMISSION: Final = "EA"
BACKEND_IN_WAKE: Final = "BW"
BACKEND_TIMEOUT_IN_WAKE: Final = "bW"
EDGE_IN_WAKE: Final = "EW"
EDGE_IN_QUEUE: Final = "EQ"
BACKEND_IN_DIAL: Final = "BD"
BACKEND_TIMEOUT_IN_DIAL: Final = "bD"
EDGE_IN_DIAL: Final = "ED"
CLIENT_TIMEOUT_IN_RESPONSE_HEAD: Final = "cH"
BACKEND_IN_RESPONSE_HEAD: Final = "BH"
BACKEND_TIMEOUT_IN_RESPONSE_HEAD: Final = "bH"
EDGE_IN_RESPONSE_HEAD: Final = "EH"
CLIENT_IN_BODIES: Final = "CB"
CLIENT_TIMEOUT_IN_BODIES: Final = "cB"
BACKEND_IN_BODIES: Final = "BB"
BACKEND_TIMEOUT_IN_BODIES: Final = "bB"
EDGE_IN_BODIES: Final = "EB"
CLIENT_IN_TUNNEL: Final = "CT"
CLIENT_TIMEOUT_IN_TUNNEL: Final = "cT"
BACKEND_IN_TUNNEL: Final = "BT"
BACKEND_TIMEOUT_IN_TUNNEL: Final = "bT"
EDGE_IN_TUNNEL: Final = "ET"

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
        "CW": "the client went away while its resource was woken or started",
        "BW": "the resource could not be woken: the platform refused, or did not manage it",
        "bW": "the resource did not run in time: a page that waits, or 503",
        "EW": "a drain, a removed route, or a full queue of wakes, ended the wait for a resource that was woken or started",
        "CQ": "the client went away while it waited for a place at its resource",
        "EQ": "no place at the resource became free in time: 429; or a drain ran out",
        "CD": "the client went away while its backend was dialled",
        "BD": "the backend refused or reset every try to connect: 502",
        "bD": "the backend did not take the connection in time: 504",
        "ED": "the edge would not dial: the address is not allowed, or a drain ran out",
        "CH": "the client went away before the response began",
        "cH": "the client stopped sending its request's body",
        "BH": "the backend closed the connection or sent something else than a response: 502",
        "bH": "the backend did not begin its response in time: 504",
        "EH": "the edge ended it before the response began: the request's body was refused, or a drain ran out",
        "CB": "the client went away in mid-body",
        "cB": "the client neither read nor sent anything for too long",
        "BB": "the backend broke its response off, or framed it wrongly",
        "bB": "the backend neither read nor sent anything for too long",
        "EB": "the edge ended it in mid-body: the request's body was refused, or a drain ran out",
        "CT": "the client reset the tunnel",
        "cT": "the client let the tunnel's idle time pass",
        "BT": "the backend reset the tunnel",
        "bT": "the backend let the tunnel's idle time pass",
        "ET": "the edge ended the tunnel: it reached its longest life, or a drain ran out",
    }
)

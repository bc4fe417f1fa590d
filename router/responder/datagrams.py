"""Queries over UDP.

At most one query waits for the store: while it does no other is taken from the socket, whose buffer is the queue. So
nothing grows with a flood, and a reading of the store answers all that came meanwhile.
"""

import asyncio
import ipaddress
import socket
import struct
from functools import partial
from typing import Any

from router.base.clock import Clock
from router.responder.answers import Answers, Pending
from router.responder.rate_limit import RateLimit, network_of
from router.responder.screening import Reply, cut_off
from router.responder.turns import Turns
from router.responder.values import Snapshot

_MAX_QUERY = 1232  # bytes; one is a hundred or so
_CONTROL = 64  # bytes for the address that a packet was sent to
# Every second answer that is one too many says "ask over TCP" in as many bytes as the query has: who shares a network with
# a forged flood still gets through (as BIND's `slip 2`).
_SLIP = 2

_IP_PKTINFO = 8  # Linux; the socket module of Python 3.11 lacks it
_V4 = struct.Struct("=I4s4s")
_V6 = struct.Struct("=16sI")

Control = list[tuple[int, int, bytes]]


class Datagrams:
    """Serves a bound, non-blocking socket of UDP from now on, until it is closed."""

    def __init__(self, bound: socket.socket, answers: Answers, clock: Clock) -> None:
        self._socket = bound
        self._answers = answers
        self._clock = clock
        self._limit = RateLimit()
        self._over = 0
        self._control = _ask_for_destination(bound)
        self._turns = Turns(bound, self._step, clock)

    def close(self) -> None:
        """Take no more. The socket stays open: its owner closes it."""
        self._turns.close()

    def _step(self) -> bool:
        """Take one packet; False where there is none, or where it has to wait."""
        try:
            wire, control, flags, sender = self._socket.recvmsg(_MAX_QUERY, self._control)
        except OSError:  # none there (BlockingIOError), or an error that an earlier answer has brought back
            return False
        if flags & socket.MSG_TRUNC or sender[1] == 0:
            self._answers.count("dropped")
            return True
        source = _from(control)
        if not self._limit.admits(network_of(sender[0]), self._clock.monotonic()):
            self._too_many(wire, source, sender)
            return True
        found = self._answers.first(wire, tcp=False)
        if isinstance(found, Reply):
            self._send(found.wire, source, sender)
            return True
        self._turns.pause()
        self._answers.values.read().add_done_callback(partial(self._known, found, source, sender))
        return False

    def _known(self, pending: Pending, source: Control, sender: Any, reading: asyncio.Task[Snapshot]) -> None:
        if reading.cancelled():
            return  # this process ends
        self._send(self._answers.then(pending, reading.result(), tcp=False).wire, source, sender)
        self._turns.resume()

    def _too_many(self, wire: bytes, source: Control, sender: Any) -> None:
        self._answers.count("limited")
        self._over += 1
        if self._over % _SLIP == 0:
            self._send(cut_off(wire), source, sender)

    def _send(self, wire: bytes | None, source: Control, sender: Any) -> None:
        if wire is None:
            return
        try:
            self._socket.sendmsg([wire], source, 0, sender)
        except OSError:  # no room, or no way there: the client asks again
            self._answers.count("unsent")


def _ask_for_destination(bound: socket.socket) -> int:
    """On a socket that is bound to every address an answer must leave from the one that was asked: clients drop others.
    How many bytes of ancillary data there are to read."""
    if not ipaddress.ip_address(bound.getsockname()[0]).is_unspecified:
        return 0
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return socket.CMSG_SPACE(_CONTROL)


def _from(control: Control) -> Control:
    """What makes an answer leave from the address that was asked, by whatever interface leads to the client."""
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _V4.unpack(data[: _V4.size])
            return [(level, kind, _V4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, interface = _V6.unpack(data[: _V6.size])
            local_link = ipaddress.IPv6Address(local).is_link_local  # means nothing without its interface
            return [(level, kind, _V6.pack(local, interface if local_link else 0))]
    return []

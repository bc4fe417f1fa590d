"""How much one network is answered over UDP, where anybody may write anybody's address as the sender.

A fixed number of cells, each a "virtual scheduling" bucket (GCRA, ITU-T I.371) that is one number: memory does not grow with
the number of senders. Which networks share a cell depends on Python's hash of bytes, which no stranger knows.
"""

import ipaddress
from array import array

RATE = 50.0  # answers a second to one network: an authority's resolvers ask a few questions for each order
BURST = 250  # answers that it may have saved up

_CELLS = 8192


class RateLimit:
    """Pure but for the times that it is given."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        self._step = 1.0 / rate
        self._ahead = burst / rate
        self._cells = array("d", [0.0]) * _CELLS

    def admits(self, network: bytes, now: float) -> bool:
        """Whether one more is admitted. `now` is in seconds of a monotonic clock."""
        cell = hash(network) % _CELLS
        due = max(self._cells[cell], now)
        if due - now >= self._ahead:
            return False
        self._cells[cell] = due + self._step
        return True


def network_of(address: str) -> bytes:
    """The network that an address counts for: /24 of IPv4, /56 of IPv6, since a customer is given as much."""
    if ":" not in address:
        return address.rpartition(".")[0].encode()
    packed = ipaddress.IPv6Address(address.partition("%")[0])
    mapped = packed.ipv4_mapped
    return packed.packed[:7] if mapped is None else network_of(str(mapped))

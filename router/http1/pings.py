"""Whether what a WebSocket sends is nothing but pings and pongs (RFC 6455 §5.5), in which nobody says anything."""

from typing import Final

_PING: Final = 0x89  # FIN, opcode 9
_PONG: Final = 0x8A
_MASKED: Final = 0x80
_MAX_CONTROL: Final = 125  # bytes of a control frame's payload
_MASK: Final = 4


def only_pings(data: bytes) -> bool:
    """Whether one read holds whole pings and pongs and nothing else. What does not begin with a frame, because it is the
    rest of one, or holds part of a ping, counts as something else: too much use is better than too little."""
    place, size = 0, len(data)
    while place + 2 <= size:
        if data[place] not in (_PING, _PONG):
            return False
        length = data[place + 1] & ~_MASKED
        if length > _MAX_CONTROL:
            return False
        place += 2 + length + (_MASK if data[place + 1] & _MASKED else 0)
    return place == size

"""What only the kernel knows about a connection: what the other side has not acknowledged, and whether it has closed."""

import asyncio
import fcntl
import select
import struct
import termios
from collections.abc import Iterable
from typing import Final

_BROKEN: Final = select.POLLHUP | select.POLLERR

_NOTHING: Final = struct.pack("i", 0)


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes written that the other side has not acknowledged yet: the transport's buffer, and the kernel's.

    The kernel buffers megabytes for a slow reader, and takes more only when a third of them has gone, so the transport's
    buffer may not change for minutes while the other side reads. This number shrinks with every acknowledgement.
    """
    held, file = transport.get_write_buffer_size(), file_of(transport)
    if file < 0:
        return held
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(file, termios.TIOCOUTQ, _NOTHING))  # SIOCOUTQ, of a socket
    except OSError:  # closed, and the descriptor may be another connection's
        return held
    return held + int(queued)


def file_of(transport: asyncio.BaseTransport) -> int:
    """Its socket's descriptor, -1 where that is closed."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())  # uvloop returns None after a close, unless it was asked before


def hung_up(files: Iterable[int]) -> list[tuple[int, bool]]:
    """Of these sockets, those whose other side has closed: (descriptor, whether its reading half too, or by a reset).

    Found out without reading: for connections whose reading is paused.
    """
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLRDHUP)
    return [(file, bool(events & _BROKEN)) for file, events in poll.poll(0)]

"""What is asked of the kernel about connections: also of those that have just gone."""

import asyncio
import socket

import pytest

from router.proxy import socket_state
from tests.support.edge import until

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_connection_that_is_closed_has_nothing_unsent(asked_before: bool) -> None:
    """Whether its socket was ever asked for or not: there is no descriptor, and no error."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    if asked_before:
        assert socket_state.file_of(transport) >= 0
    transport.abort()
    await until(lambda: socket_state.file_of(transport) == -1)
    assert socket_state.unsent(transport) == 0
    theirs.close()


async def test_who_has_hung_up() -> None:
    """An end and a reset are told apart, without reading what stands before them; the others are not named."""
    listener = socket.create_server(("127.0.0.1", 0))
    pairs = []
    for _ in range(3):
        there = socket.create_connection(listener.getsockname())
        pairs.append((listener.accept()[0], there))
        there.sendall(b"x" * 1000)
    (stays, _), (ends, ending), (resets, resetting) = pairs
    ending.shutdown(socket.SHUT_WR)
    resetting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    resetting.close()
    told = dict(socket_state.hung_up(sock.fileno() for sock in (stays, ends, resets)))
    assert told == {ends.fileno(): False, resets.fileno(): True}
    for pair in pairs:
        for sock in pair:
            sock.close()
    listener.close()

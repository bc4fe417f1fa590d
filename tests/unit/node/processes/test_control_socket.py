"""What a process said last is heard, also where its end is seen first."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from router.node.ipc.process_messages import TO_CHILD, TO_SUPERVISOR, End, Failed, Heartbeat
from router.node.ipc.wire import Message
from router.node.processes.control_socket import ControlSocket, pair
from tests.support.waiting import eventually


@pytest.mark.asyncio
async def test_last_words() -> None:
    """`finish` hears everything that was sent before the other side went, in order, and then closes."""
    heard: list[Message | None] = []
    ours, theirs = pair()
    control_socket = ControlSocket(ours, TO_SUPERVISOR, lambda message, _: heard.append(message))
    other = ControlSocket(theirs, TO_CHILD, lambda *_: None)
    assert other.send(Heartbeat())
    assert other.send(Failed("1 problem", [("limits.dial", "must be greater than 0")]))
    other.close()
    control_socket.finish()
    assert heard == [
        Heartbeat(),
        Failed("1 problem", [["limits.dial", "must be greater than 0"]]),  # type: ignore[list-item]
        None,
    ]
    assert not control_socket.send(End())
    control_socket.finish()


@pytest.mark.asyncio
async def test_nothing_more_to_hear() -> None:
    """Where the other side is still there, what it has said is heard, and nothing is waited for."""
    heard: list[Message | None] = []
    ours, theirs = pair()
    with theirs:
        control_socket = ControlSocket(ours, TO_SUPERVISOR, lambda message, _: heard.append(message))
        theirs.send(b'{"alive": true}')
        control_socket.finish()
    await asyncio.sleep(0)
    assert heard == [Heartbeat()]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("last", [[], [Heartbeat()], [Heartbeat(), Heartbeat()]])
def test_the_end_is_heard_where_messages_were_not_read(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], last: list[Message]
) -> None:
    """A supervisor that is killed has not read all heartbeats. The kernel reports that as an error, once, and libuv does
    not watch the socket after an error: what the supervisor said last is heard all the same, and then its end."""
    heard: list[Message | None] = []

    async def hear() -> None:
        ours, theirs = pair()
        control_socket = ControlSocket(ours, TO_SUPERVISOR, lambda message, _: heard.append(message))
        other = ControlSocket(theirs, TO_CHILD, lambda *_: None)
        assert control_socket.send(End())
        for message in last:
            assert other.send(message)
        other.close()
        await eventually(lambda: None in heard, "the end is heard")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(hear())
    assert heard == [*last, None]

"""Free ports, for programs that cannot be told to take any and say which."""

import os
import random
import socket

# Below the range from which the kernel takes ports for outgoing connections, so that none slips in between.
FIRST, LAST = 15_000, 32_000

# Each of the processes that pytest-xdist starts has a part of the range of its own: what one has been given and not yet
# bound, no other is given.
_PARTS = max(1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS

_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that nothing listens on, never the same one twice."""
    for port in random.sample(range(FIRST + _PART, LAST, _PARTS), 200):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0

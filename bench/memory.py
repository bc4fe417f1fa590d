"""What slow readers cost a worker's memory: `python -m bench.memory`, half a minute; docs/capacity.md has the formula.

So many clients ask for ten megabytes each and read nothing; then they leave. The resident memory of the worker is shown
before, meanwhile and after. The exit status says whether the formula holds.
"""

import argparse
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from bench.measure import memory
from router.proxy.turn_budget import HELD
from tests.support.ports import answers, free_port
from tests.support.processes import Process
from tests.support.router import PLATFORM_DOMAIN, Router

# Bytes besides a read that is held: both connections, the exchange, and their sockets' objects.
PER_EXCHANGE = 12 * 1024
_MARGIN = 32 << 20  # of the allocator
_SETTLES = 10.0  # seconds after which what can be given back has been


def main() -> int:
    """Measure; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--readers", type=int, default=1000)
    readers = options.parse_args().readers
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        command = [sys.executable, "-m", "bench.attack", "serve", str(port)]
        backend = stack.enter_context(Process(command, folder / "backend.log", folder=Path.cwd()))
        backend.until(lambda: answers(port))
        most = {f"limits__{name}": 20_000 for name in ("exchanges_per_resource", "exchanges_per_address")}
        router = stack.enter_context(Router(folder, access_log="", limits__drain_requests=0, **most))
        router.register(router.tenant("Slow"), "slow", port)
        pid = router.process.pid
        before = memory(pid)
        socks = []
        for _ in range(readers):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", router.proxy_port))
            sock.sendall(f"GET /slow HTTP/1.1\r\nHost: slow.{PLATFORM_DOMAIN}\r\n\r\n".encode())
            socks.append(sock)
        time.sleep(5)
        during = memory(pid)
        for sock in socks:
            sock.close()
        after = memory(pid)
        end = time.monotonic() + _SETTLES
        while time.monotonic() < end and after > before + _MARGIN:
            time.sleep(0.5)
            with suppress(LookupError):
                after = memory(pid)
    bound = before + readers * (HELD + PER_EXCHANGE) + _MARGIN
    for what, size in (("before", before), ("with them", during), ("bound of the formula", bound), ("after", after)):
        print(f"{readers} slow readers, {what:22} {size / 2**20:7.0f} MiB")
    return 0 if during <= bound and after <= before + _MARGIN else 1


if __name__ == "__main__":
    sys.exit(main())

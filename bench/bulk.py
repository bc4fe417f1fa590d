"""A hundred megabytes at a time, a fixed number of times: `python -m bench.bulk PORT HOST down|up TIMES`

wrk counts whole answers within a time, and with bodies that take a tenth of a second what is under way at the end is
not negligible. One blocking connection; the kernel does nearly all of the work.
"""

import os
import socket
import sys
import tempfile
import time

_SIZE = 100 << 20
_READ = 1 << 20


def _head(connection: socket.socket, buffer: bytearray) -> int:
    """Read an answer's head, and how much of the body came with it."""
    got = b""
    while b"\r\n\r\n" not in got:
        size = connection.recv_into(buffer)
        if not size:
            raise ConnectionError("closed before an answer")
        got += buffer[:size]
    if not got.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(got[:80].decode("latin-1"))
    return len(got.partition(b"\r\n\r\n")[2])


def main() -> None:
    port, host, way, times = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    buffer = bytearray(_READ)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, tempfile.TemporaryFile() as file:
        if way == "up":
            file.truncate(_SIZE)
        connection.settimeout(None)  # blocking in the kernel too; whoever started us has a deadline
        began = time.monotonic()
        for _ in range(times):
            if way == "down":
                connection.sendall(f"GET /100m HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                left = _SIZE - _head(connection, buffer)
                while left > 0:
                    size = connection.recv_into(buffer)
                    if not size:
                        raise ConnectionError("closed inside a body")
                    left -= size
            else:
                connection.sendall(f"POST /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {_SIZE}\r\n\r\n".encode())
                at = 0
                while at < _SIZE:
                    at += os.sendfile(connection.fileno(), file.fileno(), at, _SIZE - at)
                _head(connection, buffer)
        print(time.monotonic() - began)


if __name__ == "__main__":
    main()

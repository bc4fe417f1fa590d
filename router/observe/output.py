"""Where lines go: a file or standard output, one write per batch."""

import os
import stat
from collections.abc import Iterator

# Several workers may share a pipe. A write of at most PIPE_BUF bytes is never mixed with another (POSIX write(2)); a
# file opened for appending takes each write whole, whatever its size.
_WHOLE = 4096

_STDOUT = 1


class Output:
    """Whole lines to a file that they are appended to, or to standard output (`-`). Raises OSError."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = self._open()

    @property
    def terminal(self) -> bool:
        """Whether a person is looking."""
        return os.isatty(self._fd)

    def write(self, lines: bytes) -> None:
        """Write whole lines. Raises OSError; some may have been written then."""
        regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        for part in (lines,) if regular else _pieces(lines):
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def reopen(self) -> None:
        """Open the file again by its name, after it was moved away. Raises OSError; the old one stays open then."""
        if self._path != "-":
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._path != "-":
            os.close(self._fd)

    def _open(self) -> int:
        if self._path == "-":
            return _STDOUT
        # Owner and group only: the lines say who visited what.
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _pieces(lines: bytes) -> Iterator[bytes]:
    """`lines` cut at line ends into pieces that one write takes whole; a longer line is a piece of its own."""
    start = 0
    while start < len(lines):
        if len(lines) - start <= _WHOLE:
            end = len(lines)
        else:
            end = lines.rfind(b"\n", start, start + _WHOLE) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end

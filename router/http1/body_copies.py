"""Bodies of which the beginning is kept while they pass: readers that hand what they have read to a copy.

Both take the place of a ChunkedReader, so that a connection which copies nothing does nothing for it.
"""

from typing import Final

from router.http1.bodies import ChunkedReader

COPIED: Final = -3  # a framing beside those of `heads.py`: the body has its reader already


class BodyCopy:
    """The first `limit` bytes of a body, and how many it had in all."""

    __slots__ = ("kept", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept = b""
        self.size = 0

    def take(self, data: bytes) -> None:
        """More of the body."""
        room = self.limit - len(self.kept)
        if room > 0:
            self.kept += data[:room]
        self.size += len(data)


class CopiedChunks(ChunkedReader):
    """A chunked body."""

    __slots__ = ("_copy",)

    def __init__(self, copy: BodyCopy, max_trailers_size: int, *, lenient: bool = False) -> None:
        super().__init__(max_trailers_size, lenient=lenient)
        self._copy = copy

    def canonical(self, data: bytes) -> int:  # noqa: ARG002 - none is
        """See ChunkedReader. The copy is of the content alone."""
        return -1

    def feed(self, data: bytes) -> bytes:
        """See ChunkedReader."""
        content = super().feed(data)
        if content:
            self._copy.take(content)
        return content


class CopiedBody(ChunkedReader):
    """A body of so many bytes; below 0: one that ends with its connection, and never is `done`."""

    __slots__ = ("_copy", "_remaining")

    def __init__(self, copy: BodyCopy, length: int) -> None:
        super().__init__(0)
        self._copy = copy
        self._remaining = length

    @property
    def only_end_missing(self) -> bool:
        """See ChunkedReader."""
        return self._remaining < 0

    def canonical(self, data: bytes) -> int:  # noqa: ARG002 - none is
        """See ChunkedReader. It has no chunks."""
        return -1

    def feed(self, data: bytes) -> bytes:
        """See ChunkedReader. It refuses nothing."""
        content = data
        if self._remaining >= 0:
            content, self.rest = data[: self._remaining], data[self._remaining :]
            self._remaining -= len(content)
            self.done = self._remaining == 0
        self._copy.take(content)
        return content

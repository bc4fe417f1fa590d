"""A connection to a backend: writes requests, reads responses, one exchange at a time.

If bytes arrive while no exchange is under way, the backend is confused, or something of an earlier exchange is left. Such
a connection is closed and never used again: a later visitor would read those bytes as their response.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from router.http1.bodies import ChunkedReader, FramingError
from router.http1.body_copies import COPIED
from router.http1.heads import CHUNKED, UNTIL_CLOSE, RefusedError
from router.http1.other_protocols import FIRST_BYTES
from router.http1.repair import HeadRepair
from router.http1.responses import HeadBeginning, ResponseHead, check_size
from router.observe.refused import BACKEND
from router.proxy import host_refusal, response
from router.proxy.refusal_notes import note_body, note_response
from router.proxy.turn_budget import Paced
from router.proxy.unread import Unread

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.pool import Pool
    from router.proxy.worker_state import WorkerState


class BackendConnection(Paced):
    """See the module.

    `left` counts down a sized body; `chunks` reads a chunked one; `until_close` has no end.
    """

    __slots__ = (
        "_beginning",
        "_repair",
        "_unread",
        "accepted",
        "buffer",
        "chunks",
        "exchange",
        "held",
        "idle_since",
        "last",
        "left",
        "let_go",
        "pool",
        "to_end",
        "until_close",
        "visitor",
        "worker",
        "write_paused",
    )

    def __init__(self, worker: "WorkerState", pool: "Pool") -> None:
        super().__init__(worker.budget)
        self.worker = worker
        self.pool = pool
        self.exchange: Exchange | None = None
        self.buffer = b""
        self.left = 0
        self.chunks: ChunkedReader | None = None
        self.visitor = ""  # whose alone it is, since it authenticates that one (NTLM, Negotiate)
        self.idle_since = 0.0
        self._beginning: HeadBeginning | None = None  # of a head that has not arrived completely
        self._repair: HeadRepair | None = None  # of such a head, or a whole one, that the strict reader has refused
        self._unread: Unread | None = None  # after a failed write: what the backend had sent before
        # Flags as in `Paced`.
        self.held = False  # a response's head and some of its body, in `buffer`, until `host_refusal` has seen enough
        self.to_end = False  # the end of the connection is the end of what is held
        self.let_go = False
        self.until_close = False
        self.accepted = False  # by the backend, as in `pool.py`
        self.write_paused = False
        self.last = False  # something that it has sent had to be repaired, so it serves no other exchange

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.closing:  # forgotten while it was dialled
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(self.worker.high_water)
        self.worker.backends.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.buffer = data[:FIRST_BYTES]  # what it speaks, if it was dialled just now
            self.close()
        elif self.left:
            self._sized(exchange, data)
        elif self.chunks is not None:
            self._chunked(exchange, self.chunks, data)
        elif self.until_close:
            response.relay(exchange, data)
        else:
            self._head(exchange, self.buffer + data if self.buffer else data)

    def _head(self, exchange: "Exchange", data: bytes) -> None:
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or self._repair is not None:
                self._begins(exchange, data)
                return
            self._beginning = None
            try:
                head = self.worker.responses.read(data[:end], exchange.head.method)
            except RefusedError:
                self._mend(exchange, data)
                return
            if head.may_refuse and self._is_refusal(exchange, head, data, end):
                return
            if not self._take(exchange, head, data[end:]):
                return
            data = data[end:]

    def _take(self, exchange: "Exchange", head: ResponseHead, data: bytes) -> bool:
        """A head, and what came behind it: True where that is the next one."""
        if not self.accepted:
            self.pool.answered(self, self.worker.now, head.keep_for if head.status >= 200 else -1)
        if head.status >= 200:
            self.buffer = b""
            response.begin(exchange, head, data)
            return False
        if head.status == 101:
            self.buffer = b""
            response.switch(exchange, head, data)
            return False
        if not response.interim(exchange, head):
            return False
        if not data:
            self.buffer = b""
        return bool(data)

    def _is_refusal(self, exchange: "Exchange", head: ResponseHead, data: bytes, end: int) -> bool:
        """Whether this response is kept from the client, for now or for good: the program may refuse the host."""
        if not self.let_go and head.status >= 200 and host_refusal.taken(exchange, self, head, data[end:]):
            if self.exchange is exchange and not self.closing:
                self.held = True
                self.to_end = head.framing == UNTIL_CLOSE
                self.buffer = data
            return True
        self.held = self.let_go = False
        return False

    def pass_on(self) -> None:
        """A response that was held for more of it goes on as it is."""
        exchange, data, self.buffer = self.exchange, self.buffer, b""
        if exchange is not None:
            self.let_go = True
            self._head(exchange, data)

    def _begins(self, exchange: "Exchange", data: bytes) -> None:
        """A head of which only `data` has arrived yet."""
        if self._repair is not None:
            self._mend(exchange, data)
            return
        beginning = self._beginning
        if beginning is None:
            beginning = self._beginning = HeadBeginning()
        try:
            beginning.feed(data[beginning.size :])
            check_size(data, self.worker.limits)
        except RefusedError:
            self._beginning = None
            self._mend(exchange, data)
        else:
            self.buffer = data

    def _mend(self, exchange: "Exchange", data: bytes) -> None:
        """A head, or its beginning, that the strict reader refuses. One that can be repaired is this connection's last."""
        repair = self._repair
        if repair is None:
            repair = self._repair = HeadRepair(self.worker.limits)
        try:
            repair.feed(data)
            if repair.end < 0:
                self.buffer = data
                return
            head = repair.head(exchange.head.method)
        except RefusedError as error:
            self._repair = None
            if host_refusal.taken_raw(exchange, data):
                return
            note_response(exchange, str(error), data)
            if data.startswith(b"HTTP/"):
                response.refuse(exchange, str(error), data)
            else:
                response.stray(exchange, str(error), data)
            return
        self._repair = None
        self.last = True
        if self._take(exchange, head, data[repair.end :]):
            self._head(exchange, data[repair.end :])

    def _sized(self, exchange: "Exchange", data: bytes, head: bytes = b"") -> None:
        size = len(data)
        if size < self.left:
            self.left -= size
            response.relay(exchange, data, head)
            return
        extra = size > self.left
        if extra:
            data = data[: self.left]
        self.left = 0
        response.relay(exchange, data, head)
        response.complete(exchange, clean=not extra)

    def _chunked(self, exchange: "Exchange", chunks: ChunkedReader, data: bytes, head: bytes = b"") -> None:
        if exchange.framing == CHUNKED:
            size = chunks.canonical(data)
            if size >= 0:
                response.relay_framed(exchange, data, size, head)
                if chunks.done:
                    self.chunks = None
                    response.complete(exchange, clean=not chunks.repaired)
                return
        try:
            content = chunks.feed(data)
        except FramingError as error:
            if head:
                exchange.incoming.write(head)
            note_body(exchange, BACKEND, str(error), chunks, data)
            response.refuse(exchange, str(error))
            return
        if chunks.done:
            self.chunks = None
            response.relay_last(exchange, content, chunks.trailers, head)
            response.complete(exchange, clean=not chunks.rest and not chunks.repaired)
        elif content:
            response.relay(exchange, content, head)
        elif head:
            exchange.incoming.write(head)

    def read_body(self, framing: int, data: bytes, head: bytes) -> None:
        """Begin with a response's body; `data` came behind its head. `framing` as in ResponseHead, but never NONE; or COPIED,
        where `chunks` has its reader already. `head` is what the client has not been sent yet of its head, where there is
        `data`."""
        exchange = self.exchange
        if framing > 0:
            self.left = framing
        elif framing == CHUNKED:
            self.chunks = ChunkedReader(self.worker.limits.headers, lenient=True)
        elif framing != COPIED:
            self.until_close = True
        if not data or exchange is None:
            return
        if self.left:
            self._sized(exchange, data, head)
        elif self.chunks is not None:
            self._chunked(exchange, self.chunks, data, head)
        else:
            response.relay(exchange, data, head)

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.put(data)

    def eof_received(self) -> bool:
        """The backend will send no more. Before a response is complete that is its end."""
        if self.held and self.to_end:
            self.pass_on()
        exchange = self.exchange
        if exchange is not None:
            response.ended(exchange, None)
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        exchange = self.exchange
        if exchange is not None and exc is not None and self._read_on(exc):
            self.write_paused = False
            exchange.resume_client()  # drop the rest of the request, so that it does not hold up the response
        else:
            self._finish(exc)

    def _read_on(self, exc: Exception) -> bool:
        """The connection broke, perhaps in a write: first read what the backend has sent (RFC 9112 §9.5)."""
        # A broken pipe means that the backend closed in order, so a response without a length is complete.
        end = None if isinstance(exc, BrokenPipeError) else exc
        try:
            self._unread = Unread(self.transport, self.data_received, lambda: self._finish(end), paused=self._paused)
        except OSError:
            return False
        return True

    def _finish(self, exc: Exception | None) -> None:
        self._unread = None
        self.leave()
        if self.held and self.to_end and exc is None:
            self.pass_on()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            response.ended(exchange, exc)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_client()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_client()

    def pause(self) -> None:
        """Read no more until `resume`: the client does not keep up."""
        if self._unread is None:
            super().pause()
        else:
            self._paused = True
            self._unread.pause()

    def resume(self) -> None:
        """Read on."""
        if self._unread is None:
            super().resume()
        else:
            self._paused = False
            self._unread.resume()

    def forget(self) -> None:
        """The dial is given up, whether the connection came up or not."""
        if self in self.worker.backends:
            self.leave()
            self.close()
        self.closing = True

    def leave(self) -> None:
        """It counts no more: it has closed, or is about to."""
        self.worker.backends.discard(self)
        self.pool.gone(self)

    def close(self) -> None:
        """Close the connection at once; what is not sent yet is dropped."""
        if self._unread is not None:
            self._unread.close()
            self._finish(None)
        elif not self.closing:
            self.closing = True
            self.transport.abort()

"""The response's half of an exchange: what becomes of what the backend sends.

    interim, switch    a 1xx: passed on, or the start of a tunnel
    begin              the response's head goes to the client
    relay, relay_last  its body behind it
    complete           the backend's connection may serve again, the client's goes on to its next request
    refuse, stray      what the backend sent is no response, or no such one as can be passed on
    ended              its connection is at its end

Functions rather than methods, since they are the exchange's as much as `exchange.py` is: they keep no state of their
own. The backend's connection calls them with what it has read.
"""

from typing import TYPE_CHECKING, Final

from router import errors
from router.http1.bodies import LAST_CHUNK, chunk, last_chunk
from router.http1.forwarding import after_a_wait, interim_to_client, response_framing, response_to_client, with_line
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE
from router.http1.other_protocols import recognise
from router.http1.requests import may_be_repeated
from router.http1.responses import ResponseHead, is_event_stream
from router.http1.shared_caches import unshared
from router.http1.upgrade import accepts
from router.observe import endings
from router.proxy.debug_timing import server_timing
from router.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.guard import Visit

_INTERIM_SIZE: Final = 8192  # bytes of a 1xx that count as one more of them
# Bytes of a body up to which its head goes out with them: that copies them, and spares a system call and waking the client
# for a head alone.
_JOINED: Final = 64 * 1024


def interim(exchange: "Exchange", head: ResponseHead) -> bool:
    """A 1xx response; False where they come too fast.

    There may be any number of them: a 102 every few seconds, a 104 with each part of an upload (RFC 9110 §15.2). Each
    but a 100, which is about the request, is a sign of life. One that the client does not take in time is dropped, since nothing else would bound what waits for it.
    """
    worker, incoming, backend = exchange.worker, exchange.incoming, exchange.outgoing
    if backend is None:
        return False
    now = worker.time()
    per_second = worker.limits.interim_responses
    if exchange.interims == 0:
        exchange.interims_left = float(per_second)
    else:
        exchange.interims_left = min(
            float(per_second), exchange.interims_left + (now - exchange.interim_at) * per_second
        )
    exchange.interims += 1
    exchange.interim_at = now
    exchange.interims_left -= 1 + sum(map(len, head.lines)) // _INTERIM_SIZE
    if exchange.interims_left < 0:
        refuse(exchange, f"it sends more than {per_second} interim (1xx) responses in a second")
        return False
    if not head.keep_alive:
        backend.last = True
    if exchange.head.version == 1 and not incoming.write_paused:
        incoming.write(interim_to_client(head, exchange.client_info, exchange.prepared.rules))
    if head.status != 100 and incoming.request_done and not exchange.half_closed:
        incoming.deadline = now + exchange.prepared.first_byte
    return True


def begin(exchange: "Exchange", head: ResponseHead, data: bytes) -> None:
    """The response's head; `data` is what came behind it."""
    incoming, backend, request, worker = exchange.incoming, exchange.outgoing, exchange.head, exchange.worker
    if backend is None:
        return
    exchange.first_byte = worker.time()
    exchange.phase = endings.BODIES
    exchange.status = head.status
    exchange.response_head = head
    exchange.framing = framing = response_framing(head, request.method, request.version)
    # A response before the end of the request closes the connection: the rest of the body must not be read as a request.
    exchange.keep_alive = keep_alive = (
        request.keep_alive
        and incoming.request_done
        and framing != UNTIL_CLOSE
        and not worker.draining
        and not (request.upgrade and incoming.buffer)
    )
    cors: tuple[bytes, ...] = ()
    said, visit, length = head, exchange.visit, head.framing
    if visit is not None:
        cors = visit.cors
        if visit.restricted:
            said = unshared(head)
        if visit.capture is not None:
            length = visit.capture.answered(head, data, backend)
    out = response_to_client(
        said,
        exchange.client_info,
        exchange.prepared.rules,
        request_id=exchange.id,
        framing=framing,
        client_version=request.version,
        keep_alive=keep_alive,
        cors=cors,
    )
    if visit is not None and visit.tells_times:
        out = _with_times(exchange, visit, out, whole=head.framing in (NONE, len(data)))
    if length == NONE:
        incoming.write(out)
        complete(exchange, clean=not data)
    elif length == len(data):  # all in one read: one write
        exchange.sent = length
        incoming.write(out + data)
        complete(exchange, clean=True)
    else:
        exchange.note_use(exchange.first_byte)
        exchange.body_idle = idle = worker.tunnel_idle if length < 0 and is_event_stream(head) else worker.body_idle
        incoming.deadline = worker.now + idle
        if incoming.write_paused:
            exchange.pause_backend()
        if not data or len(data) > _JOINED:
            incoming.write(out)
            out = b""
        backend.read_body(length, data, out)


def _with_times(exchange: "Exchange", visit: "Visit", out: bytes, *, whole: bool) -> bytes:
    """A rendered head that says how long its request has waited for its resource to wake, and where its time went."""
    if visit.woken >= 0:
        out = after_a_wait(out, visit.woken)
    if exchange.timing is not None and exchange.timing.shown:
        out = with_line(out, b"Server-Timing: " + server_timing(exchange, whole=whole))
    return out


def relay(exchange: "Exchange", data: bytes, head: bytes = b"") -> None:
    """More of the response's body, without its framing. `head` is what goes to the client in front of it, in one write."""
    relay_framed(exchange, chunk(data) if exchange.framing == CHUNKED else data, len(data), head)


def relay_framed(exchange: "Exchange", data: bytes, size: int, head: bytes = b"") -> None:
    """More of the response's body, framed as the client gets it; `size` bytes of it are content. `head` as above."""
    incoming = exchange.incoming
    exchange.sent += size
    incoming.deadline = exchange.worker.now + exchange.body_idle
    incoming.write(head + data if head else data)


def relay_last(exchange: "Exchange", content: bytes, trailers: list[bytes], head: bytes = b"") -> None:
    """The end of a chunked response. `head` as above."""
    exchange.sent += len(content)
    if exchange.framing == CHUNKED:
        content = chunk(content) + last_chunk(trailers) if content else last_chunk(trailers)
    if head:
        content = head + content
    if content:
        exchange.incoming.write(content)


def complete(exchange: "Exchange", *, clean: bool) -> None:
    """The response is complete. `clean`: nothing came behind it, so the backend's connection may serve again."""
    incoming, head = exchange.incoming, exchange.response_head
    if exchange.over or head is None:
        return
    exchange.release(
        reusable=clean
        and head.keep_alive
        and incoming.request_done
        and head.framing != UNTIL_CLOSE
        # A program that turns down an offer to upgrade may not have read the body behind it.
        and not (exchange.head.upgrade and exchange.head.framing)
    )
    keep_alive = exchange.keep_alive
    exchange.end(endings.COMPLETE)
    incoming.exchange_over(keep_alive=keep_alive)


def switch(exchange: "Exchange", head: ResponseHead, data: bytes) -> None:
    """A 101: from here on both sides speak a protocol that we only carry."""
    incoming, backend = exchange.incoming, exchange.outgoing
    if backend is None:
        return
    if not accepts(exchange.head, head):
        refuse(exchange, "it switches protocols (101), and was not asked to")
        return
    if not incoming.request_done:
        # RFC 9110 §7.8: the request is sent to its end in HTTP, and then the connection is the other protocol's.
        exchange.early_switch = (head, data)
        backend.pause()
        return
    exchange.first_byte = exchange.worker.time()
    exchange.status = 101
    exchange.phase = endings.TUNNEL
    exchange.tunnel = True
    early, incoming.buffer = incoming.buffer, b""
    out = interim_to_client(head, exchange.client_info, exchange.prepared.rules, exchange.id)
    visit = exchange.visit
    if visit is not None:
        if visit.tells_times:
            out = _with_times(exchange, visit, out, whole=False)
        if visit.capture is not None:
            visit.capture.switched(head)
    incoming.write(out + data)
    exchange.sent += len(data)
    exchange.received += len(early)
    Tunnel(exchange.worker, exchange, incoming, backend).start(early)


def refuse(exchange: "Exchange", why: str, first: bytes = b"") -> None:
    """What the backend sent is not HTTP, or not HTTP that can be passed on without guessing. `first` is how it began."""
    exchange.worker.refusals.info(
        "backend's response refused", why=why, backend=exchange.backend, request_id=exchange.request_id
    )
    exchange.worker.metrics.count("backend_errors", "bad_response")
    problem = recognise(first)
    if problem is errors.BAD_BACKEND_RESPONSE:
        problem = errors.bad_response(why)
    if exchange.phase == endings.BODIES:
        exchange.worker.note_error(exchange.route, exchange.host, problem)
        exchange.cut(endings.BACKEND_IN_BODIES)
    else:
        exchange.respond(problem, endings.BACKEND_IN_RESPONSE_HEAD)


def ended(exchange: "Exchange", error: Exception | None) -> None:
    """The backend's connection is at its end."""
    backend, incoming = exchange.outgoing, exchange.incoming
    if backend is None:
        return
    if exchange.phase == endings.BODIES:
        chunks = backend.chunks
        if error is None and (backend.until_close or (chunks is not None and chunks.only_end_missing)):
            if exchange.framing == CHUNKED:
                incoming.write(LAST_CHUNK)
            complete(exchange, clean=False)
        else:
            exchange.worker.metrics.count("backend_errors", "truncated")
            exchange.cut(endings.BACKEND_IN_BODIES)
        return
    if backend.buffer or not _dialled_again(exchange):
        exchange.release(reusable=False)
        exchange.worker.metrics.count("backend_errors", "reset" if error else "closed")
        exchange.respond(errors.CONNECTION_CLOSED, endings.BACKEND_IN_RESPONSE_HEAD)


def stray(exchange: "Exchange", why: str, data: bytes) -> None:
    """What has come does not even begin like a response. On a kept connection it is what an earlier response left there, as
    some servers send a body behind a 304: the request goes out once more, where it may."""
    if not _dialled_again(exchange):
        refuse(exchange, why, data)


def _dialled_again(exchange: "Exchange") -> bool:
    """Send the request over a new connection, if its own was a kept one and nothing of a response to it has come: then the
    backend had closed it meanwhile, or was not listening to it, and nothing of the request has been acted on."""
    if not exchange.reused or exchange.interims or not may_be_repeated(exchange.head):
        return False
    exchange.release(reusable=False)
    exchange.reused = False
    exchange.dial()
    return True

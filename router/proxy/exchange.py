"""One request's story, in the order in which it happens. Every exchange ends in `_end`, exactly once.

    begin      who sent it, and is it something we take at all                                    phase A
    admit      its host has a route: a problem, a redirect, or a resource with room for one more
    connect    a kept connection from the pool, or a new one                                      phase D
    forward    the head goes to the backend, the body behind it as it comes                       phase H
    answered   the backend's head goes to the client, the body behind it as it comes              phase B
    complete   the connection goes back to the pool, the client's to its next request
    _end       one record: who ended it, in which phase

Nothing here awaits: the two things that may take time (an unknown host, a new connection) are tasks that come back
with `admit` and `forward`. A request on a warm route with a kept connection runs through in two callbacks, one for the
client's head and one for the backend's answer.

It may be retried only while nothing of it can have been acted on (RFC 9110 §9.2.2): when dialling failed, or when a
kept connection died before the first byte of an answer, for a request without a body whose method is idempotent.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import structlog

from router import errors
from router.domains.challenge import proof_for
from router.errors import Fault, Problem
from router.http1.bodies import LAST_CHUNK, chunk, last_chunk
from router.http1.forwarding import (
    Origin,
    interim_to_client,
    request_to_backend,
    response_framing,
    response_to_client,
)
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE
from router.http1.replies import reply
from router.http1.requests import NO_HEAD, RequestHead
from router.http1.responses import ResponseHead
from router.http1.upgrade import accepts
from router.observe.finished import Finished
from router.observe.recorder import BATCH
from router.proxy import own
from router.proxy.dial import DialError, dial
from router.proxy.tunnel import Tunnel
from router.routes.chain import Level

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.edge import Edge, Load, PlainHttp, Prepared
    from router.routes.route import Route

_log = structlog.get_logger("router.proxy")

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"))
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_NEVER: Final = float("inf")
_MOST_PASSES: Final = 5  # times that a request may have come through here before it counts as a loop

# Hosts for which nobody gets a certificate.
_NEVER_OVER_TLS = frozenset(("suspended", "removed", "invalid_host", "resolver_unavailable"))

# A problem that says that the request cannot be trusted ends its connection (RFC 9112 §2.2, §11.2).
_CLOSING: Final = frozenset((errors.INVALID_HOST, errors.BAD_REQUEST, errors.REQUEST_TIMEOUT))


class Exchange(Finished):
    """See the module. After its end it is a record, which `observe` turns into a line and into metrics."""

    # Defaults stand on the class: most exchanges leave most of them alone.
    phase = "A"
    over = False
    prepared: "Prepared"  # since `admit`
    origin: Origin  # since `begin`
    load: "Load | None" = None
    outgoing: "BackendConnection | None" = None
    answer_head: ResponseHead | None = None
    framing: int = 0  # NONE; of the answer, towards the client
    keep_alive = False
    half_closed = False
    waiting: "asyncio.Task[Any] | None" = None
    interims = 0

    def __init__(self, edge: "Edge", incoming: "ClientConnection", head: RequestHead, started: float) -> None:
        self.edge = edge
        self.incoming = incoming
        self.head = head
        self.started = started
        self.method = head.method
        self.target = head.target
        self.host = head.host
        self.version = head.version
        self.user_agent = head.user_agent
        self.referer = head.referer

    def __repr__(self) -> str:
        return f"<Exchange {self.request_id} {self.ending or self.phase}>"

    # The request.

    def begin(self) -> None:
        """Take the request up."""
        head, edge = self.head, self.edge
        self._identify(head)
        if head.via >= _MOST_PASSES:
            self.answer(errors.LOOP_DETECTED, "EA")
            return
        most = edge.most_body
        if most and head.framing > most:
            self.answer(errors.PAYLOAD_TOO_LARGE, "EA")
            return
        route = edge.resolver.peek(head.host)
        if route is not None:
            self.admit(route)
        else:
            self.looked_up = True
            self._hold_body()
            edge.turns.take(self._start_look_up)

    def _identify(self, head: RequestHead) -> None:
        incoming = self.incoming
        said = head.forwarding
        before = incoming.origin_of
        if before is None or before[0] != head.host or before[1] != said:
            incoming.origin = self.edge.forwarder.origin(head, incoming.peer, trusted=incoming.trusted)
            incoming.origin_of = (head.host, said)
        self.origin = origin = incoming.origin
        self.client = origin.client
        if origin.scheme == b"https":
            self.scheme = "https"
        given = head.request_id
        if given and incoming.trusted and _SANE_ID.fullmatch(given) is not None:
            self.id = given
        else:
            self.id = self.edge.request_id()

    def _start_look_up(self) -> None:
        if not self.over:
            self.waiting = self.edge.tasks.start("look up a host", self._look_up())

    async def _look_up(self) -> None:
        try:
            route = await self.edge.resolver.resolve(self.head.host)
            self.waiting = None
            if not self.over:
                self.admit(route)
        except Exception:
            self._crash()
            raise

    def admit(self, route: "Route") -> None:
        """The host has a route: refuse, redirect or go on."""
        self.route = route
        if self.edge.plain is not None and self.scheme == "http" and self._sent_to_https(self.edge.plain, route):
            return
        if route.aside and self._answered_aside(route):
            return
        edge = self.edge
        prepared: Prepared = route.prepared or edge.prepare(route)
        if prepared.problem is not None:
            edge.metrics.count_backend_error("not_allowed")
            self.answer(prepared.problem, "ED")
            return
        load = prepared.load
        if load.exchanges >= edge.most_exchanges:
            self.answer(errors.TOO_MANY_REQUESTS, "EA")
            return
        load.exchanges += 1
        load.active_at = edge.now
        self.load = load
        self.prepared = prepared
        if not prepared.seen_https and self.scheme == "https" and edge.on_https is not None:
            prepared.seen_https = True
            edge.on_https(route.host)
        self.connect()

    def _sent_to_https(self, plain: "PlainHttp", route: "Route") -> bool:
        """Whether a host that is served was visited without TLS, and is not to be."""
        decision = route.decision
        proven = decision.challenge is not None and proof_for(decision.challenge, self.head.target) is not None
        if proven or route.problem is errors.HOST_NOT_FOUND or decision.reason in _NEVER_OVER_TLS:
            return False
        known = plain.has_certificate(route.host)
        if known or not (plain.fetched and decision.level is Level.EXACT):
            self._reply(own.to_https(self, plain.port, for_good=known), "--")
        else:
            self.answer(errors.CERTIFICATE_PENDING, "BA")
        return True

    def _answered_aside(self, route: "Route") -> bool:
        """Whether something else than the resource had to answer."""
        decision, problem = route.decision, route.problem
        if decision.challenge is not None:
            proof = proof_for(decision.challenge, self.head.target)
            if proof is not None:
                self._reply(own.proof(self, proof), "--")
                return True
        if problem is not None:
            self.answer(problem, "BA" if problem.fault is Fault.BACKEND else "EA")
            return True
        if decision.redirect_to is not None:
            self._reply(own.redirect(self, decision.redirect_to, decision.redirect_status), "--")
            return True
        return False

    def connect(self) -> None:
        """Take a kept connection to the backend, or dial."""
        backend = self.prepared.pool.take()
        if backend is not None:
            self.reused = True
            self.forward(backend)
        else:
            self._dial()

    def _dial(self) -> None:
        self.phase = "D"
        self._hold_body()
        self.edge.turns.take(self._start_dial)

    def _start_dial(self) -> None:
        if not self.over:
            self.waiting = self.edge.tasks.start("dial", self._dialled())

    def _hold_body(self) -> None:
        """Read no more of a body that cannot go anywhere yet: its end, and the client's, come behind it."""
        if not self.incoming.request_done:
            self.incoming.pause()

    async def _dialled(self) -> None:
        pool = self.prepared.pool
        try:
            try:
                backend, tries = await dial(self.edge, pool)
            except DialError as error:
                self.waiting = None
                self.tries += error.tries
                self.edge.metrics.count_backend_error(error.kind)
                if not self.over:
                    self.answer(error.problem, "bD" if error.by_time else "BD")
                return
            self.waiting = None
            if (
                self.over
            ):  # the client left meanwhile; a dial is not cancelled, since it may be done at that very moment
                backend.close()
                return
            self.tries += tries - 1  # `forward` counts the one that worked
            self.reused = False
            self.forward(backend)
        except Exception:
            self._crash()
            raise

    def forward(self, backend: "BackendConnection") -> None:
        """Send the head, and what has come of the body."""
        incoming, head = self.incoming, self.head
        pool = backend.pool
        self.outgoing = backend
        self.backend = pool.name
        backend.exchange = self
        self.tries += 1
        self.phase = "H"
        out = request_to_backend(
            head,
            self.origin,
            self.id,
            self.prepared.host_mode,
        )
        if incoming.request_done:
            self.wait_for_answer()
        else:
            incoming.deadline = self.edge.now + self.edge.body_idle
            incoming.resume()
            if incoming.buffer:
                data, incoming.buffer = incoming.buffer, b""
                out += incoming.read_body(data)
                if self.over:
                    return
        backend.write(out)

    def send_body(self, content: bytes) -> None:
        """More of the request's body, framed."""
        if self.outgoing is not None:
            self.outgoing.write(content)

    def wait_for_answer(self) -> None:
        """The request is complete: from now on the backend has `first_byte` seconds, where that is set."""
        incoming = self.incoming
        if self.phase == "H":
            limit = self.prepared.first_byte
            if self.half_closed:
                incoming.deadline = self.edge.now + self.edge.limits.half_close
            elif limit is not None:
                incoming.deadline = self.edge.now + limit
            else:
                incoming.deadline = _NEVER

    def bad_body(self, problem: Problem, why: str) -> None:
        """The request's body breaks its framing or a limit. The backend must not take what it got for the whole."""
        _log.info("request body refused", why=why, client=self.client, request_id=self.request_id)
        if self.phase == "B":
            self._cut("EB")
        else:
            self.answer(problem, "EH")

    def refuse(self, problem: Problem, why: str) -> None:
        """Answer what never became a request."""
        self.phase = "R"
        incoming = self.incoming
        self.client = incoming.peer
        self.id = self.edge.request_id()
        _log.info("request refused", code=problem.code, why=why, client=self.client, request_id=self.request_id)
        self.answer(problem, "cR" if problem is errors.REQUEST_TIMEOUT else "ER")

    # The answer.

    def interim(self, head: ResponseHead) -> bool:
        """A 1xx answer; False where there have been too many."""
        self.interims += 1
        if self.interims > self.edge.limits.interim_responses:
            self.bad_answer("too many 1xx answers")
            return False
        if self.head.version == 1:
            self.incoming.write(interim_to_client(head))
        return True

    def answered(self, head: ResponseHead, data: bytes) -> None:
        """The answer's head; `data` is what came behind it."""
        incoming, backend, request, edge = self.incoming, self.outgoing, self.head, self.edge
        if backend is None:
            return
        self.first_byte = edge.time()
        self.phase = "B"
        self.status = head.status
        self.answer_head = head
        self.framing = framing = response_framing(head, request.method, request.version)
        # An answer before the request is complete ends the connection: the rest of the body is never read as a request.
        self.keep_alive = keep_alive = (
            request.keep_alive
            and incoming.request_done
            and framing != UNTIL_CLOSE
            and not edge.draining
            and not (request.upgrade and incoming.buffer)
        )
        host = self.prepared.host_mode
        location = None if host is None else (host, self._public_base())
        out = response_to_client(
            head, framing=framing, client_version=request.version, keep_alive=keep_alive, location=location
        )
        length = head.framing
        if length == NONE:
            incoming.write(out)
            self.complete(clean=not data)
        elif length == len(data):  # all in one read: one write
            self.sent = length
            incoming.write(out + data)
            self.complete(clean=True)
        else:
            incoming.deadline = edge.now + edge.body_idle
            incoming.write(out)
            if incoming.write_paused:
                backend.pause()
            backend.read_body(length, data)

    def _public_base(self) -> bytes:
        origin = self.origin
        return b"%b://%b" % (origin.scheme, origin.host)

    def relay(self, data: bytes) -> None:
        """More of the answer's body, without its framing."""
        incoming, edge = self.incoming, self.edge
        self.sent += len(data)
        incoming.deadline = edge.now + edge.body_idle
        incoming.write(chunk(data) if self.framing == CHUNKED else data)

    def relay_last(self, content: bytes, trailers: list[bytes]) -> None:
        """The end of a chunked answer."""
        self.sent += len(content)
        if self.framing == CHUNKED:
            content = chunk(content) + last_chunk(trailers) if content else last_chunk(trailers)
        if content:
            self.incoming.write(content)

    def complete(self, *, clean: bool) -> None:
        """The answer is complete. `clean`: nothing came behind it, so the backend's connection may serve again."""
        incoming, head = self.incoming, self.answer_head
        if self.over or head is None:
            return
        self._release(reusable=clean and head.keep_alive and incoming.request_done and head.framing != UNTIL_CLOSE)
        keep_alive = self.keep_alive
        self._end("--")
        incoming.exchange_over(keep_alive=keep_alive)

    def switch(self, head: ResponseHead, data: bytes) -> None:
        """A 101: from here on both sides speak something that we only carry."""
        incoming, backend = self.incoming, self.outgoing
        if backend is None:
            return
        if not accepts(self.head, head):
            self.bad_answer("a 101 that nobody asked for")
            return
        self.first_byte = self.edge.time()
        self.status = 101
        self.phase = "T"
        self.tunnel = True
        early, incoming.buffer = incoming.buffer, b""
        incoming.write(interim_to_client(head) + data)
        self.sent += len(data)
        self.received += len(early)
        Tunnel(self.edge, self, incoming, backend).start(early)

    # What goes wrong.

    def bad_answer(self, why: str) -> None:
        """What the backend sent is not HTTP, or not HTTP that can be passed on without guessing."""
        _log.info("backend's answer refused", why=why, backend=self.backend, request_id=self.request_id)
        self.edge.metrics.count_backend_error("bad_response")
        if self.phase == "B":
            self._cut("BB")
        else:
            self.answer(errors.BAD_BACKEND_RESPONSE, "BH")

    def backend_ended(self, error: Exception | None) -> None:
        """The backend's connection is at its end."""
        backend, incoming = self.outgoing, self.incoming
        if backend is None:
            return
        if self.phase == "B":
            if backend.until_close and error is None:
                if self.framing == CHUNKED:
                    incoming.write(LAST_CHUNK)
                self.complete(clean=False)
            else:
                self.edge.metrics.count_backend_error("truncated")
                self._cut("BB")
            return
        fresh = not self.reused or backend.buffer or self.interims
        head = self.head
        self._release(reusable=False)
        if fresh or head.framing != NONE or head.upgrade or head.method not in _IDEMPOTENT:
            self.edge.metrics.count_backend_error("reset" if error else "closed")
            self.answer(errors.BAD_BACKEND_RESPONSE, "BH")
            return
        # A kept connection that the backend had given up meanwhile: nothing of the request has been acted on.
        self.reused = False
        self._dial()

    def client_half_closed(self) -> None:
        """The client has shut down its sending side. It may be waiting for the answer, or it may be gone: a closed
        socket looks the same until something is written to it. So it is waited for, but not for long: an event stream
        that rests would be kept for a visitor who has left. What it is still taking, it gets (`relay`)."""
        self.half_closed = True
        if self.phase != "B" or not self.incoming.write_paused:
            self.incoming.deadline = self.edge.now + self.edge.limits.half_close

    def client_gone(self) -> None:
        """The client's connection is lost: stop the work for it."""
        if self.over:
            return
        if self.head is NO_HEAD:
            self.phase = "R"
            self.client = self.incoming.peer
            self.id = self.edge.request_id()
        self._release(reusable=False)
        self._end("C" + self.phase)

    def timed_out(self) -> None:
        """The client connection's deadline has passed."""
        incoming, backend = self.incoming, self.outgoing
        if self.phase == "B":
            self._cut("CB" if self.half_closed else "cB" if incoming.write_paused else "bB")
        elif self.half_closed:
            self.client_gone()
            incoming.abort()
        elif incoming.request_done or (backend is not None and backend.write_paused):
            self.edge.metrics.count_backend_error("timeout")
            self.answer(errors.BACKEND_TIMEOUT, "bH")
        else:
            self.answer(errors.REQUEST_TIMEOUT, "cH")

    def stop(self) -> None:
        """End it now: its route has been taken away, or the drain has run out."""
        if self.over:
            return
        if self.phase == "B":
            self._cut("EB")
        else:
            self.answer(errors.DRAINING if self.edge.draining else errors.HOST_NOT_FOUND, "E" + self.phase)

    def _crash(self) -> None:
        """A fault of ours: end both sides; whoever called logs it."""
        if not self.over:
            self._release(reusable=False)
            self._end("E" + self.phase)
        self.incoming.abort()

    # Backpressure: who cannot write stops the other side's reading.

    def pause_client(self) -> None:
        if not self.incoming.request_done:
            self.incoming.pause()

    def resume_client(self) -> None:
        if not self.incoming.request_done:
            self.incoming.resume()

    def pause_backend(self) -> None:
        if self.outgoing is not None and self.phase == "B":
            self.outgoing.pause()

    def resume_backend(self) -> None:
        if self.outgoing is not None:
            self.outgoing.resume()

    # Answers of our own, and the end.

    def answer(self, problem: Problem, ending: str) -> None:
        """Answer with a problem of ours instead of a backend's answer."""
        if self.over:
            return
        self.problem = problem
        self._reply(own.problem(self.edge.pages, self, problem), ending, closing=problem in _CLOSING)

    def _reply(self, answer: own.Answer, ending: str, *, closing: bool = False) -> None:
        incoming, head = self.incoming, self.head
        keep_alive = (
            head.keep_alive
            and incoming.request_done
            and not closing
            and not self.edge.draining
            and not (head.upgrade and incoming.buffer)
        )
        self.status = answer.status
        without_body = head.method == b"HEAD"
        self.sent = 0 if without_body else len(answer.body)
        incoming.write(reply(answer, version=head.version, keep_alive=keep_alive, without_body=without_body))
        self._release(reusable=False)
        self._end(ending)
        incoming.exchange_over(keep_alive=keep_alive)

    def _cut(self, ending: str) -> None:
        """End an answer in its middle so that the client sees it: a short body must never look whole."""
        incoming = self.incoming
        if self.over:
            return
        self._release(reusable=False)
        framing = self.framing
        self._end(ending)
        if framing == UNTIL_CLOSE or ending[0] in "cC":
            incoming.abort()
        else:
            incoming.exchange_over(keep_alive=False)

    def _release(self, *, reusable: bool) -> None:
        """Let go of the backend's connection, and of a task that waits for one."""
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
        backend = self.outgoing
        if backend is None:
            return
        self.outgoing = None
        backend.exchange = None
        pool = backend.pool
        if reusable and not backend.write_paused and not backend.transport.get_write_buffer_size():
            backend.resume()
            pool.give(backend, self.edge.now)
        else:
            backend.close()

    def _end(self, ending: str) -> None:
        """The last phase: one record. What only the living exchange needs is let go."""
        self.over = True
        self.ending = ending
        edge = self.edge
        self.ended = edge.time()
        load = self.load
        if load is not None:
            load.exchanges -= 1
            load.active_at = self.ended  # not the coarse clock: whoever copies activity must not take it for old
            self.load = None
        finished = edge.recorder.finished
        finished.append(self)
        if len(finished) >= BATCH:
            edge.recorder.flush()

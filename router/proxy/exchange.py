"""One request's story, in the order in which it happens. Every exchange ends in `end`, exactly once.

    begin      who sent it, and is it something that we take at all                               phase A
    admit      its host has a route: a problem, a redirect, or a resource with room for one more
    woken      it has waited for a resource that slept or started (`wakes.py`)                    phase W
    admitted   it has waited for that room (`queue.py`)                                           phase Q
    connect    a kept connection from the pool, or a new one                                      phase D
    forward    the head goes to the backend, the body behind it as it comes                       phase H
    response   the backend's head goes to the client, the body behind it as it comes              phase B
    complete   the connection goes back to the pool, the client's to its next request
    end        one record: who ended it, in which phase

The request's half and the end are here; what becomes of the bytes that the backend sends is in `response.py`.

Nothing here awaits: the two things that may take time (an unknown host, a new connection) are tasks that come back
with `admit` and `forward`. A request on a warm route with a kept connection runs through in two callbacks, one for the
client's head and one for the backend's response.

A request may be sent again only while nothing of it can have been acted on (RFC 9110 §9.2.2): when dialling failed, or
when a kept connection died before the first byte of a response, for a request without a body whose method is idempotent.

What can happen in each phase, and the next phase or the ending (`observe/endings.py`) that follows.
`tests/unit/proxy/test_exchange.py` has a transcript for each row.

    phase  what happens                                                  then
    R      the head is complete                                          A
    R      the head is refused                                           ER
    R      the head takes too long                                       cR
    R      the client leaves                                             CR
    A      the host has a route to a resource with a kept connection     H
    A      the host has a route to a resource without one                D
    A      the resource cannot be dialled in its state                   BA
    A      the resource sleeps or starts, and requests wait for it       W
    A      the host has no route, or a limit is reached                  EA
    A      the resource's address may not be dialled                     ED
    A      a response of our own takes the resource's place              --
    A      the resource has as many exchanges as it may                  Q
    A      the request's body breaks its framing or a limit              EA
    A      the client leaves                                             CA
    A      the drain runs out                                            EA
    W      the resource runs, and its port accepts                       D
    W      the resource cannot be woken                                  BW
    W      it does not run in time                                       bW
    W      the client leaves                                             CW
    W      the client has shut down its sending side, and time passes    CW
    W      the drain runs out                                            EW
    Q      a place becomes free, and there is a kept connection          H
    Q      a place becomes free, and there is none                       D
    Q      no place becomes free in time                                 EQ
    Q      the client leaves                                             CQ
    Q      the client has shut down its sending side, and time passes    CQ
    Q      the drain runs out                                            EQ
    D      the backend accepts the connection                            H
    D      a connection is given back meanwhile                          H
    D      the backend refuses every try                                 BD
    D      it does, and its resource is being woken                      W
    D      the backend does not accept in time                           bD
    D      the new connection speaks before it is asked                  BH
    D      no descriptor or port is left to dial from                    ED
    D      the client leaves                                             CD
    D      the drain runs out                                            ED
    H      a 1xx response                                                H
    H      a kept connection brings what is left of another response     D
    H      the response's head                                           B
    H      a 101 that was asked for                                      T
    H      something that is not a response to the request               BH
    H      a kept connection closes, and the request may be sent again   D
    H      the connection closes, and it may not                         BH
    H      no response in time                                           bH
    H      the request's body breaks its framing or a limit              EH
    H      the request's body stops coming                               cH
    H      the client leaves                                             CH
    H      the client has shut down its sending side, and time passes    CH
    H      the drain runs out                                            EH
    B      the response's last byte                                      --
    B      the connection closes, which ends a response without a length --
    B      the connection closes before the response's end               BB
    B      the response breaks its framing                               BB
    B      the backend sends nothing for too long                        bB
    B      the client takes nothing for too long                         cB
    B      the client leaves                                             CB
    B      the client has shut down its sending side, and time passes    CB
    B      the request's body breaks its framing or a limit              EB
    B      the drain runs out                                            EB
    T      both sides close                                              --
    T      the client resets the tunnel                                  CT
    T      the backend resets the tunnel                                 BT
    T      the client owes the next byte for too long                    cT
    T      the backend owes the next byte for too long                   bT
    T      the tunnel reaches its longest life                           ET
    T      the drain runs out                                            ET
"""

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from router import errors
from router.errors import Fault, Problem
from router.http1.forwarding import (
    ClientInfo,
    request_to_backend,
)
from router.http1.heads import CHUNKED, UNTIL_CLOSE
from router.http1.local_heads import LocalResponse, render
from router.http1.other_protocols import recognise
from router.http1.requests import NO_HEAD, RequestHead, may_be_repeated
from router.http1.responses import ResponseHead
from router.http1.whole_bodies import may_come_whole
from router.observe import endings
from router.observe.ended_exchange import Finished
from router.observe.recorder import BATCH
from router.proxy import admission, debug_timing, local_responses, login_host
from router.proxy.callers import join
from router.proxy.dial import DialError
from router.proxy.queue import EXCHANGE, QUEUED, TUNNEL
from router.proxy.response import switch
from router.proxy.whole_body import HeldBody, WholeBody
from router.routes.chain import LOGIN

if TYPE_CHECKING:
    from router.pages import Progress
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.connection_limits import Share
    from router.proxy.guard import Visit
    from router.proxy.worker_state import Activity, Prepared, WorkerState
    from router.routes.route import Route


_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_FAILED: Final = 500  # from this status on an application's answer is no use of it
_MAX_PASSES: Final = 5  # times that a request may have come through here before it counts as a loop


class Exchange(Finished):
    """See the module. After its end it is a record, which `observe` turns into an access line and into metrics."""

    # Defaults stand on the class: most exchanges keep most of them.
    phase = endings.ADMISSION
    over = False
    prepared: "Prepared"  # since `admit`
    client_info: ClientInfo  # since `begin`
    activity: "Activity | None" = None
    tenant: "Share | None" = None
    visitor: "Share | None" = None
    outgoing: "BackendConnection | None" = None
    response_head: ResponseHead | None = None
    framing: int = 0  # NONE; of the response, towards the client
    keep_alive = False
    half_closed = False
    place = EXCHANGE  # what it takes of its resource, as in `queue.py`
    due = False  # a response of our own is queued
    waiting: Any = None  # a task or a Caller, which the end cancels; in a union of three mypyc leaves out the default
    interims = 0  # 1xx responses so far
    interims_left = 0.0  # that may follow the last one at once
    interim_at = 0.0
    body_idle = 0.0  # seconds that the response's body may rest
    early_switch: tuple[ResponseHead, bytes] | None = None  # a 101 that came before the end of the request
    whole_body: "HeldBody | None" = None  # while a moment is waited for it
    body_start: bytes | None = None  # of the request, framed as `head` says, since that
    visit: "Visit | None" = None  # how it came in, where not everybody may
    held = False  # for a resource that sleeps or starts, or it is the event stream of a page that waits for one
    progress: "Progress | None" = None  # that the page shows which waits for it
    new_cookies: tuple[bytes, ...] = ()  # that a problem sets which answers it
    login = b""  # where whoever gets a problem may sign in, on the login host
    timing: "debug_timing.Timing | None" = None  # of who brings X-Miosa-Debug
    repeated = False  # the program refused the host, and was asked once more (`host_refusal.py`)

    def __init__(self, worker: "WorkerState", incoming: "ClientConnection", head: RequestHead, started: float) -> None:
        self.worker = worker
        self.incoming = incoming
        self.head = head
        self.started = started
        self.method = head.method
        self.target = head.target
        self.host = head.host
        self.version = head.version
        self.user_agent = head.user_agent
        self.referer = head.referer
        self.traceparent = head.traceparent

    def __repr__(self) -> str:
        return f"<Exchange {self.request_id} {self.ending or self.phase}>"

    def by_trusted_proxy(self) -> bool:
        return self.incoming.trusted

    # The request.

    def begin(self) -> None:
        """Start with the request: who sent it, and whether we take it at all."""
        head, worker = self.head, self.worker
        self._identify(head)
        if head.hops >= _MAX_PASSES:
            self.respond(errors.LOOP_DETECTED, endings.EDGE_IN_ADMISSION)
            return
        max_body = worker.max_body
        if max_body and head.framing > max_body:
            self.respond(errors.PAYLOAD_TOO_LARGE, endings.EDGE_IN_ADMISSION)
            return
        route = worker.resolver.peek(head.host)
        if route is not None:
            self.admit(route)
        else:
            self.looked_up = True
            self.hold_body()
            worker.pacer.take(self._start_look_up)

    def _identify(self, head: RequestHead) -> None:
        incoming = self.incoming
        said = head.forwarding
        if incoming.told_host != head.host or incoming.told != said:
            incoming.client_info = known = self.worker.forwarder.client_info(
                head, incoming.peer, trusted=incoming.trusted
            )
            # Of equal hosts the one that all of its connections share is kept: 60 bytes less for each that is idle.
            incoming.told_host = known.host if known.host == head.host else head.host
            incoming.told = said
            incoming.share = self.worker.connection_limits.share_of(incoming, known.client)
        self.client_info = origin = incoming.client_info
        self.client = origin.client
        if origin.scheme == b"https":
            self.scheme = "https"
        given = head.request_id
        if given and incoming.trusted and _SANE_ID.fullmatch(given) is not None:
            self.id = given
        else:
            self.id = self.worker.request_id()

    def _start_look_up(self) -> None:
        if not self.over:
            self.waiting = self.worker.tasks.start("look up a host", self._look_up())

    async def _look_up(self) -> None:
        try:
            route = await self.worker.resolver.resolve(self.head.host)
            self.waiting = None
            self.resolved_at = self.resolved_at or self.worker.time()
            if self.head.special:
                debug_timing.resolved(self, self.woken_at or self.started)
            if not self.over:
                self.admit(route)
        except Exception:
            self.crash()
            raise

    def admit(self, route: "Route") -> None:
        """The host has a route: send a response of our own, or go on to its backend."""
        self.route = route
        worker, head = self.worker, self.head
        if route.special or head.special or ((worker.plain is not None or head.plain_http) and self.scheme == "http"):
            if self._answered_instead(route):
                return
            head = self.head
        prepared: Prepared = route.prepared or worker.prepare(route)
        if prepared.problem is not None:
            worker.metrics.count("backend_errors", "not_allowed")
            self.respond(prepared.problem, endings.EDGE_IN_DIAL)
            return
        activity = prepared.activity
        tenant, visitor = prepared.tenant, self.incoming.share
        if tenant.exchanges >= worker.connection_limits.exchanges_of_tenant or (
            visitor is not None and visitor.exchanges >= worker.connection_limits.exchanges_of_address
        ):
            self.respond(errors.TOO_MANY_REQUESTS, endings.EDGE_IN_ADMISSION)
            return
        if activity.exchanges < worker.max_exchanges and not head.upgrade:
            activity.exchanges += 1
        elif not self._find_place(activity, tenant):
            self.respond(errors.TOO_MANY_REQUESTS, endings.EDGE_IN_ADMISSION)
            return
        self.activity = activity
        tenant.exchanges += 1
        self.tenant = tenant
        if visitor is not None:
            visitor.exchanges += 1
            self.visitor = visitor
        self.prepared = prepared
        if self.place == QUEUED:
            self.phase = endings.QUEUE
            self.queued_at = worker.time()
            self.hold_body()
        else:
            self.connect()

    def _answered_instead(self, route: "Route") -> bool:
        """Whether something else than the resource responds, or will; or nobody yet, where a look-up is waited for."""
        worker, head, plain = self.worker, self.head, self.worker.plain
        if route.only_guarded and not head.special and self.scheme == "https":
            return not admission.admitted(self, route)
        instead = local_responses.unasked(head, route, self.scheme, self.id, plain=plain, ready=worker.ready)
        if head.special and not debug_timing.settle(self, route):
            return True
        if instead is None:
            if route.decision is LOGIN:
                login_host.answer(self)
                return True
            if route.policy is not None and not admission.admitted(self, route):
                return True
            instead = local_responses.instead(self.head, route, self.scheme, self.id)
        if instead is None:
            self.head = self.head.one_hop_on()
            if route.capture_until and worker.captures is not None:
                worker.captures.begin(self, route)
            if self.timing is not None and self.timing.shown:
                debug_timing.attach(self)
            return False
        ending = local_responses.ending_of(instead)
        if isinstance(instead, Problem):
            if worker.wakes is None or not worker.wakes.takes(self, route):
                self.respond(instead, ending)
        else:
            self._send(instead, ending)
        return True

    def _find_place(self, activity: "Activity", tenant: "Share") -> bool:
        """Whether there is a place for an offer to upgrade, or in the queue."""
        worker = self.worker
        if not self.head.upgrade:
            return worker.queues.join(self, activity, tenant, worker.time())
        if activity.tunnels >= worker.max_tunnels:
            return False
        activity.tunnels += 1
        self.place = TUNNEL
        return True

    def admitted(self) -> None:
        """A place has become free. What is known of the route may have changed meanwhile."""
        if self.over:
            return
        if self.queued_at:
            self.admitted_at = self.worker.time()
        if self.half_closed:
            self.incoming.deadline = self.worker.now + self.worker.limits.half_close
        route = self.route
        if route is not None and self.leads_elsewhere(route):
            self.readmit(route)
        else:
            self.phase = endings.ADMISSION
            self.connect()

    def leads_elsewhere(self, route: "Route") -> bool:
        """Whether this route of the exchange's host, which is newer, has another backend than it waits for, or none."""
        resource, pool = route.resource, self.prepared.pool
        if route.problem is not None or resource is None or resource.endpoint is None or route.port is None:
            return True
        endpoint = resource.endpoint
        return (
            pool.generation != endpoint.generation
            or pool.address != endpoint.address
            or pool.port != endpoint.port(route.port)
        )

    def readmit(self, route: "Route") -> None:
        """Its resource has moved or stopped while it waited for a place or a connection. The address that a resource has left
        is soon another's, so nothing goes there any more; nothing has gone there yet, so it is admitted as if it had just
        come."""
        try:
            self.step_back()
            self.admit(route)
        except Exception:
            self.crash()
            raise

    def step_back(self) -> None:
        """Give back all that it has taken since it was admitted: nothing of it has gone anywhere."""
        self.release(reusable=False)
        self._leave()
        self.place = EXCHANGE
        self.phase = endings.ADMISSION
        self.client_info = self.incoming.client_info

    def woken(self) -> None:
        """Its resource runs, or is another one by now: it is admitted as if it had just come."""
        try:
            self.phase = endings.ADMISSION
            self.client_info = self.incoming.client_info
            route = self.worker.resolver.peek(self.head.host)
            if route is not None:
                self.admit(route)
            else:
                self.worker.pacer.take(self._start_look_up)
        except Exception:
            self.crash()
            raise

    def connect(self) -> None:
        """Take a kept connection to the backend, or dial."""
        if self.head.framing == CHUNKED and self.body_start is None and self._wait_for_whole_body():
            return
        backend = None if self.incoming.bound is None else self._take_bound()
        if backend is None:
            pool = self.prepared.pool
            backend = pool.take() if may_be_repeated(self.head) else pool.take_sure(self.worker.time())
        if backend is not None:
            self.reused = True
            self.forward(backend)
        else:
            self.dial()

    def _wait_for_whole_body(self) -> bool:
        """Whether the body may come whole in a moment; then `admitted` follows."""
        chunks = self.incoming.chunks
        if chunks is None or not self.worker.whole_body or not may_come_whole(self.head):
            return False
        self.whole_body = WholeBody(self, chunks)
        self.whole_body.start(self.worker.whole_body_time)
        return True

    def _take_bound(self) -> "BackendConnection | None":
        """The connection on which the request before has begun a login (NTLM, Negotiate), if this one goes on with it. It is
        nobody else's: what it does not serve now, it never will.

        A proxy in front of us sends several visitors' requests over one connection, and they may have one address. So a
        connection to a backend is kept only while nobody can be logged in on it yet (`release`): the request that ends the
        login is its last. Each request has to log in, which browsers do by themselves when they are asked. That only
        requests of the same address go on with a login is for its own sake: another's would spoil it.
        """
        incoming, pool = self.incoming, self.prepared.pool
        backend, incoming.bound = incoming.bound, None
        if backend is None or backend.closing:
            return None
        if backend.pool is pool and not pool.retired and backend.visitor == self.client and self.head.binds:
            return backend
        backend.close()
        return None

    def dial(self) -> None:
        self.phase = endings.DIAL
        if not self.dialled_at:
            self.dialled_at = self.worker.time()
        self.hold_body()
        if not self.half_closed:  # no longer than a response may take; most dials end long before
            self.incoming.deadline = self.worker.now + self.prepared.first_byte
        self.waiting = join(self.worker, self.prepared.pool, self)

    def hold_body(self) -> None:
        """Read no more of a body that cannot be passed on yet. Its end, and the client's, wait behind it."""
        if not self.incoming.request_done:
            self.incoming.pause()

    def connected(self, backend: "BackendConnection", tries: int) -> None:
        """A connection has come up after so many tries; 0: one that was given back meanwhile."""
        self.waiting = None
        self.connected_at = self.worker.time()
        try:
            self.reused = tries == 0
            if not self.reused:
                self.tries += tries - 1  # `forward` counts the one that worked
            if backend.closing:  # it spoke before it was asked, or closed again
                self.worker.metrics.count("backend_errors", "bad_response")
                self.tries += 1
                spoke = recognise(backend.buffer) if backend.buffer else errors.CONNECTION_CLOSED
                if spoke is errors.BAD_BACKEND_RESPONSE:
                    spoke = errors.bad_response("it came before the request was sent")
                self.respond(spoke, endings.BACKEND_IN_RESPONSE_HEAD)
                return
            self.forward(backend)
        except Exception:
            self.crash()
            raise

    def not_connected(self, error: DialError) -> None:
        """None has come up."""
        self.waiting = None
        self.connected_at = self.worker.time()
        self.tries += error.tries
        if self.worker.wakes is not None and self.worker.wakes.takes_back(self, error.problem):
            return
        ours = error.problem.fault is Fault.EDGE
        self.respond(
            error.problem,
            endings.BACKEND_TIMEOUT_IN_DIAL
            if error.by_time
            else endings.EDGE_IN_DIAL
            if ours
            else endings.BACKEND_IN_DIAL,
        )

    def forward(self, backend: "BackendConnection") -> None:
        """Send the head, and what has arrived of the body."""
        incoming, head = self.incoming, self.head
        pool = backend.pool
        self.outgoing = backend
        if head.binds:
            backend.visitor = self.client
        self.backend = pool.name
        backend.exchange = self
        if not self.reused:
            pool.sent(backend)
        self.tries += 1
        self.phase = endings.RESPONSE_HEAD
        out = request_to_backend(
            head,
            self.client_info,
            self.id,
            self.prepared.rules,
            self.worker.forwarder.passed(head, incoming.peer) if head.asserted and incoming.trusted else b"",
        )
        if self.body_start is not None:
            out += self.body_start
        if incoming.request_done:
            self.wait_for_response()
        else:
            incoming.deadline = self.worker.now + self.worker.body_idle
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
            if self.early_switch is not None and self.incoming.request_done:
                head, data = self.early_switch
                self.early_switch = None
                self.outgoing.resume()
                switch(self, head, data)

    def wait_for_response(self) -> None:
        """The request is complete: from now on the backend has `first_byte` seconds for its response's head."""
        worker = self.worker
        if self.phase == endings.RESPONSE_HEAD:
            limit = worker.limits.half_close if self.half_closed else self.prepared.first_byte
            self.incoming.deadline = worker.now + limit

    def bad_body(self, problem: Problem, why: str) -> None:
        """The request's body breaks its framing or a limit. The backend must not take the part it has for the whole."""
        self.worker.refusals.info("request body refused", why=why, client=self.client, request_id=self.request_id)
        if self.phase == endings.BODIES:
            self.cut(endings.EDGE_IN_BODIES)
        else:
            self.respond(problem, endings.EDGE + self.phase)

    def refuse(self, problem: Problem, why: str) -> None:
        """Respond to something that never became a request."""
        self.phase = endings.REQUEST_HEAD
        incoming = self.incoming
        self.client = incoming.peer
        self.id = self.worker.request_id()
        self.worker.refusals.info(
            "request refused", code=problem.code, why=why, client=self.client, request_id=self.request_id
        )
        self.respond(
            problem,
            endings.CLIENT_TIMEOUT_IN_REQUEST_HEAD
            if problem is errors.REQUEST_TIMEOUT
            else endings.EDGE_IN_REQUEST_HEAD,
        )

    # What goes wrong.

    def client_half_closed(self) -> None:
        """The client has shut down its sending side. It may be waiting for the response, or it may have left: a closed socket
        looks the same until something is written to it. So the exchange goes on, but without progress only for
        `half_close` seconds: otherwise a silent event stream would be kept for a visitor who has left."""
        self.half_closed = True
        if self.phase != endings.BODIES or not self.incoming.write_paused:
            self.incoming.deadline = self.worker.now + self.worker.limits.half_close

    def client_gone(self) -> None:
        """The client's connection is lost: stop the work for it."""
        if self.over:
            return
        if self.head is NO_HEAD:
            self.phase = endings.REQUEST_HEAD
            self.client = self.incoming.peer
            self.id = self.worker.request_id()
        self.release(reusable=False)
        self.end(endings.CLIENT + self.phase)

    def timed_out(self) -> None:
        """The client connection's deadline has passed."""
        incoming, backend = self.incoming, self.outgoing
        if self.phase == endings.BODIES:
            self.cut(
                endings.CLIENT_IN_BODIES
                if self.half_closed
                else endings.CLIENT_TIMEOUT_IN_BODIES
                if incoming.write_paused
                else endings.BACKEND_TIMEOUT_IN_BODIES
            )
        elif self.phase == endings.WAKE and not self.half_closed:
            if self.held and self.worker.wakes is not None:  # else its response is queued already
                self.worker.wakes.late(self)
        elif self.phase == endings.QUEUE and not self.half_closed:
            self.respond(errors.TOO_MANY_REQUESTS, endings.EDGE_IN_QUEUE)
        elif self.phase == endings.DIAL and not self.half_closed:
            self.respond(errors.CONNECT_TIMEOUT, endings.BACKEND_TIMEOUT_IN_DIAL)
        elif backend is not None and backend.held:
            backend.pass_on()
        elif self.half_closed:
            self.client_gone()
            incoming.abort()
        elif incoming.request_done or (backend is not None and backend.write_paused):
            self.worker.metrics.count("backend_errors", "timeout")
            self.respond(errors.BACKEND_TIMEOUT, endings.BACKEND_TIMEOUT_IN_RESPONSE_HEAD)
        else:
            self.respond(errors.REQUEST_TIMEOUT, endings.CLIENT_TIMEOUT_IN_RESPONSE_HEAD)

    def stop(self, problem: Problem = errors.DRAINING) -> None:
        """End it now: its route has been removed, or the drain has run out. `problem` is the response if none has begun."""
        if self.over:
            return
        if self.phase == endings.BODIES:
            self.cut(endings.EDGE_IN_BODIES)
        else:
            self.respond(problem, endings.EDGE + self.phase)

    def crash(self) -> None:
        """A fault of ours: end both sides. The caller logs it."""
        if not self.over:
            self.release(reusable=False)
            self.end(endings.EDGE + self.phase)
        self.incoming.abort()

    # Backpressure: a side that cannot be written to stops the other side's reading.

    def pause_client(self) -> None:
        if not self.incoming.request_done:
            self.incoming.pause()

    def resume_client(self) -> None:
        if not self.incoming.request_done:
            self.incoming.resume()

    def pause_backend(self) -> None:
        if self.outgoing is not None and self.phase == endings.BODIES:
            self.outgoing.pause()
            if self.body_idle > self.worker.body_idle:  # an event stream may rest, but not its client
                self.incoming.deadline = self.worker.now + self.worker.body_idle

    def resume_backend(self) -> None:
        if self.outgoing is not None:
            self.outgoing.resume()
            if self.phase == endings.BODIES and not self.half_closed:
                self.incoming.deadline = self.worker.now + self.body_idle

    # Responses of our own, and the end.

    def respond(self, problem: Problem, ending: str) -> None:
        """Respond with a problem of ours instead of a backend's response."""
        if self.over:
            return
        if not self.due and not self.worker.budget.may_respond():
            self.due = True
            self.release(reusable=False)
            self.worker.budget.later(partial(self.respond, problem, ending))
            return
        self.problem = problem
        self.worker.note_error(self.route, self.host, problem)
        login = self.login if self.visit is None else admission.login_target(self, problem)
        after_form = None if self.visit is None else admission.after_form(self, self.visit, problem)
        response = local_responses.problem(
            self.worker.pages,
            problem,
            self.head,
            self.route,
            self.id,
            login=login,
            after_form=after_form,
            progress=self.progress,
        )
        if self.new_cookies:
            response = local_responses.with_cookies(response, self.new_cookies)
        self._send(response, ending, closing=problem in local_responses.CLOSING)

    def answer(self, response: LocalResponse) -> None:
        """Answer with a response of ours that is no problem."""
        self._send(response, endings.COMPLETE)

    def _send(self, response: LocalResponse, ending: str, *, closing: bool = False) -> None:
        incoming, head = self.incoming, self.head
        keep_alive = (
            head.keep_alive
            and incoming.request_done
            and not closing
            and not self.worker.draining
            and not (head.upgrade and incoming.buffer)
        )
        self.status = response.status
        if self.timing is not None and self.timing.shown:
            response = local_responses.with_timing(response, debug_timing.server_timing(self, whole=True))
        without_body = head.method == b"HEAD"
        self.sent = 0 if without_body else len(response.body)
        incoming.write(render(response, version=head.version, keep_alive=keep_alive, without_body=without_body))
        if response.recorded:
            self.release(reusable=False)
            self.end(ending)
        else:
            self.over = True
        incoming.exchange_over(keep_alive=keep_alive)

    def cut(self, ending: str) -> None:
        """End a response in its middle so that the client notices: a short body must never look complete."""
        incoming = self.incoming
        if self.over:
            return
        self.release(reusable=False)
        framing = self.framing
        self.end(ending)
        if framing == UNTIL_CLOSE or ending[0] in endings.BY_CLIENT:
            incoming.abort()
        else:
            incoming.exchange_over(keep_alive=False)

    def release(self, *, reusable: bool) -> None:
        """Give back or close the backend's connection, and cancel a task that waits for one."""
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
        backend = self.outgoing
        if backend is None:
            return
        self.outgoing = None
        backend.exchange = None
        pool = backend.pool
        if (
            reusable
            and not backend.last
            and not backend.closing
            and not backend.write_paused
            and not backend.transport.get_write_buffer_size()
        ):
            backend.resume()
            response = self.response_head
            if not backend.visitor and (response is None or not response.binds):
                pool.give(backend, self.worker.now)
            elif self.head.begins_login and self.keep_alive and not self.incoming.closing:
                backend.visitor = self.client
                self.incoming.bound = backend
            else:
                backend.close()
        else:
            backend.close()

    def end(self, ending: str) -> None:
        """The last phase: one record, and the shares that the exchange held are given back."""
        self.over = True
        self.ending = ending
        worker = self.worker
        self.ended = worker.time()
        if self.activity is not None:
            if self.response_head is not None and self.status < _FAILED:
                # Not the coarse clock: a reader of activity would take it for older than it is.
                self.activity.active_at = self.ended
            self._leave()
        finished = worker.recorder.finished
        finished.append(self)
        if len(finished) >= BATCH:
            worker.recorder.flush()

    def note_use(self, now: float) -> None:
        """Its resource is in use now, where it answers or takes an upload. Called by the sweep from time to time."""
        activity = self.activity
        if activity is not None and (
            self.status < _FAILED
            if self.phase == endings.BODIES
            else self.phase == endings.RESPONSE_HEAD and not self.incoming.request_done
        ):
            activity.active_at = now

    def _leave(self) -> None:
        """Give back its shares of what it has of its resource, its tenant and its visitor."""
        activity = self.activity
        if activity is None:
            return
        if self.place or activity.queue is not None:
            self._give_place(activity)
        else:
            activity.exchanges -= 1
        self.activity = None
        tenant, visitor = self.tenant, self.visitor
        if tenant is not None:
            tenant.exchanges -= 1
            self.tenant = None
        if visitor is not None:
            visitor.exchanges -= 1
            self.visitor = None

    def _give_place(self, activity: "Activity") -> None:
        """Give back what it took of its resource, where others wait for that, or it is no exchange's place."""
        queues, tenant = self.worker.queues, self.tenant
        if self.place == EXCHANGE:
            queues.pass_on(activity)
        elif self.place == TUNNEL:
            activity.tunnels -= 1
        elif tenant is not None:
            by_client = self.ending[0] in endings.BY_CLIENT
            result = "left" if by_client else "timed_out" if self.problem is errors.TOO_MANY_REQUESTS else "ended"
            queues.leave(self, activity, tenant, result)

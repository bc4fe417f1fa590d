"""The composition root: everything that a node is made of, put together by keyword and nowhere else.

`App` is a running node. It opens its sockets first, so that a port in use fails the start before anything else happens,
then starts from the store outwards, and closes in the reverse order.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog

from router.access.visitors import Visitors
from router.base.clock import Clock, SystemClock
from router.base.tasks import Tasks
from router.base.ticks import tick
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.sync import CertificateSync
from router.node.certificate_keeping import holding_certificates, keeping_certificates
from router.node.process_role import ProcessRole
from router.node.record_keeping import keeping, open_kept, packing_to
from router.node.route_memory import RouteMemory
from router.node.sockets import local_addresses, open_sockets
from router.observe import logs
from router.observe.log_levels import LogLevels, as_json, from_json
from router.observe.loop_lag import LoopLag, time_collections, timed
from router.observe.metrics import Metrics
from router.observe.recorder import Consumer, Recorder, open_access_log
from router.operator.open_sessions import OpenSessions
from router.operator.processes import Answers
from router.operator.rates import Rates
from router.operator.tapping import Tapping
from router.pages import Pages, reference
from router.proxy import COMPILED, Captures, PlainHttp, Proxy, WakeConfig, connection_limits
from router.routes.error_notes import ErrorNotes
from router.routes.host_notes import HostNote, HostNotes
from router.routes.resolver import Resolver
from router.settings import Settings

if TYPE_CHECKING:
    from router.gate.handover import HandOver
    from router.node.control import Control
    from router.node.ipc.control_side import ControlSide
    from router.node.ipc.store_client import StoreClient
    from router.node.ipc.visitors_client import VisitorsClient
    from router.node.ipc.worker_side import WorkerSide
    from router.records.keeper import Keeper
    from router.records.kept import KeptRecords
    from router.records.replays import Carrier
    from router.store import Store
    from router.tenancy.waking import Wakes
    from router.wake.waker import Waker

_START_SHARE = 0.9  # of the time that a start may take: what it waited for in vain is said before it is ended

_log = structlog.get_logger("router.node.app")


class App:
    """One node, or one process of it: what its roles say, in this process.

    `sockets` are listeners that were opened before (by the supervisor or systemd), by name; the others are opened here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
        process: ProcessRole | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._given = sockets or {}
        self._process = process
        self._stack = AsyncExitStack()
        self._tasks = Tasks("app")
        self._metrics = Metrics() if process is None else Metrics(process.number, process.version)
        self._metrics.epoch(lambda: self._clock.now().timestamp() - self._clock.monotonic())
        self._memory = RouteMemory(settings, self._clock, self._metrics)
        self._evidence = MemoryEvidence(self._clock, wildcards=settings.gate.wildcards)
        self._budgets = Budgets(settings.gate, self._clock, [settings.platform_domain])
        self._sync: CertificateSync | None = None
        self._handover: HandOver | None = None
        self._wakes: Wakes | None = None
        self._kept: KeptRecords | None = None
        self._keeper: Keeper | None = None
        self._captures: Captures | None = None
        self._recorder: Recorder | None = None
        self._proxy: Proxy | None = None
        self._report_uses: Callable[[float], Mapping[str, float]] = lambda _: {}
        self._control: Control | None = None
        self._host_notes = HostNotes()
        self._error_notes = ErrorNotes()
        self._answers = Answers()
        self.log_levels = levels = LogLevels(self._clock.monotonic)
        self._answers.add("log_levels", lambda _: as_json(levels.levels))
        self._answers.add("set_log_levels", lambda arguments: levels.replace(from_json(arguments["levels"])))
        self._state = "starting"
        self._control_side: ControlSide | None = None
        self._worker_side: WorkerSide | None = None
        if process is not None:
            self._open_ipc()
        self.addresses: dict[str, tuple[str, int]] = {} if process is None else dict(process.addresses)

    async def start(self, settle: Callable[[], object] = lambda: None) -> None:
        """Serve. `settle` is called when everything is there and before this node says so: it may take long. A store that is away does not fail the start: known hosts and certificates are served from Redis and the
        snapshot on disk until it is there.

        Raises ListenError, StoreUnavailableError (see `store.Start`), SettingsError or OSError; nothing is left open then.
        """
        try:
            await self._start()
            settle()
        except BaseException:
            await self.close()
            raise
        self._state = "serving"
        lag = LoopLag(self._metrics, self._clock)
        self._stack.callback(lag.close)
        self._stack.callback(time_collections(self._metrics))
        self._tasks.start("look at this process itself", self._look_at_itself(lag))
        if self._worker_side is not None:
            self._worker_side.serving(True)
        _log.info(
            "serving", compiled=COMPILED, **{name: f"{host}:{port}" for name, (host, port) in self.addresses.items()}
        )

    async def connect(self, end: socket.socket, number: int) -> None:
        """The process with that number is at the other end: a worker's control process, or one of its workers."""
        if self._control_side is not None:
            await self._control_side.connect(end, number)
        elif self._worker_side is not None:
            await self._worker_side.connect(end)

    async def stand_in(self, listener: socket.socket, number: int) -> None:
        """Accept connections on another worker's socket too, until `stand_back`: that worker has died or hangs."""
        if self._proxy is not None:
            await self._proxy.stand_in(listener, number)

    def stand_back(self, number: int) -> None:
        """That socket's own worker accepts again."""
        if self._proxy is not None:
            self._proxy.stand_back(number)

    async def drain(self, *, replaced: bool = False) -> None:
        """Report not ready, let requests end, then tunnels and event streams; each within its limit.

        Where another process has replaced this one, /readyz does not change.
        """
        limits = self._settings.limits
        self._state = "draining"
        _log.info("draining")
        if self._control is not None:
            await self._control.release_jobs()
        if not replaced:
            if self._proxy is not None:
                self._proxy.leave()
            await asyncio.sleep(limits.drain_not_ready)
        if self._worker_side is not None:
            self._worker_side.serving(False)
        drains = []
        if self._control is not None:
            drains.append(self._tasks.start("drain the API", self._control.drain()))
        if self._proxy is not None:
            drain = self._proxy.drain(limits.drain_requests, limits.drain_tunnels, patient=replaced)
            drains.append(self._tasks.start("drain the proxy", drain))
        if drains:
            await asyncio.wait(drains)

    async def close(self) -> None:
        """End everything now."""
        served, self._state = self._state != "starting", "closed"
        await self._memory.stop_following()  # before the channels that it reads through
        if self._worker_side is not None:
            if self._recorder is not None:
                self._recorder.flush()  # it passes on what it has seen
            self._worker_side.close()
        await self._tasks.close()
        await self._stack.aclose()
        self.log_levels.close()
        if served:
            _log.info("closed")

    def reopen_logs(self) -> None:
        """Open the access log again, after it was moved away."""
        if self._recorder is not None:
            try:
                self._recorder.reopen()
            except OSError as error:
                _log.error("access log not reopened", error=str(error))

    async def _start(self) -> None:
        settings, clock, stack = self._settings, self._clock, self._stack
        sockets = self._listen()
        own_listeners = {one for bound in self.addresses.values() for one in local_addresses(bound)}
        metrics, evidence = self._metrics, self._evidence
        store: Store | None = None
        if self._worker_side is not None and self._asks:
            asked = await self._ask(self._worker_side)
            self._open_cache(asked)
            resolver = await self._follow(asked, self._ask_for_visitors(self._worker_side))
        else:
            store = await self._open_store()
            self._open_cache(store)
            visitors = await self._open_visitors(store, own_listeners)
            resolver = await self._follow(store, visitors)
            await self._open_wakes(store)
            await self._open_records()
            self._share(store, visitors)
            if self._worker_side is None or settings.plain_http == "redirect":
                await self._keep_certificates(store)
            if self._worker_side is None and not settings.roles.isdisjoint(("admin", "jobs")):
                await self._hold_certificates(store)
        keys = self._memory.keys
        if keys is not None:
            keys.start()
        resolver.on_drop(lambda _: metrics.count("routes_dropped"))
        if "proxy" in sockets and keys is not None:
            reference.render()  # 20 ms, before there is traffic
            self._recorder = recorder = self._open_recorder(metrics, evidence)
            self._proxy = proxy = Proxy(
                resolver=resolver,
                pages=Pages(settings.error_docs),
                recorder=recorder,
                metrics=metrics,
                limits=connection_limits.fit(settings.limits),
                trusted_proxies=settings.trusted_proxies,
                cookie_zones=settings.cookie_zones,
                trusted_headers=settings.trusted_headers,
                backend_networks=settings.backend_networks,
                own_listeners=own_listeners,
                clock=clock,
                plain=PlainHttp(evidence.served, settings.gate.caddy is not None, settings.public_port)
                if settings.plain_http == "redirect"
                else None,
                on_host_refused=self._host_notes.add if self._worker_side is None else self._worker_side.host_refused,
                access=keys,
                on_error=self._error_notes.add if self._worker_side is None else self._worker_side.error_seen,
                wake=self._wake_config(),
                login_url=settings.login_url,
                captures=self._captures,
            )
            self._report_uses = timed("report_uses", proxy.used, metrics)
            self._answers.add("refused", lambda _: proxy.refused())
            self._memory.tell(proxy)
            open_sessions = OpenSessions(proxy.open_exchanges, proxy.cut, clock)
            self._answers.add("sessions", open_sessions.sessions)
            self._answers.add("cut", open_sessions.cut)
            stack.push_async_callback(proxy.close)
            await proxy.serve(sockets["proxy"])
        if self._worker_side is None and store is not None:
            self._control = control = self._take_control(store, resolver, own_listeners)
            stack.push_async_callback(control.close)
            await control.start(sockets)

    @property
    def _asks_control(self) -> bool:
        """Whether this is a process of a node with a control process."""
        return self._process is not None and self._process.control

    @property
    def _asks(self) -> bool:
        """Whether this process reads the store through the control process. One that must know which names have certificates
        reads the store itself: there may be a hundred thousand at the start, and changes every second."""
        return self._asks_control and self._settings.plain_http != "redirect"

    async def _ask(self, worker_side: "WorkerSide") -> "StoreClient":
        """The control process's store. Raises StoreUnavailableError where it does not answer for as long as a start may take."""
        from router.node.ipc.store_client import StoreClient  # noqa: PLC0415 - a node in one process has no messages

        limits, within = self._settings.limits, self._settings.cache.fetch_time
        await worker_side.until_ready(limits.process_start * _START_SHARE)
        return StoreClient(worker_side, self._clock, within=within)

    async def _open_store(self) -> "Store":
        from router.store import Start, open_store_in_time  # noqa: PLC0415 - SQL is a third of what a process holds

        start = Start.FIRST if self._process is None else Start(self._process.start)
        store = await self._stack.enter_async_context(open_store_in_time(self._settings, self._clock, start))
        if self._control_side is not None:
            self._stack.push_async_callback(self._control_side.close)  # it reads the store, so it closes first
        return store

    def _ask_for_visitors(self, worker_side: "WorkerSide") -> "VisitorsClient":
        from router.node.ipc.visitors_client import VisitorsClient  # noqa: PLC0415 - likewise

        return VisitorsClient(worker_side, within=self._settings.cache.fetch_time)

    async def _open_visitors(self, store: "Store", own_listeners: Collection[tuple[str, int]]) -> Visitors:
        """What visitors need beside their routes: of the control process, where there is one besides this."""
        if self._worker_side is not None and self._asks_control:
            return self._ask_for_visitors(self._worker_side)
        from router.node.visitors import open_visitors  # noqa: PLC0415 - no worker with a control process needs it

        counts = None if self._memory.shared is None else self._memory.shared.counts
        opening = open_visitors(store, self._settings, self._clock, own_listeners, counts, self._metrics)
        return await self._stack.enter_async_context(opening)

    async def _open_wakes(self, store: "Store") -> None:
        """What has resources woken; of a node with a control process only that does."""
        settings = self._settings
        if settings.wake.url is None or (self._process is not None and self._process.control and self._process.number):
            return
        from router.node.wakes import open_wakes  # noqa: PLC0415 - no worker with a control process needs it

        opening = open_wakes(store, settings.wake.url, settings, self._clock, self._metrics)
        self._wakes = await self._stack.enter_async_context(opening)

    async def _open_records(self) -> None:
        """What keeps the records of requests; of a node with a control process only that does."""
        settings = self._settings
        if not settings.records.enabled or (self._worker_side is not None and self._asks_control):
            return
        self._kept = kept = open_kept(settings, self._clock)
        self._keeper = keeper = await self._stack.enter_async_context(
            keeping(kept, settings, self._clock, self._metrics)
        )
        if self._control_side is not None:
            self._control_side.keep_records(keeper)

    def _wake_config(self) -> WakeConfig | None:
        """What this process's visitors may have woken, and how long they wait; None where nothing is ever woken."""
        wake, waker, source = self._settings.wake, self._waker(), self._memory.source
        if waker is None or source is None:
            return None
        return WakeConfig(waker, source, hold=wake.hold, page_after=wake.page_after, budget=wake.budget)

    def _waker(self) -> "Waker | None":
        if self._settings.wake.url is None:
            return None
        if self._worker_side is not None and self._asks_control:
            from router.node.ipc.wake_client import WakeClient  # noqa: PLC0415 - likewise

            return WakeClient(self._worker_side, within=self._settings.cache.fetch_time)
        return self._wakes

    def _share(self, store: "Store", visitors: Visitors) -> None:
        """This process's commits reach its own resolver first, then its workers, which may read the store from now on."""
        if self._memory.shared is not None:
            store.on_number(self._memory.shared.committed)
        store.after_commit(self._memory.drop)
        if self._control_side is not None:
            store.on_number(self._control_side.announce)
            if self._wakes is not None:
                self._control_side.serve_wakes(self._wakes)
            self._control_side.serve_store(store, visitors)

    def _take_control(
        self, store: "Store", resolver: Resolver, own_listeners: Collection[tuple[str, int]]
    ) -> "Control":
        from router.node.control import Control  # noqa: PLC0415 - it is half of what a process holds, and no worker has it

        return Control(
            self._settings,
            store=store,
            resolver=resolver,
            evidence=self._evidence,
            budgets=self._budgets,
            sync=self._sync,
            handover=self._handover,
            metrics=self._metrics,
            clock=self._clock,
            control_side=self._control_side,
            shared=self._memory.shared,
            own_listeners=own_listeners,
            used=self._used,
            secret_uses=self._secret_uses,
            host_notes=self._host_notes,
            error_notes=self._error_notes,
            wakes=self._wakes,
            kept=self._kept,
            carrier=self._carrier(),
            answers=self._answers,
            levels=self.log_levels,
            state=lambda: self._state,
        )

    def _carrier(self) -> "Carrier | None":
        """What sends requests that were captured once more; None where this node carries no traffic."""
        if self._proxy is not None:
            return self._proxy.replay
        return None if self._control_side is None else self._control_side.replay

    def _open_ipc(self) -> None:
        """This process's side of the channels to the node's other processes."""
        if "proxy" in self._settings.roles:
            from router.node.ipc.worker_side import WorkerSide  # noqa: PLC0415 - likewise

            self._worker_side = WorkerSide(
                on_change=self._memory.changed,
                on_outbox=self._memory.pushed,
                used=self._used,
                https=self._evidence.since,
                figures=timed("render_metrics", self._metrics.figures, self._metrics),
                secrets=self._secret_uses,
                on_host_refused=self._learn,
                operator=self._answers.answer,
                replay=self._start_replay,
            )
            self._answers.on_event = self._worker_side.operator_event
        else:
            from router.node.ipc.control_side import ControlSide  # noqa: PLC0415 - no worker has it

            self._control_side = self._memory.control_side = control_side = ControlSide(
                self._settings.workers,
                metrics=self._metrics,
                clock=self._clock,
                on_https=self._evidence.note,
                host_notes=self._host_notes,
                error_notes=self._error_notes,
            )
            self._stack.push_async_callback(control_side.close)

    async def _keep_certificates(self, store: "Store") -> None:
        """What the gate knows, in the store and on this machine. A worker's evidence goes to its control process; it
        follows the others' where it has to know which hosts have certificates."""
        opening = keeping_certificates(
            store,
            self._settings,
            self._clock,
            evidence=self._evidence,
            budgets=self._budgets,
            on_disk=self._worker_side is None,
            metrics=self._metrics,
        )
        self._sync = await self._stack.enter_async_context(opening)

    async def _hold_certificates(self, store: "Store") -> None:
        opening = holding_certificates(
            store, self._settings, self._clock, evidence=self._evidence, metrics=self._metrics
        )
        self._handover = await self._stack.enter_async_context(opening)

    def _open_cache(self, store: "Store | StoreClient") -> None:
        shared = self._memory.share(store)
        if shared is not None:
            self._stack.push_async_callback(shared.close)

    async def _follow(self, store: "Store | StoreClient", visitors: Visitors) -> Resolver:
        """The resolver, which hears of every change from here on that another process commits."""
        self._stack.push_async_callback(self._memory.close)
        return await self._memory.follow(store, visitors, required=self._replaces)

    @property
    def _replaces(self) -> bool:
        """Whether another process serves until this one can, and knows more than one without a store would."""
        return self._process is not None and self._process.start == "replacing"

    def _listen(self) -> dict[str, socket.socket]:
        """The sockets of our roles."""
        sockets = self._stack.enter_context(open_sockets(self._settings, self._given))
        self.addresses |= {name: opened.getsockname()[:2] for name, opened in sockets.items()}
        return sockets

    def _open_recorder(self, metrics: Metrics, evidence: MemoryEvidence) -> Recorder:
        settings = self._settings
        access = open_access_log(
            settings.access_log,
            settings.log_format,
            worker=None if self._process is None else self._process.number,
            clock=self._clock,
            waiting=settings.log_buffer,
        )
        consumers: list[Consumer] = [evidence.learn]
        if settings.records.enabled:
            side = self._worker_side if self._asks_control else None
            if side is not None:
                consumers.append(packing_to(side.keep_records))
            elif self._keeper is not None:
                consumers.append(packing_to(self._keeper.take))
            keeps = side or self._keeper
            if settings.records.captures and keeps is not None:
                self._captures = Captures(keeps.take_capture, metrics)
                consumers.append(self._captures.consume)
        recorder = Recorder(metrics=metrics, clock=self._clock, access=access, consumers=consumers)
        tapping = Tapping(recorder, self._answers.emit, self._clock)
        self._answers.add("tap", tapping.tap)
        self._answers.add("untap", tapping.untap)
        self._answers.add("top", Rates(recorder, self._clock, metrics.traffic).answer)
        self._stack.callback(recorder.close)
        self._tasks.start("record", recorder.run())
        return recorder

    def _start_replay(self, order: Mapping[str, Any]) -> object:
        """The task that sends a request that was captured once more; None where no traffic is carried yet."""
        return None if self._proxy is None else self._tasks.start("replay a request", self._proxy.replay(order))

    def _learn(self, note: HostNote) -> None:
        if self._proxy is not None:
            self._proxy.learn(note)

    async def _look_at_itself(self, lag: LoopLag) -> None:
        while True:
            await tick(1.0)
            self._metrics.count("log_lines_lost", by=logs.take_lost())
            lag.look()

    def _secret_uses(self, since: float) -> Mapping[str, float]:
        return {} if self._memory.keys is None else self._memory.keys.uses.since(since)

    def _used(self, since: float) -> Mapping[str, float]:
        return self._report_uses(since)

"""The composition root: everything that a node is made of, put together by keyword and nowhere else.

`App` is a running node: it opens its sockets first, so that a port in use stops it before it has done anything, starts
from the store outwards, and ends in the reverse order.
"""

import asyncio
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from router.clock import Clock, SystemClock
from router.crew import AskedStore, Crew, Membership
from router.gate.budgets import Budgets
from router.gate.copy import EvidenceCopy
from router.gate.evidence import MOST, MemoryEvidence
from router.gate.ledger import Ledger
from router.listening import listen, local_addresses
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder, open_access_log
from router.pages import Pages
from router.proxy import COMPILED, PlainHttp, Proxy
from router.routes.resolver import Resolver
from router.settings import Role, Settings
from router.tasks import Tasks

if TYPE_CHECKING:
    from router.cache import SharedCache
    from router.control import Control
    from router.routes.follower import OutboxFollower
    from router.store import Store

_PATIENCE = 0.9  # of the time that a start may take: what it waited for in vain is said before it is ended

_log = structlog.get_logger("router.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which process this is of a node that has several. 0 is the control process, the workers count from 1.

    `addresses` has every listener of the node, whichever process serves it. `control` is whether the node has a control
    process: one that has only the proxy's role has none.
    """

    number: int
    addresses: Mapping[str, tuple[str, int]]
    control: bool


class App:
    """One node, or one process of it: what its roles say, in this process.

    `sockets` are listeners that somebody has opened before, by name; the others are opened here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
        part: Part | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._given = sockets or {}
        self._part = part
        self._stack = AsyncExitStack()
        self._tasks = Tasks("app")
        self._metrics = Metrics(None if part is None else part.number)
        self._evidence = MemoryEvidence(self._clock)
        self._budgets = Budgets(settings.gate, self._clock)
        self._resolver: Resolver | None = None
        self._recorder: Recorder | None = None
        self._proxy: Proxy | None = None
        self._control: Control | None = None
        self._shared: SharedCache | None = None
        self._follower: OutboxFollower | None = None
        self._state = "starting"
        self._crew: Crew | None = None
        self._membership: Membership | None = None
        if part is not None:
            self._meet_the_others()
        self.addresses: dict[str, tuple[str, int]] = {} if part is None else dict(part.addresses)

    async def start(self) -> None:
        """Serve. Raises ListenError, StoreUnavailableError, SettingsError or OSError; nothing is left open then."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        self._state = "serving"
        if self._membership is not None:
            self._membership.serving(True)
        _log.info(
            "serving", compiled=COMPILED, **{name: f"{host}:{port}" for name, (host, port) in self.addresses.items()}
        )

    async def join(self, end: socket.socket, number: int) -> None:
        """The process with that number is at the other end: a worker's control process, or one of its workers."""
        if self._crew is not None:
            await self._crew.join(end, number)
        elif self._membership is not None:
            await self._membership.join(end)

    async def drain(self, *, replaced: bool = False) -> None:
        """Say that we are going, let requests end, then tunnels and event streams; each within its limit.

        Where another process has taken our place already nobody need be told.
        """
        limits = self._settings.limits
        self._state = "draining"
        _log.info("draining")
        if self._control is not None:
            await self._control.let_go()
        if not replaced:
            await asyncio.sleep(limits.drain_not_ready)
        if self._membership is not None:
            self._membership.serving(False)
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
        if self._follower is not None:
            await self._follower.close()  # before those whom it asks are left
        if self._membership is not None:
            self._membership.close()
        await self._tasks.close()
        await self._stack.aclose()
        if served:
            _log.info("closed")

    def reopen_logs(self) -> None:
        """Open the access log again, after it was moved away."""
        if self._recorder is not None:
            try:
                self._recorder.reopen()
            except OSError as error:
                _log.error("the access log can't be opened again", error=str(error))

    async def _start(self) -> None:
        settings, clock, stack = self._settings, self._clock, self._stack
        sockets = self._listen()
        own_listeners = {one for bound in self.addresses.values() for one in local_addresses(bound)}
        metrics, evidence = self._metrics, self._evidence
        store: Store | None = None
        if self._membership is not None and self._asks:
            self._resolver = resolver = await self._follow(await self._ask(self._membership))
        else:
            store = await self._open_store()
            self._resolver = resolver = await self._follow(store)
            self._share(store, resolver)
            if self._membership is None or settings.plain_http == "redirect":
                await self._keep_certificates(store)
        resolver.on_drop(lambda _: metrics.count("routes_dropped"))
        if "proxy" in sockets:
            self._recorder = recorder = self._open_recorder(metrics, evidence)
            self._proxy = proxy = Proxy(
                resolver=resolver,
                pages=Pages(settings.docs_url),
                recorder=recorder,
                metrics=metrics,
                limits=settings.limits,
                trusted_proxies=settings.trusted_proxies,
                backend_networks=settings.backend_networks,
                own_listeners=own_listeners,
                clock=clock,
                plain=PlainHttp(evidence.seen, settings.gate.caddy is not None, settings.public_port)
                if settings.plain_http == "redirect"
                else None,
            )
            stack.push_async_callback(proxy.close)
            await proxy.serve(sockets["proxy"])
        if self._membership is None and store is not None:
            self._control = control = self._take_control(store, resolver, own_listeners)
            stack.push_async_callback(control.close)
            await control.start(sockets)

    @property
    def _asks(self) -> bool:
        """Whether this process asks another for what is in the store. One that must know which names have certificates
        reads that itself: it may be a hundred thousand at the start, and news each second."""
        return self._part is not None and self._part.control and self._settings.plain_http != "redirect"

    async def _ask(self, membership: Membership) -> AskedStore:
        """The control process's store. Raises StoreUnavailableError where nobody answers for as long as a start may take."""
        limits, within = self._settings.limits, self._settings.cache.fetch_time
        await membership.met(limits.process_start * _PATIENCE)
        return AskedStore(membership, self._clock, within=within)

    async def _open_store(self) -> "Store":
        from router.store import open_store  # noqa: PLC0415 - SQL is a third of what a process holds; who asks has none

        store = await self._stack.enter_async_context(open_store(self._settings, self._clock))
        if self._crew is not None:
            self._stack.push_async_callback(self._crew.close)  # who is answered out of the store goes before it
        return store

    def _share(self, store: "Store", resolver: Resolver) -> None:
        """What this process commits is told here first, then to its workers, which may ask for everything from now on."""
        if self._shared is not None:
            store.on_number(self._shared.committed)
        store.after_commit(resolver.drop)
        if self._crew is not None:
            store.on_number(self._crew.announce)
            self._crew.answer(store)

    def _take_control(
        self, store: "Store", resolver: Resolver, own_listeners: Collection[tuple[str, int]]
    ) -> "Control":
        from router.control import Control  # noqa: PLC0415 - it is half of what a process holds, and no worker has it

        return Control(
            self._settings,
            store=store,
            resolver=resolver,
            evidence=self._evidence,
            budgets=self._budgets,
            metrics=self._metrics,
            clock=self._clock,
            crew=self._crew,
            shared=self._shared,
            own_listeners=own_listeners,
            used=self._used,
            state=lambda: self._state,
        )

    def _meet_the_others(self) -> None:
        """What ties this process to the node's others."""
        if "proxy" in self._settings.roles:
            self._membership = Membership(
                on_change=self._changed,
                used=self._used,
                https=self._evidence.since,
                figures=self._metrics.figures,
            )
        else:
            self._crew = crew = Crew(
                self._settings.workers, metrics=self._metrics, clock=self._clock, on_https=self._evidence.note
            )
            self._stack.push_async_callback(crew.close)

    async def _keep_certificates(self, store: "Store") -> None:
        """What the gate knows, in the store and on this machine. A worker's evidence goes to its control process; it
        follows the others' where it has to know which hosts have certificates."""
        settings = self._settings
        folder = settings.state_dir if self._membership is None else None
        ledger = Ledger(
            log=store.certificate_log,
            evidence=self._evidence,
            budgets=self._budgets,
            copy=None if folder is None else EvidenceCopy(folder, most=MOST),
            limits=settings.gate,
            metrics=self._metrics,
            clock=self._clock,
        )
        self._stack.push_async_callback(ledger.close)
        await ledger.start()

    async def _follow(self, store: "Store | AskedStore") -> Resolver:
        """The resolver, which hears of every change from here on that another process commits."""
        settings, clock, stack, metrics = self._settings, self._clock, self._stack, self._metrics
        if settings.redis_url is None:
            resolver = Resolver.of(store.records, settings, clock)
            stack.push_async_callback(resolver.close)
            self._follower = follower = store.follow(
                lambda keys: self._heard(resolver, keys), lambda: self._heard(resolver, None)
            )
            stack.push_async_callback(follower.close)
            await follower.start()
            metrics.gauge("outbox_position", lambda: float(follower.position))
            return resolver
        from router.cache import SharedCache  # noqa: PLC0415 - only who has a Redis loads what talks to it

        publishes = not settings.roles.isdisjoint(("api", "jobs"))
        self._shared = shared = SharedCache(
            settings.redis_url,
            settings.redis,
            fetch_time=settings.cache.fetch_time,
            store=store,
            publishes=publishes,
            metrics=metrics,
            clock=clock,
        )
        stack.push_async_callback(shared.close)
        resolver = Resolver.of(shared.records, settings, clock)
        stack.push_async_callback(resolver.close)
        await shared.start(resolver.drop, resolver.drop_all)
        return resolver

    def _listen(self) -> dict[str, socket.socket]:
        """The sockets of our roles."""
        settings = self._settings
        binds: dict[Role, str] = {"proxy": settings.proxy_bind, "api": settings.api_bind, "admin": settings.admin_bind}
        sockets: dict[str, socket.socket] = {}
        for name, bind in binds.items():
            if name in settings.roles:
                sockets[name] = opened = self._given.get(name) or listen(name, bind)
                self._stack.callback(opened.close)
                self.addresses[name] = opened.getsockname()[:2]
        return sockets

    def _open_recorder(self, metrics: Metrics, evidence: MemoryEvidence) -> Recorder:
        settings = self._settings
        access = open_access_log(
            settings.access_log,
            settings.log_format,
            worker=None if self._part is None else self._part.number,
            clock=self._clock,
        )
        recorder = Recorder(metrics=metrics, clock=self._clock, access=access, consumers=[evidence.learn])
        self._stack.callback(recorder.close)
        self._tasks.start("record", recorder.run())
        return recorder

    def _changed(self, keys: Sequence[str], number: int) -> None:
        """The control process has committed a change. Where nothing has been looked up yet nothing is wrong."""
        if self._shared is not None:
            self._shared.committed(keys, number)
        if self._follower is not None:
            self._follower.committed(keys, number)
        if self._resolver is not None:
            self._resolver.drop(keys)

    def _heard(self, resolver: Resolver, keys: Sequence[str] | None) -> None:
        """Another node, or a command, has committed a change; None: there may be some that were missed."""
        if keys is None:
            resolver.drop_all()
        else:
            resolver.drop(keys)
        if self._crew is not None:
            self._crew.moved()

    def _used(self, since: float) -> Mapping[str, float]:
        return self._proxy.used(since) if self._proxy is not None else {}

"""The composition root: everything that a node is made of, put together by keyword and nowhere else.

`App` is a running node: it opens its sockets first, so that a port in use stops it before it has done anything, starts
from the store outwards, and ends in the reverse order.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from router.activity import ActivityFeed
from router.admin import Admin, Check
from router.clock import Clock, SystemClock
from router.courier import Courier
from router.crew import Crew, Membership
from router.domains.certificates import LIFETIME
from router.gate.ask import Ask
from router.gate.budgets import Budgets
from router.gate.copy import EvidenceCopy
from router.gate.evidence import MOST, MemoryEvidence
from router.gate.lane import Lanes
from router.gate.ledger import Ledger, recall
from router.jobs import Job, Jobs
from router.listening import listen, local_addresses
from router.nudges import Nudges
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder, open_access_log
from router.pages import Pages
from router.probe import HttpProbe
from router.proxy import PlainHttp, Proxy
from router.rechecks import Rechecks
from router.routes.batches import RecordSource
from router.routes.explain import Explainer
from router.routes.resolver import Resolver
from router.settings import Role, Settings
from router.store import Store
from router.tasks import Tasks
from router.tenancy.deliveries import EVERY, Deliveries
from router.verbs import Verbs, destinations_of, open_fetch, open_lookup, open_store, verbs_on

if TYPE_CHECKING:
    from router.api.server import ApiServer
    from router.cache import SharedCache

_GATHERED_LATE = 30.0  # seconds by which a worker may be late with what it has seen
_SHUTDOWN = 2.0  # seconds for requests to the admin listener to end

_log = structlog.get_logger("router.app")


@asynccontextmanager
async def open_explainer(settings: Settings) -> AsyncIterator[Explainer]:
    """An explainer for one command: it reads the store, and knows nothing of any running node's memory."""
    clock = SystemClock()
    async with open_store(settings, clock) as store:
        resolver = _resolver(store.records, settings, clock)
        evidence, budgets = MemoryEvidence(clock), Budgets(settings.gate, clock)
        ask = Ask(routes=resolver, evidence=evidence, budgets=budgets, metrics=Metrics(), clock=clock)
        try:
            await recall(store.certificate_log, evidence, budgets, clock)
            budgets.ready()
            yield Explainer(resolver=resolver, gate=ask.judge, clock=clock)
        finally:
            await resolver.close()


def _resolver(source: RecordSource, settings: Settings, clock: Clock) -> Resolver:
    return Resolver(
        source,
        platform_domain=settings.platform_domain,
        reserved_ports=settings.reserved_ports,
        limits=settings.cache,
        clock=clock,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which process this is of a node that has several. 0 is the control process, the workers count from 1.

    `addresses` has every listener of the node, whichever process serves it.
    """

    number: int
    addresses: Mapping[str, tuple[str, int]]


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
        self._api: ApiServer | None = None
        self._jobs: Jobs | None = None
        self._deliveries: Deliveries | None = None
        self._shared: SharedCache | None = None
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
        _log.info("serving", **{name: f"{host}:{port}" for name, (host, port) in self.addresses.items()})

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
        if self._deliveries is not None:
            await self._deliveries.close()  # before the lease goes: what comes of them is written under it
        if self._jobs is not None:
            await self._jobs.close()  # another node may have them at once
        if not replaced:
            await asyncio.sleep(limits.drain_not_ready)
        if self._membership is not None:
            self._membership.serving(False)
        drains = []
        if self._api is not None:
            drains.append(self._tasks.start("drain the API", self._api.close()))
        if self._proxy is not None:
            drain = self._proxy.drain(limits.drain_requests, limits.drain_tunnels, patient=replaced)
            drains.append(self._tasks.start("drain the proxy", drain))
        if drains:
            await asyncio.wait(drains)

    async def close(self) -> None:
        """End everything now."""
        served, self._state = self._state != "starting", "closed"
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
        store = await stack.enter_async_context(open_store(settings, clock))
        if self._crew is not None:
            store.on_number(self._crew.announce)
        lookup = await stack.enter_async_context(open_lookup(settings, clock, self._metrics))
        fetch = await stack.enter_async_context(open_fetch(settings, clock, lookup))
        probe = await stack.enter_async_context(HttpProbe())
        verbs = verbs_on(store, settings, clock, lookup=lookup, fetch=fetch, probe=probe, own_listeners=own_listeners)
        stack.push_async_callback(verbs.publishing.close)
        metrics, evidence = self._metrics, self._evidence
        self._resolver = resolver = await self._follow(store)
        if self._membership is None or settings.plain_http == "redirect":
            await self._keep_certificates(store)
        resolver.on_drop(lambda _: metrics.count("routes_dropped"))
        nudges = Nudges(queue=verbs.checks, clock=clock)
        stack.push_async_callback(nudges.close)
        ask = Ask(
            routes=resolver,
            evidence=evidence,
            budgets=self._budgets,
            metrics=metrics,
            clock=clock,
            on_pending=nudges,
        )
        if "admin" in sockets:
            explainer = Explainer(resolver=resolver, gate=ask.judge, clock=clock)
            admin = Admin(
                ask=ask.answer,
                metrics=metrics,
                checks={"serving": self._is_serving},
                advice=self._advice(),
                facts=self._facts,
                gather=self._crew.figures if self._crew is not None else None,
                explain=explainer.explain,
            )
            await self._serve_admin(admin, ask, sockets["admin"])
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
        activity = self._activity(verbs)
        if self._crew is not None or (self._proxy is not None and self._membership is None):
            self._tasks.start("copy activity", activity.run())
        if "api" in sockets:
            await self._serve_api(store, verbs, activity, sockets["api"])
        if "jobs" in settings.roles:
            courier = Courier(lookup, destinations_of(settings, own_listeners), clock)
            self._deliveries = Deliveries(store, clock, sender=courier, metrics=metrics)
            todo = [*self._periodic(store, verbs, self._deliveries), self._warm(store, verbs, ask)]
            self._jobs = Jobs(todo, leases=store.leases, metrics=metrics, clock=clock)
            stack.push_async_callback(self._jobs.close)
            stack.push_async_callback(self._deliveries.close)
            self._jobs.start()

    def _meet_the_others(self) -> None:
        """What ties this process to the node's others."""
        if "proxy" in self._settings.roles:
            self._membership = Membership(
                on_change=self._changed,
                used=lambda since: {key: at for key, at in self._used().items() if at >= since},
                https=self._evidence.since,
                figures=self._metrics.figures,
            )
        else:
            self._crew = crew = Crew(
                self._settings.workers, metrics=self._metrics, clock=self._clock, on_https=self._evidence.note
            )
            self._stack.callback(crew.close)

    async def _keep_certificates(self, store: Store) -> None:
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

    def _warm(self, store: Store, verbs: Verbs, ask: Ask) -> Job:
        """What fetches certificates ahead, and makes domains active."""
        from router.gate.handshake import TlsHandshake  # noqa: PLC0415 - no worker loads what reads certificates
        from router.gate.warming import Warming  # noqa: PLC0415

        gate = self._settings.gate
        warming = Warming(
            store=store,
            domains=verbs.custom_domains,
            opinion=ask.opinion,
            handshake=None if gate.caddy is None else TlsHandshake(gate.caddy, gate.handshake_time),
            evidence=self._evidence,
            budgets=self._budgets,
            backoff=gate.backoff,
            at_once=gate.handshakes,
            clock=self._clock,
        )
        self._stack.push_async_callback(warming.close)
        return Job(name="warm_certificates", every=1.0, within=30.0, work=warming.run)

    async def _follow(self, store: Store) -> Resolver:
        """The resolver, which hears of every change from here on: its own process's, and everybody else's."""
        settings, clock, stack, metrics = self._settings, self._clock, self._stack, self._metrics
        if settings.redis_url is None:
            resolver = _resolver(store.records, settings, clock)
            stack.push_async_callback(resolver.close)
            store.after_commit(resolver.drop)
            follower = store.follow(resolver.drop, resolver.drop_all)
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
        resolver = _resolver(shared.records, settings, clock)
        stack.push_async_callback(resolver.close)
        store.on_number(shared.committed)
        store.after_commit(resolver.drop)
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

    async def _serve_admin(self, admin: Admin, ask: Ask, listening: socket.socket) -> None:
        runner = web.AppRunner(admin.application(), access_log=None, shutdown_timeout=_SHUTDOWN)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - `setup` has made it
        lanes = Lanes(ask, hand_over=runner.server)
        self._stack.push_async_callback(lanes.close)
        await lanes.start(listening)

    async def _serve_api(self, store: Store, verbs: Verbs, activity: ActivityFeed, listening: socket.socket) -> None:
        # A worker has no use for it, and it is a sixth of what a process holds.
        from router.surface import server_on  # noqa: PLC0415

        settled = self._crew.settled if self._crew is not None else None
        self._api = server = server_on(store, verbs, self._settings, activity, settled=settled, clock=self._clock)
        self._stack.push_async_callback(server.close)
        await server.start(listening)

    async def _is_serving(self) -> str | None:
        """For /readyz. A store that is away is not a reason to send traffic elsewhere: routes outlive it for a while,
        and the other nodes have the same store."""
        if self._state == "serving" and self._crew is not None and not self._crew.serving:
            return "no worker takes connections"
        return None if self._state == "serving" else self._state

    async def _all_serve(self) -> str | None:
        crew = self._crew
        return None if crew is None or crew.serving >= crew.size else f"{crew.serving} of {crew.size} workers serve"

    def _advice(self) -> dict[str, Check]:
        advice: dict[str, Check] = {}
        if self._shared is not None:
            advice["redis"] = self._shared.check
        if self._crew is not None:
            advice["workers"] = self._all_serve
        return advice

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {}
        if self._crew is not None:
            facts["workers"] = {"serving": self._crew.serving, "of": self._crew.size}
        if self._shared is not None:
            facts["changes"] = self._shared.facts()
        return facts

    def _activity(self, verbs: Verbs) -> ActivityFeed:
        crew = self._crew
        if crew is None:
            return ActivityFeed(used=self._used, rows=verbs.resources, clock=self._clock)
        return ActivityFeed(
            used=crew.used, rows=verbs.resources, clock=self._clock, gather=crew.gather, lag=_GATHERED_LATE
        )

    def _changed(self, keys: Sequence[str], number: int) -> None:
        """The control process has committed a change. Where nothing has been looked up yet nothing is wrong."""
        if self._shared is not None:
            self._shared.committed(keys, number)
        if self._resolver is not None:
            self._resolver.drop(keys)

    def _used(self) -> dict[str, float]:
        return dict(self._proxy.activity) if self._proxy is not None else {}

    def _periodic(self, store: Store, verbs: Verbs, deliveries: Deliveries) -> list[Job]:
        """What one process of all nodes does. The names are the metrics' labels."""
        now, checks = self._clock.now, self._settings.checks
        rechecks = Rechecks(
            queue=verbs.checks,
            checker=verbs.verification,
            claims=verbs.takeovers,
            metrics=self._metrics,
            clock=self._clock,
            at_once=checks.at_once,
        )
        looking = Job(name="check_domains", every=1.0, within=60.0, work=rechecks.run)
        return [
            *([looking] if checks.background else []),
            Job(
                name="prune_answers",
                every=3600.0,
                within=60.0,
                work=lambda _lease: store.idempotency.prune(now()),
            ),
            Job(
                name="prune_certificates",
                every=3600.0,
                within=60.0,
                work=lambda _lease: store.certificate_log.prune(
                    now().timestamp() - self._budgets.kept, now() - 2 * LIFETIME
                ),
            ),
            Job(name="deliver_webhooks", every=EVERY, within=10.0, work=deliveries.round),
            Job(name="prune_events", every=3600.0, within=60.0, work=lambda _lease: verbs.events.prune()),
            Job(name="trim_outbox", every=60.0, within=30.0, work=lambda _lease: store.feed.trim(now())),
            Job(
                name="fail_lost_builds",
                every=10.0,
                within=30.0,
                work=lambda _lease: verbs.publishing.fail_overdue(),
            ),
        ]

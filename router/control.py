"""What a node has beside its traffic: the gate, the admin and API listeners, and the jobs.

In a node of several processes the control process has it, and no worker loads any of it.
"""

import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from router.activity import ActivityFeed
from router.admin import Admin, Check
from router.clock import Clock, SystemClock
from router.courier import Courier
from router.crew import Crew
from router.domains.certificates import LIFETIME
from router.domains.names import suffixes
from router.gate.ask import Ask
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.handshake import TlsHandshake
from router.gate.lane import Lanes
from router.gate.ledger import recall
from router.gate.warming import Warming
from router.jobs import Job, Jobs
from router.nudges import Nudges
from router.observe.metrics import Metrics
from router.probe import HttpProbe
from router.rechecks import Rechecks
from router.routes.explain import Explainer
from router.routes.resolver import Resolver
from router.settings import Settings
from router.store import Store, open_store
from router.surface import server_on
from router.tasks import Tasks
from router.tenancy.deliveries import EVERY, Deliveries
from router.verbs import Verbs, destinations_of, open_fetch, open_lookup, verbs_on

if TYPE_CHECKING:
    from router.api.server import ApiServer
    from router.cache import SharedCache

_GATHERED_LATE = 30.0  # seconds by which a worker may be late with what it has seen
_SHUTDOWN = 2.0  # seconds for requests to the admin listener to end


@asynccontextmanager
async def open_explainer(settings: Settings) -> AsyncIterator[Explainer]:
    """An explainer for one command: it reads the store, and knows nothing of any running node's memory."""
    clock = SystemClock()
    async with open_store(settings, clock) as store:
        resolver = Resolver.of(store.records, settings, clock)
        evidence, budgets = MemoryEvidence(clock), Budgets(settings.gate, clock)
        ask = Ask(routes=resolver, evidence=evidence, budgets=budgets, metrics=Metrics(), clock=clock)
        try:
            await recall(store.certificate_log, evidence, budgets, clock)
            budgets.ready()
            yield Explainer(resolver=resolver, gate=ask.judge, clock=clock)
        finally:
            await resolver.close()


class Control:
    """See the module. `used(since)` says when each resource was last used by this process's traffic, `state` what the node is
    doing: `serving`, or else why it is not ready."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        resolver: Resolver,
        evidence: MemoryEvidence,
        budgets: Budgets,
        metrics: Metrics,
        clock: Clock,
        crew: Crew | None,
        shared: "SharedCache | None",
        own_listeners: Collection[tuple[str, int]],
        used: Callable[[float], Mapping[str, float]],
        state: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._resolver = resolver
        self._evidence = evidence
        self._budgets = budgets
        self._metrics = metrics
        self._clock = clock
        self._crew = crew
        self._shared = shared
        self._own_listeners = own_listeners
        self._used = used
        self._state = state
        self._stack = AsyncExitStack()
        self._tasks = Tasks("control")
        self._api: ApiServer | None = None
        self._jobs: Jobs | None = None
        self._deliveries: Deliveries | None = None

    async def start(self, sockets: Mapping[str, socket.socket]) -> None:
        """Serve those of the listeners that are there, and begin with the jobs. Raises OSError."""
        settings, clock, stack, store, metrics = self._settings, self._clock, self._stack, self._store, self._metrics
        lookup = await stack.enter_async_context(open_lookup(settings, clock, metrics))
        fetch = await stack.enter_async_context(open_fetch(settings, clock, lookup))
        probe = await stack.enter_async_context(HttpProbe())
        own_listeners = self._own_listeners
        verbs = verbs_on(store, settings, clock, lookup=lookup, fetch=fetch, probe=probe, own_listeners=own_listeners)
        stack.push_async_callback(verbs.publishing.close)
        nudges = Nudges(queue=verbs.checks, clock=clock)
        stack.push_async_callback(nudges.close)
        suffixes()  # else the first ask would wait for it
        ask = Ask(
            routes=self._resolver,
            evidence=self._evidence,
            budgets=self._budgets,
            metrics=metrics,
            clock=clock,
            on_pending=nudges,
        )
        if "admin" in sockets:
            await self._serve_admin(ask, sockets["admin"])
        activity = self._activity(verbs)
        if self._crew is not None or "proxy" in sockets:
            self._tasks.start("copy activity", activity.run())
        if "api" in sockets:
            settled = self._crew.settled if self._crew is not None else None
            self._api = server = server_on(store, verbs, settings, activity, settled=settled, clock=clock)
            stack.push_async_callback(server.close)
            await server.start(sockets["api"])
        if "jobs" in settings.roles:
            courier = Courier(lookup, destinations_of(settings, own_listeners), clock)
            self._deliveries = Deliveries(store, clock, sender=courier, metrics=metrics)
            todo = [*self._periodic(verbs, self._deliveries), self._warm(verbs, ask)]
            self._jobs = Jobs(todo, leases=store.leases, metrics=metrics, clock=clock)
            stack.push_async_callback(self._jobs.close)
            stack.push_async_callback(self._deliveries.close)
            self._jobs.start()

    async def let_go(self) -> None:
        """Leave the jobs to other nodes, which may have them at once."""
        if self._deliveries is not None:
            await self._deliveries.close()  # before the lease goes: what comes of them is written under it
        if self._jobs is not None:
            await self._jobs.close()

    async def drain(self) -> None:
        """Take no more requests to the API, and let those end that are there."""
        if self._api is not None:
            await self._api.close()

    async def close(self) -> None:
        """End everything now."""
        await self._tasks.close()
        await self._stack.aclose()

    async def _serve_admin(self, ask: Ask, listening: socket.socket) -> None:
        explainer = Explainer(resolver=self._resolver, gate=ask.judge, clock=self._clock)
        admin = Admin(
            ask=ask.answer,
            metrics=self._metrics,
            checks={"serving": self._is_serving},
            advice=self._advice(),
            facts=self._facts,
            gather=self._crew.figures if self._crew is not None else None,
            explain=explainer.explain,
        )
        runner = web.AppRunner(admin.application(), access_log=None, shutdown_timeout=_SHUTDOWN)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - `setup` has made it
        lanes = Lanes(ask, hand_over=runner.server)
        self._stack.push_async_callback(lanes.close)
        await lanes.start(listening)

    async def _is_serving(self) -> str | None:
        """For /readyz. A store that is away is not a reason to send traffic elsewhere: routes outlive it for a while,
        and the other nodes have the same store."""
        state = self._state()
        if state == "serving" and self._crew is not None and not self._crew.serving:
            return "no worker takes connections"
        return None if state == "serving" else state

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

    def _warm(self, verbs: Verbs, ask: Ask) -> Job:
        """What fetches certificates ahead, and makes domains active."""
        gate = self._settings.gate
        warming = Warming(
            store=self._store,
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

    def _periodic(self, verbs: Verbs, deliveries: Deliveries) -> list[Job]:
        """What one process of all nodes does. The names are the metrics' labels."""
        now, checks, store = self._clock.now, self._settings.checks, self._store
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

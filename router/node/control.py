"""What a node has beside its traffic: the gate, the admin and API listeners, and the jobs.

In a node of several processes the control process has it, and no worker loads any of it.
"""

import socket
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from router.base.clock import Clock, ClockWatch
from router.base.secret_box import SecretBox
from router.base.tasks import Tasks
from router.domains.lookup import Lookup
from router.domains.public_suffixes import public_suffixes
from router.drains.sending import DrainJob
from router.errors import StoreUnavailableError
from router.gate.ask import Ask
from router.gate.budgets import Budgets
from router.gate.certificate_reader import CertificateReader
from router.gate.evidence import MemoryEvidence
from router.gate.fast_path import IDLE, FastPath
from router.gate.handover import HandOver
from router.gate.handshake import TlsHandshake
from router.gate.peers import Certificates
from router.gate.platform import PlatformNames
from router.gate.prefetch import CertificatePrefetch
from router.gate.sync import CertificateSync
from router.jobs.activity import LAG, ActivityFeed
from router.jobs.early_checks import EarlyChecks
from router.jobs.runner import Job, Jobs
from router.jobs.secret_uses import SecretUseFeed
from router.node.admin import Admin, ConnectionLog, certificate_application
from router.node.background import open_drains, periodic_jobs
from router.node.challenges import open_responder
from router.node.domain_connect import open_domain_connect
from router.node.operator_acts import OperatorActs
from router.node.operators import open_operators
from router.node.platform_status import PlatformStatus
from router.node.readiness import Readiness
from router.node.rest import server_on
from router.node.services import Services, build_services, delegations_of, destinations_of, open_fetch, open_lookup
from router.node.surroundings import Surroundings
from router.node.zone_certificates import open_delegations, open_zone_jobs
from router.observe.log_levels import LogLevels
from router.observe.metrics import Metrics
from router.operator.processes import Answers, ask_all
from router.operator.server import OperatorServer
from router.outbound.health import HttpHealthCheck
from router.outbound.webhooks import WebhookSender
from router.records.kept import KeptRecords
from router.records.replays import Carrier
from router.routes.error_notes import ErrorNotes
from router.routes.explain import Explainer
from router.routes.host_notes import HostNotes
from router.routes.resolver import Resolver
from router.settings import Settings
from router.store import Store
from router.tenancy.deliveries import Deliveries
from router.tenancy.waking import Wakes

if TYPE_CHECKING:
    from router.api.server import ApiServer
    from router.cache import SharedCache
    from router.node.ipc.control_side import ControlSide

_GATHERED_LATE = 30.0  # seconds by which a worker may be late with what it has seen
_WAITED = 0.75  # of an attempt's time that we wait in Caddy for its end
_VISIT_TIME = 10.0  # seconds for a handshake about a name that was reached just now
_SHUTDOWN = 2.0  # seconds for requests to the admin listener to end


class Control:
    """See the module. `used(since)` says when each resource was last used by this process's traffic, `secret_uses(since)`
    when each secret was. `state`: see `Readiness`."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        resolver: Resolver,
        evidence: MemoryEvidence,
        budgets: Budgets,
        sync: CertificateSync | None,
        handover: HandOver | None,
        metrics: Metrics,
        clock: Clock,
        control_side: "ControlSide | None",
        shared: "SharedCache | None",
        own_listeners: Collection[tuple[str, int]],
        used: Callable[[float], Mapping[str, float]],
        secret_uses: Callable[[float], Mapping[str, float]],
        host_notes: HostNotes,
        error_notes: ErrorNotes,
        wakes: Wakes | None,
        kept: KeptRecords | None,
        carrier: Carrier | None,
        answers: Answers,
        levels: LogLevels,
        state: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._resolver = resolver
        self._evidence = evidence
        self._budgets = budgets
        self._sync = sync
        self._handover = handover
        self._metrics = metrics
        self._clock = clock
        self._control_side = control_side
        self._shared = shared
        self._own_listeners = own_listeners
        self._used = used
        self._secret_uses = secret_uses
        self._host_notes = host_notes
        self._error_notes = error_notes
        self._wakes = wakes
        self._kept = kept
        self._carrier = carrier
        self._answers = answers
        self._levels = levels
        self._watch = ClockWatch(clock)
        self._stack = AsyncExitStack()
        self._tasks = Tasks("control")
        self._surroundings = Surroundings(
            store,
            store.certificate_log if "jobs" in settings.roles else None,
            folders=settings.folders(),
            metrics=metrics,
            clock=clock,
        )
        self._readiness = Readiness(
            settings.roles,
            state=state,
            control_side=control_side,
            shared=shared,
            handover=handover,
            surroundings=self._surroundings,
            watch=self._watch,
        )
        self._api: ApiServer | None = None
        self._operators: OperatorServer | None = None
        self._jobs: Jobs | None = None
        self._deliveries: Deliveries | None = None
        self._drains: DrainJob | None = None

    async def start(self, sockets: Mapping[str, socket.socket]) -> None:
        """Serve those of the listeners that are there, and begin with the jobs. Raises OSError, SettingsError."""
        settings, clock, stack, store, metrics = self._settings, self._clock, self._stack, self._store, self._metrics
        lookup = await stack.enter_async_context(open_lookup(settings, clock, metrics))
        fetch = open_fetch(settings, clock, lookup)
        probe = await stack.enter_async_context(HttpHealthCheck())
        own_listeners = self._own_listeners
        connect = await stack.enter_async_context(
            open_domain_connect(
                store,
                settings,
                clock,
                lookup=lookup,
                destinations=destinations_of(settings, own_listeners),
                delegations=delegations_of(store, settings, clock),
            )
        )
        services = build_services(
            store,
            settings,
            clock,
            lookup=lookup,
            fetch=fetch,
            probe=probe,
            own_listeners=own_listeners,
            in_doubt=self._readiness.in_doubt,
            host_notes=self._host_notes,
            error_notes=self._error_notes,
            box=SecretBox(settings.secret_keys()),
            recent_uses=None if self._shared is None else self._shared.uses,
            domain_connect=connect,
            kept=self._kept,
            on_audit_lost=lambda number: metrics.count("audit_entries_lost", by=number),
            carrier=self._carrier,
        )
        stack.push_async_callback(services.audit.close)
        self._tasks.start("store audit entries", services.audit.run())
        stack.push_async_callback(services.publishing.close)
        with suppress(StoreUnavailableError):  # the job makes them when it is there
            await services.signing_keys.make()
        early_checks = EarlyChecks(schedule_now=services.checks.schedule_now, clock=clock)
        stack.push_async_callback(early_checks.close)
        public_suffixes()  # else the first ask would wait for it
        self._readiness.platform = platform = PlatformNames(
            settings.platform_domain,
            budgets=self._budgets,
            evidence=self._evidence,
            settings=settings.gate,
            held=self._handover,
            metrics=metrics,
            clock=clock,
        )
        platform.advise()
        readings = self._read_certificates()
        ask = Ask(
            routes=self._resolver,
            evidence=self._evidence,
            budgets=self._budgets,
            metrics=metrics,
            clock=clock,
            certificates=store.certificate_log,
            handover=self._handover,
            on_pending=early_checks,
            on_issued=None if readings is None else readings.issued,
        )
        if "admin" in sockets and self._handover is not None:
            await self._serve_admin(ask, self._handover, sockets)

        async def find_tenant(id_or_slug: str) -> str:
            return (await services.tenants.find(id_or_slug)).id

        opening = open_operators(
            settings,
            self._answers,
            self._control_side,
            find_tenant=find_tenant,
            levels=self._levels,
            gauge=metrics.now,
            clock=clock,
            on_act=OperatorActs(services.audit, store, settings.platform_domain),
        )
        self._operators = await stack.enter_async_context(opening)
        responder = open_responder(settings, sockets, store.txt_source, metrics, clock)
        if responder is not None:
            stack.push_async_callback(responder.close)
        self._tasks.start("look at the surroundings", self._surroundings.run())
        activity = self._activity(services)
        if self._control_side is not None or "proxy" in sockets:
            self._tasks.start("copy activity", activity.run())
            self._tasks.start("copy uses of secrets", self._secret_use_feed(services).run())
        if "api" in sockets:
            settled = self._control_side.settled if self._control_side is not None else None
            self._api = server = server_on(
                store,
                services,
                settings,
                activity,
                explain=self._resolver.explain,
                status=PlatformStatus(
                    settings,
                    self._readiness,
                    partial(ask_all, self._answers, self._control_side),
                    gauge=metrics.now,
                    clock=clock,
                ),
                settled=settled,
                shared_counts=None if self._shared is None else self._shared.counts,
                clock=clock,
            )
            stack.push_async_callback(server.close)
            await server.start(sockets["api"])
        if "jobs" in settings.roles:
            courier = WebhookSender(lookup, destinations_of(settings, own_listeners), clock)
            self._deliveries = Deliveries(store, clock, sender=courier, metrics=metrics)
            self._drains = open_drains(
                settings, store, self._kept, lookup, own_listeners=own_listeners, metrics=metrics, clock=clock
            )
            periodic = periodic_jobs(
                settings,
                store,
                services,
                self._deliveries,
                self._drains,
                self._wakes,
                uses=None if self._shared is None else self._shared.uses,
                watch=self._watch,
                attempts_kept=self._budgets.kept,
                metrics=metrics,
                clock=clock,
            )
            zone_jobs = await self._zone_jobs(lookup)
            jobs = [*periodic, *zone_jobs, self._warm(services, ask)]
            self._readiness.jobs = self._jobs = Jobs(
                jobs,
                leases=store.leases,
                metrics=metrics,
                clock=clock,
                commits=store.commits,
                due_in=store.due_in,
            )
            stack.push_async_callback(self._jobs.close)
            stack.push_async_callback(self._close_senders)
            self._jobs.start()

    async def release_jobs(self) -> None:
        """Stop the jobs and release their leases, so that other nodes may run them at once."""
        await self._close_senders()  # before the leases are released: results are written under them
        if self._jobs is not None:
            await self._jobs.close()

    async def _close_senders(self) -> None:
        if self._deliveries is not None:
            await self._deliveries.close()
        if self._drains is not None:
            await self._drains.close()

    async def drain(self) -> None:
        """Take no more requests to the API, and let those end that are there."""
        if self._operators is not None:
            self._operators.drain()
        if self._api is not None:
            await self._api.close()

    async def close(self) -> None:
        """End everything now."""
        await self._tasks.close()
        await self._stack.aclose()

    async def _serve_admin(self, ask: Ask, handover: HandOver, sockets: Mapping[str, socket.socket]) -> None:
        metrics, clock = self._metrics, self._clock
        certificates = Certificates(handover, metrics=metrics, clock=clock)
        explainer = Explainer(
            resolver=self._resolver,
            gate=ask.judge,
            clock=self._clock,
            notes=self._host_notes,
            errors=self._error_notes,
        )
        admin = Admin(
            ask=ask.answer,
            certificates=certificates,
            metrics=metrics,
            checks=self._readiness.checks(),
            advice=self._readiness.advice(),
            probes=self._readiness.probes(),
            facts=self._readiness.facts,
            gather=self._control_side.figures if self._control_side is not None else None,
            explain=explainer.explain,
        )
        await self._serve(admin.application(), sockets["admin"], certificates, ask)
        listener = self._settings.certificate_listener()
        if "certificate" in sockets and listener is not None:
            given = Certificates(handover, metrics=metrics, clock=clock, authenticated=True)
            await self._serve(certificate_application(given), sockets["certificate"], given, tls=listener.tls)

    async def _serve(
        self,
        application: web.Application,
        listening: socket.socket,
        certificates: Certificates,
        ask: Ask | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Ask and certificates by the fast path, and what is not for that by the application."""
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=ConnectionLog(),
            shutdown_timeout=_SHUTDOWN,
            keepalive_timeout=IDLE,
        )
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - `setup` has made it
        lanes = FastPath(ask, certificates, hand_over=runner.server, tls=tls)
        self._stack.push_async_callback(lanes.close)
        await lanes.start(listening)

    def _holds(self, host: str) -> bool:
        """Whether the router holds a certificate for a host."""
        return self._handover is not None and self._handover.has(host)

    def _activity(self, services: Services) -> ActivityFeed:
        control_side = self._control_side
        return ActivityFeed(
            used=self._used if control_side is None else control_side.used,
            rows=services.resources,
            clock=self._clock,
            gather=None if control_side is None else control_side.gather,
            lag=LAG if control_side is None else _GATHERED_LATE,
            shared=None if self._shared is None else self._shared.uses,
        )

    def _secret_use_feed(self, services: Services) -> SecretUseFeed:
        control_side = self._control_side
        return SecretUseFeed(
            used=self._secret_uses if control_side is None else control_side.secret_uses,
            secrets=services.preview_secrets,
            sessions=services.sessions,
            keys=services.keys,
            issuers=services.trusted_issuers,
            clock=self._clock,
            gather=None if control_side is None else control_side.gather,
        )

    def _read_certificates(self) -> CertificateReader | None:
        """What reads certificates where Caddy can be asked."""
        gate = self._settings.gate
        if gate.caddy is None or self._sync is None:
            return None
        readings = CertificateReader(
            # Longer would be behind Caddy's own end, and begin another attempt there.
            attempts=TlsHandshake(gate.caddy, min(gate.handshake_time, gate.attempt_time * _WAITED)),
            visits=TlsHandshake(gate.caddy, _VISIT_TIME),
            evidence=self._evidence,
            budgets=self._budgets,
            keep=self._sync.read,
            held=self._holds,
            at_once=gate.handshakes,
            clock=self._clock,
        )
        self._stack.push_async_callback(readings.close)
        readings.start()
        return readings

    async def _zone_jobs(self, lookup: Lookup) -> Sequence[Job]:
        """What has zones' certificates ordered and renewed; nothing without an `acme_zone`."""
        settings, acme = self._settings, self._settings.acme()
        delegations = open_delegations(settings, self._store, self._clock, lookup)
        if acme is None or delegations is None:
            return []
        opened = open_zone_jobs(
            acme,
            settings,
            self._store,
            self._clock,
            lookup=lookup,
            delegations=delegations,
            box=SecretBox(settings.secret_keys()),
            metrics=self._metrics,
            in_doubt=self._readiness.in_doubt,
        )
        return await self._stack.enter_async_context(opened)

    def _warm(self, services: Services, ask: Ask) -> Job:
        """What fetches certificates ahead, and makes domains active."""
        gate = self._settings.gate
        prefetch = CertificatePrefetch(
            store=self._store,
            domains=services.custom_domains,
            opinion=ask.opinion,
            handshake=None if gate.caddy is None else TlsHandshake(gate.caddy, gate.handshake_time),
            evidence=self._evidence,
            budgets=self._budgets,
            backoff=gate.backoff,
            at_once=gate.handshakes,
            clock=self._clock,
        )
        self._stack.push_async_callback(prefetch.close)
        # Where nothing is fetched it has to do with commits alone, and not with the time.
        waits = gate.caddy is None
        return Job(name="warm_certificates", every=1.0, within=30.0, work=prefetch.run, rests=True, awaits_time=waits)

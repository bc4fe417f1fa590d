"""The background jobs of a node: each is done by one process of all nodes at a time, under a lease (`jobs/runner.py`).

The jobs' names are values of the label `job` of the metrics (`observe/metric_table.py`).
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from functools import partial

from router.base.clock import Clock, ClockWatch
from router.base.secret_box import SecretBox
from router.domains.checks.schedule import Slice
from router.domains.lookup import Lookup
from router.drains.sending import EVERY as DRAINS_EVERY
from router.drains.sending import DrainJob
from router.jobs.activity import COPY_EVERY, ActivityRows, SharedUses, copy_shared
from router.jobs.domain_checks import SLICES, DomainChecks
from router.jobs.runner import Job
from router.node.services import Services, destinations_of
from router.observe.metrics import Metrics
from router.outbound.log_drains import LogDrainSender
from router.records.kept import KeptRecords
from router.settings import Settings
from router.store import History, Pruning, Store, periods
from router.store.request_records import oldest_to_stay
from router.tenancy import waking
from router.tenancy.deliveries import EVERY, Deliveries


def open_drains(
    settings: Settings,
    store: Store,
    kept: KeptRecords | None,
    lookup: Lookup,
    *,
    own_listeners: Collection[tuple[str, int]],
    metrics: Metrics,
    clock: Clock,
) -> DrainJob | None:
    """What sends tenants' records on; None where requests are not recorded."""
    if kept is None:
        return None
    return DrainJob(
        store,
        clock,
        kept=kept,
        sender=LogDrainSender(lookup, destinations_of(settings, own_listeners), clock),
        box=SecretBox(settings.secret_keys()),
        oldest=partial(oldest_to_stay, retention_hours=settings.records.retention_hours),
        metrics=metrics,
        commits=store.commits,
    )


def periodic_jobs(
    settings: Settings,
    store: Store,
    services: Services,
    deliveries: Deliveries,
    drains: DrainJob | None,
    wakes: waking.Wakes | None,
    *,
    uses: SharedUses | None,
    watch: ClockWatch,
    attempts_kept: float,
    metrics: Metrics,
    clock: Clock,
) -> list[Job]:
    """All of them but the one that fetches certificates. `attempts_kept` is for how many seconds the gate counts attempts
    to get a certificate; `watch` says whether this machine's clock can be trusted before anything old is deleted; `drains` None: requests are
    not recorded; `wakes` None: nothing is ever woken; `uses` None: every node stores its own."""
    now = clock.now
    checks = settings.checks
    guard = store.guard(watch, share=settings.prune_share)
    mending = store.mending()
    history = History(store, guard)
    pruning = Pruning(store, clock, guard, periods(settings, attempts_kept=attempts_kept))

    async def trim_audit_log() -> None:
        await guard.before("audit_entries", timedelta())  # a wrong date tells the oldest from the newest wrongly
        await services.audit.trim()

    async def rotate_signing_keys() -> None:
        await services.signing_keys.make()
        await guard.before("signing_keys", timedelta())  # a wrong date would void every cookie
        await services.signing_keys.rotate()

    def hourly(name: str, work: Callable[[], Awaitable[None]]) -> Job:
        return Job(name=name, every=3600.0, within=60.0, work=lambda _lease: work())

    domain_checks = DomainChecks(
        queue=services.checks,
        verification=services.verification,
        transfers=services.transfers,
        metrics=metrics,
        clock=clock,
        concurrency=checks.at_once,
    )
    metrics.gauge("domain_checks_late_seconds", lambda: domain_checks.late)
    check_domains = [
        Job(
            name="check_domains",
            every=1.0,
            within=60.0,
            work=partial(domain_checks.run, part=Slice(number, SLICES)),
            slice=number,
            rests=True,
            awaits_time=True,
        )
        for number in range(SLICES)
    ]
    watch_wakes = [] if wakes is None else [_watch(wakes)]
    copy_activity = [] if uses is None else [_copy(uses, services.resources)]
    send_drains = [] if drains is None else [_send(drains)]
    return [
        *(check_domains if checks.background else []),
        *watch_wakes,
        *copy_activity,
        *send_drains,
        Job(name="mend_times", every=600.0, within=60.0, work=lambda _lease: mending.run()),
        Job(name="prune", every=3600.0, within=600.0, work=pruning.run),
        hourly("trim_audit_log", trim_audit_log),
        hourly("roll_up_usage", history.roll_up_usage),
        Job(
            name="delete_tenants",
            every=10.0,
            within=600.0,
            work=services.tenant_deletion.run,
            rests=True,
            awaits_time=True,
        ),
        Job(
            name="end_blocks",
            every=1.0,
            within=30.0,
            work=lambda _lease: services.blocks.end_expired(),
            rests=True,
            awaits_time=True,
        ),
        Job(name="deliver_webhooks", every=EVERY, within=10.0, work=deliveries.round, rests=True, awaits_time=True),
        hourly("rotate_signing_keys", rotate_signing_keys),
        Job(name="warn_of_uploads", every=3600.0, within=60.0, work=services.own_certificates.warn),
        Job(name="sum_up_holdings", every=60.0, within=30.0, work=lambda _lease: store.sum_up_holdings()),
        Job(name="trim_outbox", every=60.0, within=30.0, work=lambda _lease: store.feed.trim(now())),
        Job(
            name="fail_lost_builds",
            every=10.0,
            within=30.0,
            work=lambda _lease: services.publishing.fail_overdue(),
            rests=True,
            awaits_time=True,
        ),
    ]


def _copy(uses: SharedUses, rows: ActivityRows) -> Job:
    return Job(name="copy_activity", every=COPY_EVERY, within=25.0, work=lambda _lease: copy_shared(uses, rows))


def _send(drains: DrainJob) -> Job:
    return Job(name="send_log_drains", every=DRAINS_EVERY, within=30.0, work=drains.round)


def _watch(wakes: waking.Wakes) -> Job:
    return Job(name="watch_wakes", every=waking.EVERY, within=10.0, work=lambda _lease: wakes.watch())

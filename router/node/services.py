"""Puts the services together on an open store, once for the API and the command line."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from router.audit.log import AuditLog
from router.base.clock import Clock, SystemClock
from router.base.secret_box import SecretBox
from router.certificates.accounts import AccountKeys
from router.certificates.own import OwnCertificates
from router.certificates.sealed_keys import SealedKeys
from router.certificates.zone_delegations import ZoneDelegations
from router.certificates.zone_status import ZoneStatuses
from router.dns import DnsLookup
from router.domains.checks.apply_custom import CustomResults
from router.domains.checks.apply_preview import PreviewResults
from router.domains.checks.challenge import Fetch
from router.domains.checks.checker import Checker
from router.domains.checks.queue import Queue
from router.domains.checks.verification import Verification
from router.domains.custom_domains import CustomDomains
from router.domains.diagnosis.diagnoser import Diagnoses
from router.domains.domain_connect import DomainConnect
from router.domains.lookup import Lookup
from router.domains.preview_domains import PreviewDomains
from router.domains.transfers import Transfers
from router.drains.log_drains import LogDrains
from router.node.zone_certificates import open_delegations
from router.observe.metrics import Metrics
from router.outbound.challenge import HttpFetch
from router.outbound.health import HttpHealthCheck
from router.outbound.log_drains import LogDrainSender
from router.records.captures import CaptureCodec
from router.records.kept import KeptRecords
from router.records.masking import Masks
from router.records.replays import Carrier, Replays
from router.records.request_logs import RequestLogs
from router.routes.error_notes import ErrorNotes
from router.routes.host_notes import HostNotes
from router.settings import Settings
from router.store import Store, open_store
from router.store.tenant_rows import ORDER
from router.tenancy.blocks import Blocks
from router.tenancy.deployments import Deployments
from router.tenancy.destinations import Destinations
from router.tenancy.env import Env
from router.tenancy.events import Events
from router.tenancy.hand_overs import HandOvers
from router.tenancy.health import Probe
from router.tenancy.host_hints import HostHints
from router.tenancy.keys import Keys
from router.tenancy.logins import Logins
from router.tenancy.passwords import Passwords
from router.tenancy.preview_secrets import PreviewSecrets
from router.tenancy.previews import Previews
from router.tenancy.projects import Projects
from router.tenancy.publishing import Publishing
from router.tenancy.releases import Releases
from router.tenancy.request_captures import RequestCaptures
from router.tenancy.resource_service import Resources
from router.tenancy.sessions import Sessions
from router.tenancy.signing_keys import SigningKeys
from router.tenancy.tenant_deletion import TenantDeletion
from router.tenancy.tenants import Tenants
from router.tenancy.trusted_issuers import TrustedIssuers
from router.tenancy.usage import Usage
from router.tenancy.uses import RecentUses
from router.tenancy.webhooks import Webhooks
from router.tenancy.workspaces import Workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All services on one store."""

    tenants: Tenants
    tenant_deletion: TenantDeletion
    workspaces: Workspaces
    projects: Projects
    usage: Usage
    keys: Keys
    signing_keys: SigningKeys
    resources: Resources
    blocks: Blocks
    previews: Previews
    preview_secrets: PreviewSecrets
    trusted_issuers: TrustedIssuers
    logins: Logins
    sealed_keys: SealedKeys
    account_keys: AccountKeys
    sessions: Sessions
    hand_overs: HandOvers
    passwords: Passwords
    host_hints: HostHints
    error_notes: ErrorNotes
    deployments: Deployments
    releases: Releases
    publishing: Publishing
    env: Env
    custom_domains: CustomDomains
    preview_domains: PreviewDomains
    own_certificates: OwnCertificates
    zone_statuses: ZoneStatuses
    custom_results: CustomResults
    preview_results: PreviewResults
    verification: Verification
    diagnoses: Diagnoses
    events: Events
    webhooks: Webhooks
    log_drains: LogDrains
    checks: Queue
    transfers: Transfers
    domain_connect: DomainConnect | None
    request_logs: RequestLogs
    request_captures: RequestCaptures
    audit: AuditLog
    replays: Replays


def delegations_of(store: Store, settings: Settings, clock: Clock) -> ZoneDelegations | None:
    """What zones may delegate; None where there is no zone of ours for it."""
    return None if settings.acme_zone is None else ZoneDelegations(store, clock, settings.acme_zone)


def destinations_of(settings: Settings, own_listeners: Collection[tuple[str, int]]) -> Destinations:
    """Where webhooks may go, and where the providers of logins and CI systems may be."""
    return Destinations(
        private=settings.webhooks.private_networks,
        backends=settings.backend_networks,
        own_listeners=own_listeners,
    )


def build_services(
    store: Store,
    settings: Settings,
    clock: Clock,
    *,
    lookup: Lookup,
    fetch: Fetch,
    probe: Probe,
    own_listeners: Collection[tuple[str, int]] = (),
    in_doubt: Callable[[], bool] = lambda: False,
    host_notes: HostNotes | None = None,
    error_notes: ErrorNotes | None = None,
    box: SecretBox | None = None,
    recent_uses: RecentUses | None = None,
    domain_connect: DomainConnect | None = None,
    kept: KeptRecords | None = None,
    on_audit_lost: Callable[[int], object] = lambda _number: None,
    carrier: Carrier | None = None,
) -> Services:
    """The services on an open store. `in_doubt`: whether the clock may be wrong. `host_notes`, `error_notes`: what this
    node's traffic has met, `recent_uses`: what all nodes' has used, `kept` where requests are recorded, `carrier`: what sends a request once more, `on_audit_lost` counts entries of the audit log that could not be stored. Without `box` no secret can be stored that has to be read again, and none be read."""
    # A customer who registered one of these would respond in the platform's own name, so they are always reserved.
    reserved = (
        *settings.reserved_domains,
        *settings.special_domains,
        settings.platform_domain,
        settings.login_name,
        settings.verify_target,
        settings.proxy_target,
        *(() if settings.acme_zone is None else (settings.acme_zone,)),
    )
    checker = Checker(
        lookup=lookup,
        fetch=fetch,
        ca=settings.ca,
        targets=(settings.verify_target, settings.proxy_target),
        clock=clock,
    )
    diagnoses = Diagnoses(
        store,
        lookup,
        clock,
        checker=checker,
        verify_target=settings.verify_target,
        proxy_target=settings.proxy_target,
        ca=settings.ca,
        docs_url=settings.error_docs,
        delegations=delegations_of(store, settings, clock),
        platform=settings.platform_domain if settings.acme_zone and settings.acme_platform else None,
    )
    max_domains = settings.domains_per_tenant
    transfers = Transfers(
        store,
        clock,
        checker=checker,
        target=settings.verify_target,
        ask_every=settings.checks.ask_every,
        max_domains=max_domains,
    )
    custom_domains = CustomDomains(
        store, clock, proofs=transfers, reserved=reserved, target=settings.verify_target, max_domains=max_domains
    )
    preview_domains = PreviewDomains(store, clock, proofs=transfers, reserved=reserved, max_domains=max_domains)
    custom_results = CustomResults(store, clock, ask_every=settings.checks.ask_every, in_doubt=in_doubt)
    preview_results = PreviewResults(store, clock, ask_every=settings.checks.ask_every, in_doubt=in_doubt)
    resources = Resources(
        store,
        clock,
        networks=settings.backend_networks,
        own_listeners=own_listeners,
        reserved_ports=settings.reserved_ports,
        recent=recent_uses,
    )
    destinations = destinations_of(settings, own_listeners)
    codec = (
        CaptureCodec(Masks(settings.records.masked_names), box or SecretBox()) if settings.records.captures else None
    )
    listeners = settings.records.listeners_per_tenant
    request_logs = RequestLogs(kept, clock, listeners_per_tenant=listeners, codec=codec)
    return Services(
        tenants=Tenants(store, clock),
        tenant_deletion=TenantDeletion(store, clock, order=ORDER, records=kept),
        workspaces=Workspaces(store, clock),
        projects=Projects(store, clock),
        usage=Usage(store, clock, rates=settings.credits),
        keys=Keys(store, clock),
        signing_keys=SigningKeys(store, clock),
        resources=resources,
        blocks=Blocks(store, clock),
        previews=Previews(store, clock, reserved_ports=settings.reserved_ports),
        preview_secrets=PreviewSecrets(store, clock),
        trusted_issuers=TrustedIssuers(store, clock, destinations=destinations),
        logins=Logins(store, clock, box=box or SecretBox(), destinations=destinations),
        sealed_keys=SealedKeys(store, clock, box=box or SecretBox()),
        account_keys=AccountKeys(store, box=box or SecretBox()),
        sessions=Sessions(store, clock),
        hand_overs=HandOvers(store, clock),
        passwords=Passwords(store, clock),
        host_hints=HostHints(store, host_notes or HostNotes()),
        error_notes=error_notes or ErrorNotes(),
        deployments=Deployments(store, clock, resources=resources),
        releases=Releases(store, clock),
        publishing=Publishing(
            store,
            clock,
            probe=probe,
            networks=settings.backend_networks,
            own_listeners=own_listeners,
            reserved_ports=settings.reserved_ports,
            check_time=settings.limits.publish_check,
        ),
        env=Env(store, clock),
        custom_domains=custom_domains,
        preview_domains=preview_domains,
        own_certificates=OwnCertificates(store, clock, box=box or SecretBox()),
        custom_results=custom_results,
        preview_results=preview_results,
        verification=Verification(
            custom_domains=custom_domains,
            preview_domains=preview_domains,
            custom_results=custom_results,
            preview_results=preview_results,
            checker=checker,
            diagnoses=diagnoses,
        ),
        diagnoses=diagnoses,
        events=Events(store),
        webhooks=Webhooks(store, clock, destinations=destinations),
        log_drains=LogDrains(
            store,
            clock,
            kept=kept,
            sender=LogDrainSender(lookup, destinations, clock),
            destinations=destinations,
            box=box or SecretBox(),
        ),
        checks=Queue(store, clock),
        transfers=transfers,
        domain_connect=domain_connect,
        request_logs=request_logs,
        replays=Replays(request_logs, clock, codec=codec, carrier=carrier),
        request_captures=RequestCaptures(store, clock),
        audit=AuditLog(
            store,
            clock,
            max_entries=settings.audit.max_entries_per_tenant,
            on_lost=on_audit_lost,
        ),
        zone_statuses=ZoneStatuses(store, clock, delegations=open_delegations(settings, store, clock, lookup)),
    )


@asynccontextmanager
async def open_lookup(settings: Settings, clock: Clock, metrics: Metrics | None = None) -> AsyncIterator[DnsLookup]:
    """DNS, as the settings say."""
    lookup = DnsLookup(settings.dns_servers, clock, metrics=metrics)
    try:
        yield lookup
    finally:
        await lookup.close()


def open_fetch(settings: Settings, clock: Clock, lookup: Lookup) -> HttpFetch:
    """The client that fetches challenges from domains behind a CDN."""
    return HttpFetch(lookup, clock, networks=settings.checks.networks, port=settings.checks.http_port)


@asynccontextmanager
async def open_services(settings: Settings, *, secrets: bool = False) -> AsyncIterator[Services]:
    """The services for one command. With `secrets` they read and store those that are encrypted: most commands need no key for
    that, and who runs them may not read its file. Raises StoreUnavailableError, SettingsError."""
    clock = SystemClock()
    async with (
        open_store(settings, clock) as store,
        open_lookup(settings, clock) as lookup,
        HttpHealthCheck() as probe,
    ):
        fetch = open_fetch(settings, clock, lookup)
        box = SecretBox(settings.secret_keys() if secrets else ())
        yield build_services(store, settings, clock, lookup=lookup, fetch=fetch, probe=probe, box=box)

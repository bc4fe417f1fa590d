"""What people and programs can do to the store, put together once: the API and the command line share it."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from router.clock import Clock, SystemClock
from router.dns import DnsLookup
from router.domains.challenge import Fetch
from router.domains.custom import CustomDomains
from router.domains.custom_life import CustomLife
from router.domains.diagnoses import Diagnoses
from router.domains.looking import Looker
from router.domains.lookup import Lookup
from router.domains.preview import PreviewDomains
from router.domains.preview_life import PreviewLife
from router.domains.queue import Queue
from router.domains.takeovers import Takeovers
from router.domains.verification import Verification
from router.fetch import HttpFetch
from router.observe.metrics import Metrics
from router.probe import HttpProbe
from router.settings import Settings
from router.store import Store, open_store
from router.tenancy.checks import Probe
from router.tenancy.deployments import Deployments
from router.tenancy.destinations import Destinations
from router.tenancy.env import Env
from router.tenancy.events import Events
from router.tenancy.keys import Keys
from router.tenancy.previews import Previews
from router.tenancy.projects import Projects
from router.tenancy.publishing import Publishing
from router.tenancy.registry import Resources
from router.tenancy.releases import Releases
from router.tenancy.tenants import Tenants
from router.tenancy.usage import Usage
from router.tenancy.webhooks import Webhooks
from router.tenancy.workspaces import Workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbs:
    """What can be done, on one store."""

    tenants: Tenants
    workspaces: Workspaces
    projects: Projects
    usage: Usage
    keys: Keys
    resources: Resources
    previews: Previews
    deployments: Deployments
    releases: Releases
    publishing: Publishing
    env: Env
    custom_domains: CustomDomains
    preview_domains: PreviewDomains
    verification: Verification
    diagnoses: Diagnoses
    events: Events
    webhooks: Webhooks
    checks: Queue
    takeovers: Takeovers


def destinations_of(settings: Settings, own_listeners: Collection[tuple[str, int]]) -> Destinations:
    """Where webhooks may go."""
    return Destinations(
        private=settings.webhooks.private_networks,
        backends=settings.backend_networks,
        own_listeners=own_listeners,
    )


def verbs_on(
    store: Store,
    settings: Settings,
    clock: Clock,
    *,
    lookup: Lookup,
    fetch: Fetch,
    probe: Probe,
    own_listeners: Collection[tuple[str, int]] = (),
) -> Verbs:
    """The verbs on an open store."""
    # Whoever registered one of these would answer for the platform itself, whatever else the operator reserves.
    reserved = (*settings.reserved_domains, settings.platform_domain, settings.verify_target, settings.proxy_target)
    looker = Looker(
        lookup=lookup,
        fetch=fetch,
        ca=settings.ca,
        targets=(settings.verify_target, settings.proxy_target),
        clock=clock,
    )
    takeovers = Takeovers(
        store, clock, looker=looker, target=settings.verify_target, ask_every=settings.checks.ask_every
    )
    custom_domains = CustomDomains(store, clock, proofs=takeovers, reserved=reserved, target=settings.verify_target)
    preview_domains = PreviewDomains(store, clock, proofs=takeovers, reserved=reserved)
    resources = Resources(
        store,
        clock,
        networks=settings.backend_networks,
        own_listeners=own_listeners,
        reserved_ports=settings.reserved_ports,
    )
    return Verbs(
        tenants=Tenants(store, clock),
        workspaces=Workspaces(store, clock),
        projects=Projects(store, clock),
        usage=Usage(store, clock, rates=settings.credits),
        keys=Keys(store, clock),
        resources=resources,
        previews=Previews(store, clock, reserved_ports=settings.reserved_ports),
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
        verification=Verification(
            custom_domains=custom_domains,
            preview_domains=preview_domains,
            custom_life=CustomLife(store, clock, ask_every=settings.checks.ask_every),
            preview_life=PreviewLife(store, clock, ask_every=settings.checks.ask_every),
            looker=looker,
        ),
        diagnoses=Diagnoses(
            store,
            lookup,
            clock,
            verify_target=settings.verify_target,
            proxy_target=settings.proxy_target,
            ca=settings.ca,
            docs_url=settings.docs_url,
        ),
        events=Events(store, clock, retention=settings.event_retention),
        webhooks=Webhooks(store, clock, destinations=destinations_of(settings, own_listeners)),
        checks=Queue(store, clock),
        takeovers=takeovers,
    )


@asynccontextmanager
async def open_lookup(settings: Settings, clock: Clock, metrics: Metrics | None = None) -> AsyncIterator[Lookup]:
    """DNS, as the settings say."""
    lookup = DnsLookup(settings.dns_servers, clock, metrics=metrics)
    try:
        yield lookup
    finally:
        await lookup.close()


def open_fetch(settings: Settings, clock: Clock, lookup: Lookup) -> HttpFetch:
    """What asks domains behind a CDN whether they lead to us; to be entered."""
    return HttpFetch(lookup, clock, networks=settings.checks.networks, port=settings.checks.http_port)


@asynccontextmanager
async def open_verbs(settings: Settings) -> AsyncIterator[Verbs]:
    """The verbs for one command. Raises StoreUnavailableError."""
    clock = SystemClock()
    async with (
        open_store(settings, clock) as store,
        open_lookup(settings, clock) as lookup,
        open_fetch(settings, clock, lookup) as fetch,
        HttpProbe() as probe,
    ):
        yield verbs_on(store, settings, clock, lookup=lookup, fetch=fetch, probe=probe)

"""What the API serves: every resource of it, given the verbs that it speaks for; and the server in front of them."""

from collections.abc import Awaitable, Callable
from importlib.metadata import version

from router.api.api_keys import ApiKeysApi
from router.api.auth import Credentials
from router.api.computer_ports import ComputerPorts
from router.api.computers import ComputersApi
from router.api.custom_domains import ComputerDomains, DeploymentDomains, FlatDomains
from router.api.deployments import DeploymentsApi, DeploymentShowcase
from router.api.diagnosis import SURFACES as DIAGNOSES
from router.api.docs import pages
from router.api.endpoint import Resource
from router.api.env import EnvApi
from router.api.events import EventsApi
from router.api.internal.activity import Activity, InternalActivity
from router.api.internal.endpoints import InternalEndpoints
from router.api.internal.env import InternalEnv
from router.api.internal.resources import InternalResources
from router.api.links import Links
from router.api.listener import Api
from router.api.machines import Showcase
from router.api.openapi import document
from router.api.preview_domains import ProjectPreviewDomain, TenantPreviewDomain, WorkspacePreviewDomain
from router.api.previews import SandboxPreviews
from router.api.projects import ProjectsApi
from router.api.publishing import PublishingApi
from router.api.rates import MemoryLimiter
from router.api.sandboxes import SandboxesApi
from router.api.server import ApiServer
from router.api.table import Table
from router.api.tenant import TenantApi
from router.api.tokens import Tokens
from router.api.versions import VersionsApi
from router.api.webhooks import WebhooksApi
from router.api.workspace_machines import WorkspaceMachines
from router.api.workspace_reports import WorkspaceReportsApi
from router.api.workspaces import WorkspacesApi
from router.clock import Clock
from router.domains.urls import Urls
from router.settings import Settings
from router.store import Store
from router.verbs import Verbs


def resources_on(verbs: Verbs, settings: Settings, activity: Activity) -> list[Resource]:
    """What the API serves, in the order of its documentation."""
    urls = Urls.of(settings)
    links = Links(preview_domains=verbs.preview_domains, urls=urls)
    showcase = Showcase(resources=verbs.resources, links=links)
    deployments = DeploymentShowcase(places=verbs.resources, links=links)
    return [
        WorkspacesApi(verbs.workspaces),
        WorkspaceReportsApi(workspaces=verbs.workspaces, projects=verbs.projects, usage=verbs.usage),
        WorkspaceMachines(workspaces=verbs.workspaces, resources=verbs.resources, showcase=showcase),
        ProjectsApi(verbs.projects),
        ApiKeysApi(verbs.keys),
        TenantApi(verbs.tenants, limits=settings.limits, rates=settings.rates),
        SandboxesApi(resources=verbs.resources, showcase=showcase),
        SandboxPreviews(resources=verbs.resources, previews=verbs.previews, links=links),
        ComputersApi(resources=verbs.resources, showcase=showcase),
        ComputerPorts(resources=verbs.resources, previews=verbs.previews, links=links),
        DeploymentsApi(
            deployments=verbs.deployments,
            workspaces=verbs.workspaces,
            projects=verbs.projects,
            showcase=deployments,
        ),
        PublishingApi(
            deployments=verbs.deployments,
            publishing=verbs.publishing,
            outcome=verbs.releases,
            sandboxes=verbs.resources,
            domains=verbs.custom_domains,
            showcase=deployments,
        ),
        VersionsApi(deployments=verbs.deployments, releases=verbs.releases, showcase=deployments),
        EnvApi(deployments=verbs.deployments, env=verbs.env),
        *(
            surface(domains=verbs.custom_domains, verification=verbs.verification, resources=verbs.resources)
            for surface in (ComputerDomains, DeploymentDomains, FlatDomains)
        ),
        *(
            surface(
                previews=verbs.preview_domains,
                verification=verbs.verification,
                workspaces=verbs.workspaces,
                projects=verbs.projects,
                urls=urls,
                target=settings.proxy_target,
            )
            for surface in (TenantPreviewDomain, WorkspacePreviewDomain, ProjectPreviewDomain)
        ),
        *(
            surface(
                doctor=verbs.diagnoses,
                domains=verbs.custom_domains,
                machines=verbs.resources,
                previews=verbs.preview_domains,
                workspaces=verbs.workspaces,
                projects=verbs.projects,
            )
            for surface in DIAGNOSES
        ),
        EventsApi(verbs.events),
        WebhooksApi(webhooks=verbs.webhooks, workspaces=verbs.workspaces, projects=verbs.projects),
        InternalResources(verbs.resources),
        InternalEndpoints(verbs.resources.endpoints),
        InternalActivity(activity),
        InternalEnv(verbs.env),
    ]


def server_on(
    store: Store,
    verbs: Verbs,
    settings: Settings,
    activity: Activity,
    *,
    settled: Callable[[], Awaitable[None]] | None,
    clock: Clock,
) -> ApiServer:
    """The API's server. It answers a change when `settled` has returned: then the node's workers know of it."""
    token = settings.internal_token
    table = Table(resources_on(verbs, settings, activity))
    api = Api(
        table,
        pages=pages(document(table, version=version("miosa-router"))),
        authenticator=Credentials(
            keys=verbs.keys,
            tokens=Tokens(settings.jwt, clock),
            tenants=verbs.tenants,
            workspaces=verbs.workspaces,
            projects=verbs.projects,
            internal_token=token.get_secret_value() if token is not None else None,
        ),
        idempotency=store.idempotency,
        limiter=MemoryLimiter(clock),
        rates=settings.rates,
        clock=clock,
        trusted_proxies=settings.trusted_proxies,
    )
    return ApiServer(api, drain=settings.limits.drain_requests, settled=settled)

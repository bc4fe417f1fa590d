"""Puts the REST API together: the handlers with the services that they call, and the server in front of them."""

from collections.abc import Awaitable, Callable
from importlib.metadata import version

from router.access.token_verifier import TokenVerifier
from router.api.api_keys import ApiKeysApi
from router.api.audit_log import AuditLogApi
from router.api.auth import Credentials
from router.api.certificates import CustomCertificates, ProjectCertificate, TenantCertificate, WorkspaceCertificate
from router.api.computer_ports import ComputerPorts
from router.api.computers import ComputersApi
from router.api.connect_page import return_page
from router.api.console_session import LOGIN_PATH, ConsoleLoginApi, ConsoleSessionApi, login_page
from router.api.cors import Cors
from router.api.custom_domains import ComputerDomains, DeploymentDomains, FlatDomains
from router.api.deployment_reports import DeploymentReports
from router.api.deployments import DeploymentPresenter, DeploymentsApi
from router.api.diagnosis import HANDLERS as DIAGNOSES
from router.api.docs import pages
from router.api.env import EnvApi
from router.api.events import EventsApi
from router.api.explain import Explain, ExplainApi
from router.api.identity_keys import IdentityKeysApi
from router.api.internal.activity import Activity, InternalActivity
from router.api.internal.blocks import InternalBlocks
from router.api.internal.endpoints import InternalEndpoints
from router.api.internal.env import InternalEnv
from router.api.internal.resources import InternalResources
from router.api.internal.tenants import InternalTenants
from router.api.links import Links
from router.api.listener import Api
from router.api.log_drains import LogDrainsApi
from router.api.login import LoginApi
from router.api.machines import Presenter
from router.api.metrics import MetricsApi
from router.api.openapi import document
from router.api.operations import Handlers
from router.api.platform import PlatformApi, ReadStatus
from router.api.preview_domains import ProjectPreviewDomain, TenantPreviewDomain, WorkspacePreviewDomain
from router.api.preview_passwords import ComputerPasswords, SandboxPasswords
from router.api.preview_secrets import ComputerSecrets, SandboxSecrets
from router.api.previews import PreviewPresenter, SandboxPreviews
from router.api.project_reports import ProjectReportsApi
from router.api.projects import ProjectsApi
from router.api.publishing import PublishingApi
from router.api.rates import RateLimiter, SharedCounts
from router.api.request_captures import HANDLERS as REQUEST_CAPTURES
from router.api.request_captures import CapturedRequests
from router.api.request_logs import HANDLERS as REQUEST_LOGS
from router.api.sandboxes import SandboxesApi
from router.api.server import ApiServer
from router.api.table import Table
from router.api.tenant import TenantApi
from router.api.tenant_reports import TenantReports
from router.api.trusted_issuers import TrustedIssuersApi
from router.api.versions import VersionsApi
from router.api.webhooks import WebhooksApi
from router.api.whoami import WhoamiApi
from router.api.workspace_machines import WorkspaceMachines
from router.api.workspace_reports import WorkspaceReportsApi
from router.api.workspaces import WorkspacesApi
from router.base.clock import Clock
from router.console.assets import console_pages
from router.domains.urls import Urls
from router.node.services import Services
from router.settings import Settings
from router.settings.domain_connect import RETURN_PATH
from router.store import Store


def handlers_of(
    services: Services, settings: Settings, activity: Activity, clock: Clock, explain: Explain, status: ReadStatus
) -> list[Handlers]:
    """All handlers, in the order of the documentation. `explain` decides where a host leads, `status` reads how the node is."""
    urls = Urls.of(settings)
    links = Links(preview_domains=services.preview_domains, urls=urls)
    presenter = Presenter(resources=services.resources, blocks=services.blocks, links=links)
    exposed = PreviewPresenter(
        previews=services.previews,
        secrets=services.preview_secrets,
        passwords=services.passwords,
        links=links,
        hints=services.host_hints,
        errors=services.error_notes,
    )
    deployments = DeploymentPresenter(places=services.resources, blocks=services.blocks, links=links)
    return [
        WorkspacesApi(services.workspaces),
        WorkspaceReportsApi(workspaces=services.workspaces, projects=services.projects, usage=services.usage),
        WorkspaceMachines(workspaces=services.workspaces, resources=services.resources, presenter=presenter),
        ProjectsApi(services.projects),
        ProjectReportsApi(projects=services.projects, resources=services.resources, domains=services.custom_domains),
        WhoamiApi(tenants=services.tenants, workspaces=services.workspaces, projects=services.projects),
        ApiKeysApi(services.keys),
        IdentityKeysApi(services.signing_keys, clock),
        TenantApi(services.tenants, limits=settings.limits, rates=settings.rates),
        TrustedIssuersApi(services.trusted_issuers, workspaces=services.workspaces, projects=services.projects),
        LoginApi(logins=services.logins, sessions=services.sessions, redirect_uri=settings.redirect_uri),
        ConsoleLoginApi(
            hand_overs=services.hand_overs,
            sessions=services.sessions,
            audit=services.audit,
            origin=settings.console.sign_in,
        ),
        ConsoleSessionApi(services.sessions),
        SandboxesApi(resources=services.resources, presenter=presenter),
        SandboxPreviews(resources=services.resources, previews=services.previews, links=links, presenter=exposed),
        SandboxSecrets(
            resources=services.resources,
            previews=services.previews,
            secrets=services.preview_secrets,
            links=links,
            presenter=exposed,
        ),
        SandboxPasswords(
            resources=services.resources,
            previews=services.previews,
            passwords=services.passwords,
            presenter=exposed,
        ),
        ComputersApi(resources=services.resources, presenter=presenter),
        ComputerPorts(resources=services.resources, previews=services.previews, links=links, presenter=exposed),
        ComputerSecrets(
            resources=services.resources,
            previews=services.previews,
            secrets=services.preview_secrets,
            links=links,
            presenter=exposed,
        ),
        ComputerPasswords(
            resources=services.resources,
            previews=services.previews,
            passwords=services.passwords,
            presenter=exposed,
        ),
        DeploymentsApi(
            deployments=services.deployments,
            resources=services.resources,
            workspaces=services.workspaces,
            projects=services.projects,
            presenter=deployments,
        ),
        PublishingApi(
            deployments=services.deployments,
            publishing=services.publishing,
            outcome=services.releases,
            sandboxes=services.resources,
            domains=services.custom_domains,
            presenter=deployments,
        ),
        VersionsApi(deployments=services.deployments, releases=services.releases, presenter=deployments),
        EnvApi(deployments=services.deployments, env=services.env),
        *(
            handlers(
                domains=services.custom_domains,
                verification=services.verification,
                resources=services.resources,
                blocks=services.blocks,
                connect=services.domain_connect,
            )
            for handlers in (ComputerDomains, DeploymentDomains, FlatDomains)
        ),
        CustomCertificates(services.own_certificates, domains=services.custom_domains),
        *(
            handlers(
                previews=services.preview_domains,
                verification=services.verification,
                workspaces=services.workspaces,
                projects=services.projects,
                urls=urls,
                target=settings.proxy_target,
                connect=services.domain_connect,
                zones=services.zone_statuses,
            )
            for handlers in (TenantPreviewDomain, WorkspacePreviewDomain, ProjectPreviewDomain)
        ),
        TenantCertificate(services.own_certificates),
        WorkspaceCertificate(services.own_certificates, workspaces=services.workspaces),
        ProjectCertificate(services.own_certificates, projects=services.projects),
        *(
            handlers(
                doctor=services.diagnoses,
                domains=services.custom_domains,
                machines=services.resources,
                previews=services.preview_domains,
                workspaces=services.workspaces,
                projects=services.projects,
            )
            for handlers in DIAGNOSES
        ),
        *(
            handlers(
                logs=services.request_logs,
                resources=services.resources,
                deployments=services.deployments,
                domains=services.custom_domains,
            )
            for handlers in REQUEST_LOGS
        ),
        *(
            handlers(
                captures=services.request_captures,
                logs=services.request_logs,
                resources=services.resources,
                deployments=services.deployments,
            )
            for handlers in REQUEST_CAPTURES
        ),
        CapturedRequests(logs=services.request_logs, replays=services.replays, resources=services.resources),
        DeploymentReports(logs=services.request_logs, deployments=services.deployments),
        TenantReports(services.request_logs),
        MetricsApi(logs=services.request_logs, resources=services.resources),
        AuditLogApi(services.audit),
        EventsApi(services.events),
        ExplainApi(
            explain,
            domains=services.custom_domains,
            previews=services.preview_domains,
            hints=services.host_hints,
            errors=services.error_notes,
        ),
        WebhooksApi(webhooks=services.webhooks, workspaces=services.workspaces, projects=services.projects),
        LogDrainsApi(services.log_drains),
        PlatformApi(status, services.tenants),
        InternalResources(services.resources),
        InternalBlocks(services.blocks),
        InternalTenants(services.tenant_deletion),
        InternalEndpoints(services.resources.endpoints),
        InternalActivity(activity),
        InternalEnv(services.env),
    ]


def credentials_of(services: Services, settings: Settings, clock: Clock) -> Credentials:
    """Who may call the API: keys, tokens and sessions of the store, and the platform if the settings have an internal token."""
    token = settings.internal_token
    return Credentials(
        keys=services.keys,
        tokens=TokenVerifier(settings.jwt, clock),
        tenants=services.tenants,
        workspaces=services.workspaces,
        projects=services.projects,
        sessions=services.sessions,
        internal_token=token.get_secret_value() if token is not None else None,
    )


def server_on(
    store: Store,
    services: Services,
    settings: Settings,
    activity: Activity,
    *,
    explain: Explain,
    status: ReadStatus,
    settled: Callable[[], Awaitable[None]] | None,
    shared_counts: SharedCounts | None,
    clock: Clock,
) -> ApiServer:
    """The API's server. It responds to a change when `settled` has returned: then the node's workers know of it.
    With `shared_counts` rate limits hold for all nodes together."""
    table = Table(handlers_of(services, settings, activity, clock, explain, status))
    ours = version("miosa-router")
    found = pages(lambda: document(table, version=ours), version=ours, console=settings.console.enabled)
    if services.domain_connect is not None:
        found[RETURN_PATH] = return_page(services.domain_connect)
    sign_in = settings.console.sign_in
    if sign_in is not None:
        found[LOGIN_PATH] = login_page(sign_in, settings.login_url)
    api = Api(
        table,
        pages=found,
        assets=(
            console_pages(idle_timeout=settings.console.idle_timeout, sign_in=sign_in)
            if settings.console.enabled
            else None
        ),
        authenticator=credentials_of(services, settings, clock),
        idempotency=store.idempotency,
        limiter=RateLimiter(clock, shared_counts),
        rates=settings.rates,
        clock=clock,
        trusted_proxies=settings.trusted_proxies,
        docs_url=settings.error_docs,
        audit=services.audit,
        cors=Cors(settings.cors_origins),
        one_transaction=store.ambient,
    )
    return ApiServer(api, drain=settings.limits.drain_requests, settled=settled)

"""Preview domains: of the tenant, of a workspace, of a project. The responses have no envelope, as their pages show."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import project_in, tenant_of, workspace_in
from router.api.custom_domains import CONNECT_TIME
from router.api.models import DnsProviderOut, Exact, HostName, Instant, Out, RecordOut
from router.api.operations import Bare, Call, Handlers, operation
from router.api.principal import Access
from router.certificates.zone_status import Mode, ZoneState, ZoneStatus, ZoneStatuses
from router.domains.checks.judgement import Check
from router.domains.checks.verification import Verification
from router.domains.dns_providers import provider_noted
from router.domains.domain_connect import DomainConnect
from router.domains.names import MAX_ZONE
from router.domains.preview_domains import PreviewDomain, PreviewDomains, PreviewSetting
from router.domains.urls import Urls
from router.errors import CHECKED_JUST_NOW, CONFLICT, NOT_FOUND
from router.hostname import default_host, sandbox_host
from router.routes.records import Scope
from router.tenancy.projects import Projects
from router.tenancy.workspaces import Workspaces

NOT_CONFIGURED = "not_configured"
_EXAMPLE_PORT = 3000
_VERIFY = (NOT_FOUND, CONFLICT, CHECKED_JUST_NOW)


class PutPreviewDomain(Exact):
    preview_domain: Annotated[
        HostName,
        Field(
            description="The domain under which generated hosts shall be.", json_schema_extra={"maxLength": MAX_ZONE}
        ),
    ]


class UrlExamples(Out):
    default_preview: str
    port_preview: str
    deployment: str


class ZoneUploadOut(Out):
    """A certificate that the domain's owner has brought."""

    names: list[str]
    issuer: str
    serial: str
    not_before: Instant
    not_after: Instant


class ZoneCertificateOut(Out):
    """`mode` is `wildcard` where one certificate serves all hosts of the domain, `per_host` where each gets its own at its first
    visit. `status`, with the fields up to `renew_at`, is of the certificate that the platform orders for the whole domain; `off` where it orders
    none. `last_error` is why there is none, or no new one, and `next_attempt_at` when it goes on. `uploaded` is the owner's own, which is
    served first; `advice` a sentence on what the records with purpose `certificate` would bring, null where they are there."""

    mode: Mode
    status: ZoneState
    names: list[str]
    issuer: str | None
    serial: str | None
    not_before: Instant | None
    not_after: Instant | None
    renew_at: Instant | None
    last_error: str | None
    next_attempt_at: Instant | None
    uploaded: ZoneUploadOut | None
    advice: str | None


class PreviewDomainOut(Out):
    """`preview_domain` is the scope's own, null where it inherits; `effective_domain` is what holds for it.

    `domain`, `cname_target`, `target` and `verified` say the same in the words of the clients. `failure_reason` is a code:
    `never_verified`, `dns_moved`. `apply_url` is a link at the DNS provider that
    sets all records in one click, as for custom domains. `dns_provider` is who has the zone, where it is one that we know. `checked_at` is when DNS was last looked at, `next_check_at` when it will be by itself.
    """

    scope: Scope
    id: str
    preview_domain: str | None
    effective_domain: str
    status: str
    dns_status: str
    url_examples: UrlExamples
    records: list[RecordOut]
    apply_url: str | None
    dns_provider: DnsProviderOut | None
    failure_reason: str | None
    caa_forbidden: bool
    checked_at: Instant | None
    next_check_at: Instant | None
    verified_at: Instant | None
    domain: str | None
    cname_target: str
    target: str
    verified: bool
    certificate: ZoneCertificateOut | None


class _PreviewDomainHandlers(Handlers):
    """What the handlers under tenant, workspaces and projects share."""

    def __init__(
        self,
        *,
        previews: PreviewDomains,
        verification: Verification,
        workspaces: Workspaces,
        projects: Projects,
        urls: Urls,
        target: str,
        connect: DomainConnect | None,
        zones: ZoneStatuses,
    ) -> None:
        self._previews = previews
        self._verification = verification
        self._workspaces = workspaces
        self._projects = projects
        self._urls = urls
        self._target = target
        self._connect = connect
        self._zones = zones

    async def _get(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        setting = await self._previews.setting(scope, scope_id)
        url, zone = await self._apply_url(setting.own), await self._zone(setting.own)
        return Bare(self._shown(scope, scope_id, setting, url, zone))

    async def _put(self, scope: Scope, scope_id: str, body: PutPreviewDomain) -> Bare[PreviewDomainOut]:
        await self._previews.set(scope, scope_id, body.preview_domain)
        return await self._get(scope, scope_id)

    async def _clear(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        await self._previews.clear(scope, scope_id)
        return await self._get(scope, scope_id)

    async def _verify(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        own = None if self._connect is None else await self._previews.get(scope, scope_id)
        if self._connect is not None and own is not None:
            self._connect.begin(own.domain, tenant_id=own.tenant_id, is_zone=True)
        preview, check = await self._verification.preview_domain(scope, scope_id)
        if self._connect is not None:
            await self._connect.wait(preview.domain, CONNECT_TIME, is_zone=True)
        await self._zones.check(preview.domain)
        url, zone = await self._apply_url(preview), await self._zone(preview)
        return Bare(self._shown(scope, scope_id, PreviewSetting(preview, preview), url, zone, check))

    async def _apply_url(self, own: PreviewDomain | None) -> str | None:
        return None if own is None or self._connect is None else await self._connect.of_preview(own)

    async def _zone(self, own: PreviewDomain | None) -> ZoneStatus | None:
        return None if own is None else await self._zones.of(own.domain, own.tenant_id)

    def _shown(
        self,
        scope: Scope,
        scope_id: str,
        standing: PreviewSetting,
        apply_url: str | None,
        zone: ZoneStatus | None,
        check: Check | None = None,
    ) -> PreviewDomainOut:
        own, effective = standing.own, standing.effective
        domain = effective.domain if effective is not None else self._urls.platform_domain
        dns_status = own.dns_status if own is not None else NOT_CONFIGURED
        seen = None if check is None or own is None else check.noted(own.check.checked_at or own.updated_at)
        provider = None if own is None else provider_noted(seen if seen is not None else own.detail)
        needed = [] if own is None else list(own.required_records(self._target, seen))
        needed += [] if zone is None else zone.records()
        return PreviewDomainOut(
            scope=scope,
            id=scope_id,
            preview_domain=own.domain if own is not None else None,
            effective_domain=domain,
            status=own.status if own is not None else NOT_CONFIGURED,
            dns_status=check.dns_status if check is not None else dns_status,
            url_examples=UrlExamples(
                default_preview=self._urls.at(default_host("<slug>", domain)),
                port_preview=self._urls.at(sandbox_host("<slug>", domain, _EXAMPLE_PORT)),
                deployment=self._urls.at(default_host("<deployment-slug>", domain)),
            ),
            records=[RecordOut.model_validate(one) for one in needed],
            apply_url=apply_url,
            dns_provider=None if provider is None else DnsProviderOut.model_validate(provider),
            failure_reason=own.failure_reason if own is not None else None,
            caa_forbidden=own is not None and own.check.caa_forbidden,
            checked_at=own.check.checked_at if own is not None else None,
            next_check_at=own.check.next_check_at if own is not None else None,
            verified_at=own.verified_at if own is not None else None,
            domain=own.domain if own is not None else None,
            cname_target=self._target,
            target=self._target,
            verified=own is not None and own.verified,
            certificate=None if zone is None else _certificate(zone),
        )


def _certificate(zone: ZoneStatus) -> ZoneCertificateOut:
    managed, uploaded = zone.managed, zone.uploaded
    return ZoneCertificateOut(
        mode=zone.mode,
        status=zone.state,
        names=[] if managed is None else list(managed.names),
        issuer=None if managed is None else managed.issuer,
        serial=None if managed is None else managed.serial,
        not_before=None if managed is None else managed.not_before,
        not_after=None if managed is None else managed.not_after,
        renew_at=None if managed is None else managed.renew_at,
        last_error=zone.last_error,
        next_attempt_at=zone.next_attempt_at,
        uploaded=None if uploaded is None else ZoneUploadOut.model_validate(uploaded),
        advice=zone.advice,
    )


class TenantPreviewDomain(_PreviewDomainHandlers):
    tag = "Tenant preview domain"
    prefix = "/api/v1/tenant/preview-domain"

    @operation("GET", "", "Get the tenant's preview domain", access=Access.TENANT)
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.TENANT, tenant_of(call.principal))

    @operation("PUT", "", "Set the tenant's preview domain", access=Access.TENANT, problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """New URLs are under it at once, unless a workspace or a project has its own. Hosts under it answer once both
        `records` are verified; those under the platform's domain go on answering."""
        return await self._put(Scope.TENANT, tenant_of(call.principal), call.body)

    @operation("DELETE", "", "Clear the tenant's preview domain", access=Access.TENANT)
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """New URLs are under the platform's domain again."""
        return await self._clear(Scope.TENANT, tenant_of(call.principal))

    @operation("GET", "/verify", "Check the tenant's preview domain", access=Access.TENANT, problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))

    @operation("POST", "/verify", "Verify the tenant's preview domain", access=Access.TENANT, problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))

    @operation("POST", "/check", "Look at the tenant's preview domain again", access=Access.TENANT, problems=_VERIFY)
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))


class WorkspacePreviewDomain(_PreviewDomainHandlers):
    tag = "Workspace preview domain"
    prefix = "/api/v1/workspaces/{id}/preview-domain"

    @operation("GET", "", "Get a workspace's preview domain", access=Access.WORKSPACE)
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.WORKSPACE, await workspace_in(call, self._workspaces))

    @operation("PUT", "", "Set a workspace's preview domain", access=Access.WORKSPACE, problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """In place of the tenant's, unless a project has its own."""
        return await self._put(Scope.WORKSPACE, await workspace_in(call, self._workspaces), call.body)

    @operation("DELETE", "", "Clear a workspace's preview domain", access=Access.WORKSPACE)
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """The workspace inherits the tenant's again, or the platform's."""
        return await self._clear(Scope.WORKSPACE, await workspace_in(call, self._workspaces))

    @operation("GET", "/verify", "Check a workspace's preview domain", access=Access.WORKSPACE, problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.WORKSPACE, await workspace_in(call, self._workspaces))

    @operation("POST", "/verify", "Verify a workspace's preview domain", access=Access.WORKSPACE, problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.WORKSPACE, await workspace_in(call, self._workspaces))

    @operation(
        "POST", "/check", "Look at a workspace's preview domain again", access=Access.WORKSPACE, problems=_VERIFY
    )
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.WORKSPACE, await workspace_in(call, self._workspaces))


class ProjectPreviewDomain(_PreviewDomainHandlers):
    tag = "Project preview domain"
    prefix = "/api/v1/projects/{id}/preview-domain"

    @operation("GET", "", "Get a project's preview domain")
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.PROJECT, await project_in(call, self._projects))

    @operation("PUT", "", "Set a project's preview domain", problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """In place of the workspace's and the tenant's."""
        return await self._put(Scope.PROJECT, await project_in(call, self._projects), call.body)

    @operation("DELETE", "", "Clear a project's preview domain")
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """The project inherits the workspace's again, or the tenant's, or the platform's."""
        return await self._clear(Scope.PROJECT, await project_in(call, self._projects))

    @operation("GET", "/verify", "Check a project's preview domain", problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.PROJECT, await project_in(call, self._projects))

    @operation("POST", "/verify", "Verify a project's preview domain", problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.PROJECT, await project_in(call, self._projects))

    @operation("POST", "/check", "Look at a project's preview domain again", problems=_VERIFY)
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.PROJECT, await project_in(call, self._projects))

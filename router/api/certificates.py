"""Certificates that customers bring: for a custom domain, and for the preview domain of a tenant, a workspace or a project."""

from typing import Annotated, Any

from pydantic import Field

from router.api.authorization import authorize, authorize_place, project_in, tenant_of, workspace_in
from router.api.models import Exact, Instant, Out
from router.api.operations import Call, Data, Handlers, Resolved, operation
from router.api.principal import Access
from router.certificates.held import Origin
from router.certificates.own import Fallback, OwnCertificate, OwnCertificates, UploadState
from router.certificates.pem_blocks import MAX_TEXT
from router.certificates.request import CertificateRequest
from router.certificates.subject import CustomRef, SubjectRef, ZoneRef
from router.domains.custom_domains import CustomDomains
from router.errors import CERTIFICATE_REFUSED, CONFLICT, FORBIDDEN, NOT_FOUND, RouterError
from router.routes.records import Scope
from router.tenancy.projects import Projects
from router.tenancy.workspaces import Workspaces

_SHARED = (
    "This preview domain is used by other workspaces or projects too, and its certificate is theirs as well. Use a key that reaches all "
    "of them."
)
_UPLOAD = (CERTIFICATE_REFUSED, CONFLICT)
_REQUEST = (CONFLICT,)


class PutCertificate(Exact):
    """PEM text. The order of the chain is put right where it is clear; the root may be missing."""

    certificate: Annotated[
        str,
        Field(
            description="The certificate and its intermediates, in PEM. The private key may be in this text too.",
            json_schema_extra={"maxLength": MAX_TEXT},
        ),
    ]
    private_key: Annotated[
        str | None,
        Field(
            description="The certificate's private key in PEM, without a password: RSA of 2048 to 4096 bits, P-256 or P-384. Left out "
            "where the router has it: after `POST …/certificate/csr`, or where it is that of the certificate that is replaced. Kept "
            "encrypted, and never shown.",
            json_schema_extra={"maxLength": MAX_TEXT, "writeOnly": True},
        ),
    ] = None


class PostCertificateRequest(Exact):
    new_key: Annotated[
        bool,
        Field(description="Make another key and request, and forget the one before that no certificate was sent for."),
    ] = False


class CertificateWarningOut(Out):
    """`code` is stable; `message` says what to do."""

    code: str
    message: str


class CertificateRequestOut(Out):
    """A request to send to a certificate authority, in PEM."""

    csr: str
    names: list[str]
    created_at: Instant


class CertificateFallbackOut(Out):
    """What visitors get without the uploaded certificate: the zone's own wildcard, or a certificate for each host. `ready`: there is one;
    else the first visit gets it, which takes seconds."""

    mode: Fallback
    ready: bool


class OwnCertificateOut(Out):
    """The uploaded certificate; `state` is none where there is none, expiring within 30 days of its end. `origin` is which one the router gives out
    now: an uploaded one that is valid, or one that it manages. `names` are those that it is served for."""

    domain: str
    state: UploadState
    origin: Origin
    names: list[str]
    issuer: str | None
    serial: str | None
    not_before: Instant | None
    not_after: Instant | None
    uploaded_at: Instant | None
    warnings: list[CertificateWarningOut]
    request: CertificateRequestOut | None
    fallback: CertificateFallbackOut


class _CertificateHandlers(Handlers):
    """What the handlers of all four share."""

    def __init__(self, own: OwnCertificates) -> None:
        self._own = own

    async def _check_users(self, call: Call[Any, Any], ref: SubjectRef) -> None:
        """Refuse who does not reach every place that the certificate is for. Raises RouterError: NOT_FOUND, FORBIDDEN."""
        for place in (await self._own.subject(ref)).users:
            try:
                authorize_place(call.principal, "domain", place.tenant_id, place.workspace_id, place.project_id)
            except RouterError as error:
                if error.problem is FORBIDDEN:
                    raise RouterError(FORBIDDEN, _SHARED) from None
                raise

    async def _show(self, ref: SubjectRef) -> Data[OwnCertificateOut]:
        return Data(_shown(await self._own.get(ref)))

    async def _upload(self, call: Call[PutCertificate], ref: SubjectRef) -> Data[OwnCertificateOut]:
        await self._check_users(call, ref)
        return Data(_shown(await self._own.upload(ref, call.body.certificate, call.body.private_key)))

    async def _remove(self, call: Call, ref: SubjectRef) -> Data[OwnCertificateOut]:
        await self._check_users(call, ref)
        return Data(_shown(await self._own.remove(ref)))

    async def _request(self, call: Call[PostCertificateRequest], ref: SubjectRef) -> Resolved[CertificateRequestOut]:
        await self._check_users(call, ref)
        request, new = await self._own.request(ref, renew=call.body.new_key)
        return Resolved(_request(request), reused=not new)


class CustomCertificates(_CertificateHandlers):
    tag = "Custom domains"
    prefix = "/api/v1/custom-domains/{id}/certificate"

    def __init__(self, own: OwnCertificates, *, domains: CustomDomains) -> None:
        super().__init__(own)
        self._domains = domains

    async def _ref(self, call: Call[Any, Any]) -> CustomRef:
        domain = await self._domains.get(call.ids["id"])
        authorize(call.principal, domain, "domain")
        return CustomRef(domain.id)

    @operation("GET", "", "Get the own certificate of a custom domain")
    async def get_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        return await self._show(await self._ref(call))

    @operation("PUT", "", "Upload a certificate for a custom domain", problems=_UPLOAD)
    async def put_certificate(self, call: Call[PutCertificate]) -> Data[OwnCertificateOut]:
        """Visitors get it within seconds, before the one that the router sees to, which stays as the fallback; a host that has been visited
        keeps what it got until that is renewed (`served_later`). It may be sent before the domain's DNS leads here."""
        return await self._upload(call, await self._ref(call))

    @operation("DELETE", "", "Remove the own certificate of a custom domain")
    async def delete_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        """Its key is deleted too. Visitors get the `fallback` within seconds."""
        return await self._remove(call, await self._ref(call))

    @operation(
        "POST", "/csr", "Make a certificate request for a custom domain", status=201, also=(200,), problems=_REQUEST
    )
    async def request_certificate(self, call: Call[PostCertificateRequest]) -> Resolved[CertificateRequestOut]:
        """The router makes the key and keeps it. Send `csr` to your authority, and PUT what it answers, without a private_key."""
        return await self._request(call, await self._ref(call))


class TenantCertificate(_CertificateHandlers):
    tag = "Tenant preview domain"
    prefix = "/api/v1/tenant/preview-domain/certificate"

    @operation(
        "GET",
        "",
        "Get the own certificate of the tenant's preview domain",
        access=Access.TENANT,
        problems=(NOT_FOUND,),
    )
    async def get_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        return await self._show(_tenant_ref(call))

    @operation(
        "PUT",
        "",
        "Upload a certificate for the tenant's preview domain",
        access=Access.TENANT,
        problems=(*_UPLOAD, NOT_FOUND),
    )
    async def put_certificate(self, call: Call[PutCertificate]) -> Data[OwnCertificateOut]:
        """For `*.<domain>` and `*.sandbox.<domain>`, or one of the two. Hosts that it covers get it within seconds."""
        return await self._upload(call, _tenant_ref(call))

    @operation(
        "DELETE",
        "",
        "Remove the own certificate of the tenant's preview domain",
        access=Access.TENANT,
        problems=(NOT_FOUND,),
    )
    async def delete_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        """Its key is deleted too. Visitors get the `fallback` within seconds."""
        return await self._remove(call, _tenant_ref(call))

    @operation(
        *("POST", "/csr", "Make a certificate request for the tenant's preview domain"),
        status=201,
        also=(200,),
        access=Access.TENANT,
        problems=(*_REQUEST, NOT_FOUND),
    )
    async def request_certificate(self, call: Call[PostCertificateRequest]) -> Resolved[CertificateRequestOut]:
        """The router makes the key and keeps it. Send `csr` to your authority, and PUT what it answers, without a private_key."""
        return await self._request(call, _tenant_ref(call))


class WorkspaceCertificate(_CertificateHandlers):
    tag = "Workspace preview domain"
    prefix = "/api/v1/workspaces/{id}/preview-domain/certificate"

    def __init__(self, own: OwnCertificates, *, workspaces: Workspaces) -> None:
        super().__init__(own)
        self._workspaces = workspaces

    async def _ref(self, call: Call[Any, Any]) -> ZoneRef:
        return ZoneRef(Scope.WORKSPACE, await workspace_in(call, self._workspaces))

    @operation("GET", "", "Get the own certificate of a workspace's preview domain", access=Access.WORKSPACE)
    async def get_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        return await self._show(await self._ref(call))

    @operation(
        "PUT", "", "Upload a certificate for a workspace's preview domain", access=Access.WORKSPACE, problems=_UPLOAD
    )
    async def put_certificate(self, call: Call[PutCertificate]) -> Data[OwnCertificateOut]:
        """For `*.<domain>` and `*.sandbox.<domain>`, or one of the two. Where other scopes use the domain too, the key has to reach them."""
        return await self._upload(call, await self._ref(call))

    @operation("DELETE", "", "Remove the own certificate of a workspace's preview domain", access=Access.WORKSPACE)
    async def delete_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        """Its key is deleted too. Visitors get the `fallback` within seconds."""
        return await self._remove(call, await self._ref(call))

    @operation(
        *("POST", "/csr", "Make a certificate request for a workspace's preview domain"),
        status=201,
        also=(200,),
        access=Access.WORKSPACE,
        problems=_REQUEST,
    )
    async def request_certificate(self, call: Call[PostCertificateRequest]) -> Resolved[CertificateRequestOut]:
        """The router makes the key and keeps it. Send `csr` to your authority, and PUT what it answers, without a private_key."""
        return await self._request(call, await self._ref(call))


class ProjectCertificate(_CertificateHandlers):
    tag = "Project preview domain"
    prefix = "/api/v1/projects/{id}/preview-domain/certificate"

    def __init__(self, own: OwnCertificates, *, projects: Projects) -> None:
        super().__init__(own)
        self._projects = projects

    async def _ref(self, call: Call[Any, Any]) -> ZoneRef:
        return ZoneRef(Scope.PROJECT, await project_in(call, self._projects))

    @operation("GET", "", "Get the own certificate of a project's preview domain")
    async def get_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        return await self._show(await self._ref(call))

    @operation("PUT", "", "Upload a certificate for a project's preview domain", problems=_UPLOAD)
    async def put_certificate(self, call: Call[PutCertificate]) -> Data[OwnCertificateOut]:
        """For `*.<domain>` and `*.sandbox.<domain>`, or one of the two. Where other scopes use the domain too, the key has to reach them."""
        return await self._upload(call, await self._ref(call))

    @operation("DELETE", "", "Remove the own certificate of a project's preview domain")
    async def delete_certificate(self, call: Call) -> Data[OwnCertificateOut]:
        """Its key is deleted too. Visitors get the `fallback` within seconds."""
        return await self._remove(call, await self._ref(call))

    @operation(
        "POST",
        "/csr",
        "Make a certificate request for a project's preview domain",
        status=201,
        also=(200,),
        problems=_REQUEST,
    )
    async def request_certificate(self, call: Call[PostCertificateRequest]) -> Resolved[CertificateRequestOut]:
        """The router makes the key and keeps it. Send `csr` to your authority, and PUT what it answers, without a private_key."""
        return await self._request(call, await self._ref(call))


def _tenant_ref(call: Call[Any, Any]) -> ZoneRef:
    return ZoneRef(Scope.TENANT, tenant_of(call.principal))


def _request(request: CertificateRequest) -> CertificateRequestOut:
    return CertificateRequestOut(csr=request.csr, names=list(request.names), created_at=request.created_at)


def _shown(found: OwnCertificate) -> OwnCertificateOut:
    certificate, request = found.certificate, found.request
    return OwnCertificateOut(
        domain=found.subject.name,
        state=found.state,
        origin=found.served,
        names=[] if certificate is None else list(certificate.names),
        issuer=None if certificate is None else certificate.issuer,
        serial=None if certificate is None else certificate.serial,
        not_before=None if certificate is None else certificate.not_before,
        not_after=None if certificate is None else certificate.not_after,
        uploaded_at=None if certificate is None else certificate.created_at,
        warnings=[CertificateWarningOut.model_validate(one) for one in found.remarks],
        request=None if request is None else _request(request),
        fallback=CertificateFallbackOut(mode=found.fallback, ready=found.fallback_ready),
    )

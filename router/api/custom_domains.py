"""Custom domains: of a computer, of a deployment, and flat over both."""

from typing import Annotated, Any, Protocol

from pydantic import AliasChoices, ConfigDict, Field

from router import errors
from router.api.endpoint import Call, Counted, Paged, Reply, endpoint
from router.api.endpoint import Resource as ApiResource
from router.api.models import Body, ExternalId, HostName, Id, Instant, Integer, Out, RecordOut
from router.api.owned import OwnerFilter
from router.api.principal import Principal
from router.api.scope import check_reach
from router.api.wording import BLANK
from router.domains.certificates import CertificateStatus
from router.domains.checks import Method
from router.domains.custom import CustomDomain, DomainFilter
from router.domains.looking import dns_status
from router.domains.redirects import DEFAULT_STATUS, STATUSES, RedirectPolicy
from router.domains.requirements import of_custom
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.records import DomainStatus, Kind
from router.tenancy.resources import Resource
from router.unit import Listing, Window

Policy = Annotated[
    str,
    Field(
        description="Which of example.com and www.example.com sends its visitors to the other.",
        json_schema_extra={"enum": [policy.value for policy in RedirectPolicy]},
    ),
]
Status = Annotated[
    Integer, Field(description="With which status it does.", json_schema_extra={"enum": sorted(STATUSES)})
]


class RegisterDomain(Body):
    """The clients send `fqdn` for `domain`."""

    domain: Annotated[
        HostName,
        Field(
            validation_alias=AliasChoices("domain", "fqdn"),
            description="The fully qualified name; an internationalized one in either form.",
        ),
    ]
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None


class RegisterWithRedirect(RegisterDomain):
    redirect_policy: Policy | None = None
    redirect_status: Status = DEFAULT_STATUS


class RegisterFlat(RegisterWithRedirect):
    """Exactly one of `computer_id` and `deployment_id`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": [given],
                    "properties": {given: {"type": "string"}, other: {"type": "null"}},
                }
                for given, other in (("computer_id", "deployment_id"), ("deployment_id", "computer_id"))
            ]
        }
    )

    computer_id: Id | None = None
    deployment_id: Id | None = None

    @property
    def holder(self) -> tuple[str, Kind]:
        """What the domain is for. Raises RouterError VALIDATION_FAILED."""
        if self.computer_id is not None and self.deployment_id is not None:
            raise RouterError(VALIDATION_FAILED, fields={"deployment_id": ["can't be given with computer_id"]})
        if self.computer_id is not None:
            return self.computer_id, Kind.COMPUTER
        if self.deployment_id is not None:
            return self.deployment_id, Kind.DEPLOYMENT
        raise RouterError(VALIDATION_FAILED, fields={"computer_id": [BLANK], "deployment_id": [BLANK]})


class PatchDomain(Body):
    """What is not sent keeps its value."""

    redirect_policy: Policy | None = None
    redirect_status: Status | None = None


class DomainQuery(OwnerFilter):
    status: DomainStatus | None = None

    def where(self, principal: Principal, resource_id: str | None, kind: Kind | None = None) -> DomainFilter:
        """What was asked for, inside what the caller may see."""
        conditions = self.conditions(principal)
        return DomainFilter(**conditions, status=self.status, resource_id=resource_id, kind=kind)


class FlatQuery(DomainQuery):
    computer_id: Id | None = None
    deployment_id: Id | None = None


class CertOut(Out):
    """A domain's certificate, as it was last seen. `last_error` and `retry_at` are set after a failure; the rest is null
    until one was seen, and where visitors have proved that there is one, but nobody has read it."""

    status: CertificateStatus
    issuer: str | None
    serial: str | None
    not_before: Instant | None
    not_after: Instant | None
    seen_at: Instant | None
    last_error: str | None
    retry_at: Instant | None


class DomainOut(Out):
    """A custom domain. `verified_at` and `tls_issued_at` are null until it is verified and has a certificate.

    `dns_status` is what the last look at DNS found: pending (none yet), verified, missing, wrong, propagating or unknown;
    `records` are what is needed, with what was found. `method` is how the name leads here: by a `cname`, by an `address`
    (flattened, or an ALIAS), or `proxied` by a CDN. `failure_reason` is a code: `never_verified`, `dns_moved`. `checked_at` is
    when DNS was last looked at, `next_check_at` when it will be by itself.
    """

    id: str
    computer_id: str | None
    deployment_id: str | None
    tenant_id: str
    workspace_id: str
    project_id: str
    fqdn: str
    fqdn_unicode: str
    status: DomainStatus
    verification_target: str
    instructions: str
    records: list[RecordOut]
    dns_status: str
    method: Method | None
    caa_forbidden: bool
    failure_reason: str | None
    checked_at: Instant | None
    next_check_at: Instant
    redirect_policy: RedirectPolicy
    redirect_status: int
    verified_at: Instant | None
    tls_issued_at: Instant | None
    cert: CertOut
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    created_at: Instant
    updated_at: Instant


class RemovedOut(Out):
    id: str
    fqdn: str
    status: DomainStatus


class Domains(Protocol):
    """The verbs that these endpoints need."""

    async def register(
        self,
        resource_id: str,
        name: str,
        *,
        redirect_policy: str | None = None,
        redirect_status: int = DEFAULT_STATUS,
        external_workspace_id: str | None = None,
        external_user_id: str | None = None,
        external_project_id: str | None = None,
    ) -> CustomDomain: ...

    async def get(self, domain_id: str) -> CustomDomain: ...

    async def list(self, where: DomainFilter, window: Window) -> Listing[CustomDomain]: ...

    async def redirect(self, domain_id: str, redirect_policy: str | None, redirect_status: int) -> CustomDomain: ...

    async def remove(self, domain_id: str) -> CustomDomain: ...


class Verifier(Protocol):
    async def custom_domain(self, domain_id: str) -> CustomDomain: ...

    async def check_custom_domain(self, domain_id: str) -> CustomDomain: ...


class Holders(Protocol):
    async def get(self, resource_id: str, kind: Kind | None = None) -> Resource: ...


_TAKEN = (errors.CONFLICT,)
_CHECK = (errors.CHECKED_JUST_NOW,)
_VERIFY = (errors.CONFLICT, errors.CNAME_NOT_FOUND, errors.DNS_UNKNOWN, *_CHECK)


class _Surface(ApiResource):
    """What the three surfaces share."""

    def __init__(self, *, domains: Domains, verification: Verifier, resources: Holders) -> None:
        self._domains = domains
        self._verification = verification
        self._resources = resources

    async def _holder(self, principal: Principal, resource_id: str, kind: Kind) -> str:
        """The id of a computer or deployment that the caller may reach. Raises RouterError: NOT_FOUND, FORBIDDEN."""
        check_reach(principal, await self._resources.get(resource_id, kind), kind.value)
        return resource_id

    async def _domain(self, principal: Principal, domain_id: str) -> CustomDomain:
        domain = await self._domains.get(domain_id)
        check_reach(principal, domain, "domain")
        return domain

    async def _held(self, call: Call[Any, Any], kind: Kind) -> CustomDomain:
        """The domain of a nested path. Raises RouterError: NOT_FOUND, also where it is another resource's."""
        holder = await self._holder(call.principal, call.ids["id"], kind)
        domain = await self._domain(call.principal, call.ids["domain_id"])
        if domain.resource_id != holder:
            raise RouterError(NOT_FOUND, "domain not found")
        return domain

    async def _register(self, principal: Principal, resource_id: str, kind: Kind, body: RegisterDomain) -> DomainOut:
        holder = await self._holder(principal, resource_id, kind)
        given = {key: value for key, value in body.given().items() if key in _OPTIONS and value is not None}
        return _shown(await self._domains.register(holder, body.domain, **given))

    async def _verify(self, domain: CustomDomain) -> DomainOut:
        return _shown(await self._verification.custom_domain(domain.id))

    async def _check(self, domain: CustomDomain) -> DomainOut:
        return _shown(await self._verification.check_custom_domain(domain.id))

    async def _remove(self, domain: CustomDomain) -> RemovedOut:
        return RemovedOut.model_validate(await self._domains.remove(domain.id))


class ComputerDomains(_Surface):
    tag = "Computer domains"
    prefix = "/api/v1/computers/{id}/domains"

    @endpoint("POST", "", "Register a custom domain for a computer", status=201, problems=_TAKEN)
    async def register(self, call: Call[RegisterDomain]) -> Reply[DomainOut]:
        """It starts as `pending`: add the CNAME record of `instructions`, then call verify."""
        return Reply(await self._register(call.principal, call.ids["id"], Kind.COMPUTER, call.body))

    @endpoint("GET", "", "List the custom domains of a computer")
    async def list(self, call: Call[None, DomainQuery]) -> Counted[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        holder = await self._holder(call.principal, call.ids["id"], Kind.COMPUTER)
        found = await self._domains.list(call.query.where(call.principal, holder), call.query.window)
        return Counted([_shown(domain) for domain in found.items], found.total)

    @endpoint("GET", "/{domain_id}", "Get a custom domain of a computer")
    async def get(self, call: Call) -> Reply[DomainOut]:
        return Reply(_shown(await self._held(call, Kind.COMPUTER)))

    @endpoint("POST", "/{domain_id}/verify", "Verify a custom domain of a computer", problems=_VERIFY)
    async def verify(self, call: Call) -> Reply[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return Reply(await self._verify(await self._held(call, Kind.COMPUTER)))

    @endpoint("POST", "/{domain_id}/check", "Look at a custom domain of a computer again", problems=_CHECK)
    async def check(self, call: Call) -> Reply[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return Reply(await self._check(await self._held(call, Kind.COMPUTER)))

    @endpoint("DELETE", "/{domain_id}", "Remove a custom domain of a computer")
    async def remove(self, call: Call) -> Reply[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Reply(await self._remove(await self._held(call, Kind.COMPUTER)))


class DeploymentDomains(_Surface):
    tag = "Deployment domains"
    prefix = "/api/v1/deployments/{id}/domains"

    @endpoint("POST", "", "Register a custom domain for a deployment", status=201, problems=_TAKEN)
    async def register(self, call: Call[RegisterWithRedirect]) -> Reply[DomainOut]:
        """It starts as `pending`: add the CNAME record of `instructions`, then call verify."""
        return Reply(await self._register(call.principal, call.ids["id"], Kind.DEPLOYMENT, call.body))

    @endpoint("GET", "", "List the custom domains of a deployment")
    async def list(self, call: Call[None, DomainQuery]) -> Paged[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        holder = await self._holder(call.principal, call.ids["id"], Kind.DEPLOYMENT)
        found = await self._domains.list(call.query.where(call.principal, holder), call.query.window)
        return Paged([_shown(domain) for domain in found.items], found.total)

    @endpoint("GET", "/{domain_id}", "Get a custom domain of a deployment")
    async def get(self, call: Call) -> Reply[DomainOut]:
        return Reply(_shown(await self._held(call, Kind.DEPLOYMENT)))

    @endpoint("PATCH", "/{domain_id}", "Change where a custom domain of a deployment redirects")
    async def patch(self, call: Call[PatchDomain]) -> Reply[DomainOut]:
        """The policy acts on the name that is to be left: `www_to_apex` on www.example.com."""
        domain, body = await self._held(call, Kind.DEPLOYMENT), call.body
        policy, status = body.redirect_policy, body.redirect_status
        return Reply(
            _shown(
                await self._domains.redirect(
                    domain.id,
                    domain.redirect_policy if policy is None else policy,
                    domain.redirect_status if status is None else status,
                )
            )
        )

    @endpoint("POST", "/{domain_id}/verify", "Verify a custom domain of a deployment", problems=_VERIFY)
    async def verify(self, call: Call) -> Reply[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return Reply(await self._verify(await self._held(call, Kind.DEPLOYMENT)))

    @endpoint("POST", "/{domain_id}/check", "Look at a custom domain of a deployment again", problems=_CHECK)
    async def check(self, call: Call) -> Reply[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return Reply(await self._check(await self._held(call, Kind.DEPLOYMENT)))

    @endpoint("DELETE", "/{domain_id}", "Remove a custom domain of a deployment")
    async def remove(self, call: Call) -> Reply[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Reply(await self._remove(await self._held(call, Kind.DEPLOYMENT)))


class FlatDomains(_Surface):
    tag = "Custom domains"
    prefix = "/api/v1/custom-domains"

    @endpoint("POST", "", "Register a custom domain", status=201, problems=(*_TAKEN, NOT_FOUND))
    async def register(self, call: Call[RegisterFlat]) -> Reply[DomainOut]:
        """For the computer or the deployment that the body names."""
        resource_id, kind = call.body.holder
        return Reply(await self._register(call.principal, resource_id, kind, call.body))

    @endpoint("GET", "", "List custom domains")
    async def list(self, call: Call[None, FlatQuery]) -> Paged[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        query = call.query
        if query.computer_id is not None and query.deployment_id is not None:
            return Paged([], 0)  # nothing is both
        kind = Kind.COMPUTER if query.computer_id else Kind.DEPLOYMENT if query.deployment_id else None
        where = query.where(call.principal, query.computer_id or query.deployment_id, kind)
        found = await self._domains.list(where, query.window)
        return Paged([_shown(domain) for domain in found.items], found.total)

    @endpoint("GET", "/{id}", "Get a custom domain")
    async def get(self, call: Call) -> Reply[DomainOut]:
        return Reply(_shown(await self._domain(call.principal, call.ids["id"])))

    @endpoint("POST", "/{id}/verify", "Verify a custom domain", problems=_VERIFY)
    async def verify(self, call: Call) -> Reply[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return Reply(await self._verify(await self._domain(call.principal, call.ids["id"])))

    @endpoint("POST", "/{id}/check", "Look at a custom domain again", problems=_CHECK)
    async def check(self, call: Call) -> Reply[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return Reply(await self._check(await self._domain(call.principal, call.ids["id"])))

    @endpoint("DELETE", "/{id}", "Remove a custom domain")
    async def remove(self, call: Call) -> Reply[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Reply(await self._remove(await self._domain(call.principal, call.ids["id"])))


_OPTIONS = frozenset(
    {"redirect_policy", "redirect_status", "external_workspace_id", "external_user_id", "external_project_id"}
)


def _shown(domain: CustomDomain) -> DomainOut:
    check = domain.check
    made = {
        "cert": CertOut.model_validate(domain.cert),
        "instructions": f"Add a CNAME record for {domain.fqdn} that points to {domain.verification_target}.",
        "records": [RecordOut.model_validate(one) for one in of_custom(domain)],
        "dns_status": dns_status(check.finding),
        "method": check.method,
        "caa_forbidden": check.caa_forbidden,
        "checked_at": check.checked_at,
        "next_check_at": check.next_check_at,
    }
    return DomainOut(**{name: made[name] if name in made else getattr(domain, name) for name in DomainOut.model_fields})

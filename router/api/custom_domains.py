"""Custom domains: of a computer, of a deployment, and flat over both."""

from typing import Annotated, Any

from pydantic import AliasChoices, ConfigDict, Field

from router import errors
from router.api.authorization import authorize
from router.api.blocked import BlockedOut, blocked
from router.api.messages import BLANK
from router.api.models import Body, DnsProviderOut, Exact, ExternalId, HostName, Id, Instant, Integer, Out, RecordOut
from router.api.operations import Call, Counted, Data, Handlers, Paged, operation
from router.api.ownership_fields import OwnershipQuery
from router.api.principal import Principal
from router.domains.certificates import CertificateStatus
from router.domains.checks.judgement import dns_status
from router.domains.checks.schedule import Method
from router.domains.checks.verification import Verification
from router.domains.custom import CustomDomain, DomainFilter
from router.domains.custom_domains import CustomDomains
from router.domains.dns_providers import provider_noted
from router.domains.domain_connect import DomainConnect
from router.domains.redirects import DEFAULT_STATUS, STATUSES, RedirectPolicy
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.records import DomainStatus, Kind
from router.tenancy.blocks import Blocks
from router.tenancy.resource_service import Resources

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


class PatchDomain(Exact):
    """What is not sent keeps its value."""

    redirect_policy: Policy | None = None
    redirect_status: Status | None = None


class DomainQuery(OwnershipQuery):
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

    `dns_status` is what the last look at DNS found: pending (none yet), verified, missing, wrong, propagating, unknown or
    unproven: it leads here, but needs a record that shows whose it is, for the reason in `proof_needed`. `records` are what
    is needed, with what was found: the first is recommended, as its target is this domain's alone and proves that it is
    yours; `verification_target` does as well while no other account can be meant. `method` is how the name leads here: by a `cname`, by an `address`
    (flattened, or an ALIAS), or `proxied` by a CDN. `apply_url` is a
    link at the DNS provider that sets all records in one click, where the provider supports Domain Connect: null until that is
    known, some seconds after the domain is first shown, and once the domain routes. `dns_provider` is
    who has the zone, where it is one that we know; null before the first look. `failure_reason` is a code: `never_verified`, `dns_moved`. `checked_at` is
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
    blocked: BlockedOut | None
    verification_target: str
    instructions: str
    records: list[RecordOut]
    apply_url: str | None
    dns_provider: DnsProviderOut | None
    dns_status: str
    proof_needed: str | None
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


CONNECT_TIME = 2.0  # seconds that a check waits for its DNS provider, when the check itself is done

_TAKEN = (errors.CONFLICT,)
_CHECK = (errors.CHECKED_JUST_NOW,)
_VERIFY = (errors.CONFLICT, errors.CNAME_NOT_FOUND, errors.PROOF_NEEDED, errors.DNS_UNKNOWN, *_CHECK)


class _DomainHandlers(Handlers):
    """What the handlers under computers, deployments and /custom-domains share."""

    def __init__(
        self,
        *,
        domains: CustomDomains,
        verification: Verification,
        resources: Resources,
        blocks: Blocks,
        connect: DomainConnect | None,
    ) -> None:
        self._domains = domains
        self._connect = connect
        self._blocks = blocks
        self._verification = verification
        self._resources = resources

    async def _show(self, *domains: CustomDomain) -> list[DomainOut]:
        blocks = await self._blocks.of_domains([domain.id for domain in domains])
        return [_shown(domain, blocked(blocks.get(domain.id)), self._apply_url(domain)) for domain in domains]

    def _apply_url(self, domain: CustomDomain) -> str | None:
        return None if self._connect is None else self._connect.of_custom(domain)

    async def _response(self, domain: CustomDomain) -> Data[DomainOut]:
        return Data((await self._show(domain))[0])

    async def _holder(self, principal: Principal, resource_id: str, kind: Kind) -> str:
        """The id of a computer or deployment that the caller may reach. Raises RouterError: NOT_FOUND, FORBIDDEN."""
        authorize(principal, await self._resources.get(resource_id, kind), kind.value)
        return resource_id

    async def _domain(self, principal: Principal, domain_id: str) -> CustomDomain:
        domain = await self._domains.get(domain_id)
        authorize(principal, domain, "domain")
        return domain

    async def _held(self, call: Call[Any, Any], kind: Kind) -> CustomDomain:
        """The domain of a nested path. Raises RouterError: NOT_FOUND, also where it is another resource's."""
        holder = await self._holder(call.principal, call.ids["id"], kind)
        domain = await self._domain(call.principal, call.ids["domain_id"])
        if domain.resource_id != holder:
            raise RouterError(NOT_FOUND, "domain not found")
        return domain

    async def _register(
        self, principal: Principal, resource_id: str, kind: Kind, body: RegisterDomain
    ) -> Data[DomainOut]:
        holder = await self._holder(principal, resource_id, kind)
        given = {key: value for key, value in body.given().items() if key in _OPTIONS and value is not None}
        return await self._response(await self._domains.register(holder, body.domain, **given))

    async def _verify(self, domain: CustomDomain) -> Data[DomainOut]:
        return await self._response(await self._verification.custom_domain(domain.id))

    async def _check(self, domain: CustomDomain) -> Data[DomainOut]:
        if self._connect is not None:
            self._connect.begin(domain.fqdn, tenant_id=domain.tenant_id, is_zone=False)
        checked = await self._verification.check_custom_domain(domain.id)
        if self._connect is not None:
            await self._connect.wait(domain.fqdn, CONNECT_TIME, is_zone=False)
        return await self._response(checked)

    async def _remove(self, domain: CustomDomain) -> RemovedOut:
        return RemovedOut.model_validate(await self._domains.remove(domain.id))


class ComputerDomains(_DomainHandlers):
    tag = "Computer domains"
    prefix = "/api/v1/computers/{id}/domains"

    @operation("POST", "", "Register a custom domain for a computer", status=201, problems=_TAKEN, one_transaction=True)
    async def register(self, call: Call[RegisterDomain]) -> Data[DomainOut]:
        """It starts as `pending`: add the CNAME record of `instructions`, then call verify."""
        return await self._register(call.principal, call.ids["id"], Kind.COMPUTER, call.body)

    @operation("GET", "", "List the custom domains of a computer", one_transaction=True)
    async def list(self, call: Call[None, DomainQuery]) -> Counted[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        holder = await self._holder(call.principal, call.ids["id"], Kind.COMPUTER)
        found = await self._domains.list(call.query.where(call.principal, holder), call.query.window)
        return Counted(await self._show(*found.items), found.total)

    @operation("GET", "/{domain_id}", "Get a custom domain of a computer", one_transaction=True)
    async def get(self, call: Call) -> Data[DomainOut]:
        return await self._response(await self._held(call, Kind.COMPUTER))

    @operation(
        "POST", "/{domain_id}/verify", "Verify a custom domain of a computer", problems=_VERIFY, one_transaction=True
    )
    async def verify(self, call: Call) -> Data[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return await self._verify(await self._held(call, Kind.COMPUTER))

    @operation("POST", "/{domain_id}/check", "Look at a custom domain of a computer again", problems=_CHECK)
    async def check(self, call: Call) -> Data[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return await self._check(await self._held(call, Kind.COMPUTER))

    @operation("DELETE", "/{domain_id}", "Remove a custom domain of a computer", one_transaction=True)
    async def remove(self, call: Call) -> Data[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Data(await self._remove(await self._held(call, Kind.COMPUTER)))


class DeploymentDomains(_DomainHandlers):
    tag = "Deployment domains"
    prefix = "/api/v1/deployments/{id}/domains"

    @operation(
        "POST", "", "Register a custom domain for a deployment", status=201, problems=_TAKEN, one_transaction=True
    )
    async def register(self, call: Call[RegisterWithRedirect]) -> Data[DomainOut]:
        """It starts as `pending`: add the CNAME record of `instructions`, then call verify."""
        return await self._register(call.principal, call.ids["id"], Kind.DEPLOYMENT, call.body)

    @operation("GET", "", "List the custom domains of a deployment", one_transaction=True)
    async def list(self, call: Call[None, DomainQuery]) -> Paged[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        holder = await self._holder(call.principal, call.ids["id"], Kind.DEPLOYMENT)
        found = await self._domains.list(call.query.where(call.principal, holder), call.query.window)
        return Paged(await self._show(*found.items), found.total)

    @operation("GET", "/{domain_id}", "Get a custom domain of a deployment", one_transaction=True)
    async def get(self, call: Call) -> Data[DomainOut]:
        return await self._response(await self._held(call, Kind.DEPLOYMENT))

    @operation("PATCH", "/{domain_id}", "Change where a custom domain of a deployment redirects", one_transaction=True)
    async def patch(self, call: Call[PatchDomain]) -> Data[DomainOut]:
        """The policy acts on the name that is to be left: `www_to_apex` on www.example.com."""
        domain, body = await self._held(call, Kind.DEPLOYMENT), call.body
        policy, status = body.redirect_policy, body.redirect_status
        return await self._response(
            await self._domains.redirect(
                domain.id,
                domain.redirect_policy if policy is None else policy,
                domain.redirect_status if status is None else status,
            )
        )

    @operation(
        "POST", "/{domain_id}/verify", "Verify a custom domain of a deployment", problems=_VERIFY, one_transaction=True
    )
    async def verify(self, call: Call) -> Data[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return await self._verify(await self._held(call, Kind.DEPLOYMENT))

    @operation("POST", "/{domain_id}/check", "Look at a custom domain of a deployment again", problems=_CHECK)
    async def check(self, call: Call) -> Data[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return await self._check(await self._held(call, Kind.DEPLOYMENT))

    @operation("DELETE", "/{domain_id}", "Remove a custom domain of a deployment", one_transaction=True)
    async def remove(self, call: Call) -> Data[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Data(await self._remove(await self._held(call, Kind.DEPLOYMENT)))


class FlatDomains(_DomainHandlers):
    tag = "Custom domains"
    prefix = "/api/v1/custom-domains"

    @operation("POST", "", "Register a custom domain", status=201, problems=(*_TAKEN, NOT_FOUND), one_transaction=True)
    async def register(self, call: Call[RegisterFlat]) -> Data[DomainOut]:
        """For the computer or the deployment that the body names."""
        resource_id, kind = call.body.holder
        return await self._register(call.principal, resource_id, kind, call.body)

    @operation("GET", "", "List custom domains", one_transaction=True)
    async def list(self, call: Call[None, FlatQuery]) -> Paged[DomainOut]:
        """The newest first, removed ones left out unless `status` asks for them."""
        query = call.query
        if query.computer_id is not None and query.deployment_id is not None:
            return Paged([], 0)  # nothing is both
        kind = Kind.COMPUTER if query.computer_id else Kind.DEPLOYMENT if query.deployment_id else None
        where = query.where(call.principal, query.computer_id or query.deployment_id, kind)
        found = await self._domains.list(where, query.window)
        return Paged(await self._show(*found.items), found.total)

    @operation("GET", "/{id}", "Get a custom domain", one_transaction=True)
    async def get(self, call: Call) -> Data[DomainOut]:
        return await self._response(await self._domain(call.principal, call.ids["id"]))

    @operation("POST", "/{id}/verify", "Verify a custom domain", problems=_VERIFY, one_transaction=True)
    async def verify(self, call: Call) -> Data[DomainOut]:
        """Looks at DNS now. Where the name leads to us it is `verified`; else call it again, at most every ten seconds."""
        return await self._verify(await self._domain(call.principal, call.ids["id"]))

    @operation("POST", "/{id}/check", "Look at a custom domain again", problems=_CHECK)
    async def check(self, call: Call) -> Data[DomainOut]:
        """As verify, in any state: answers with the domain as it is after the look, whatever that found."""
        return await self._check(await self._domain(call.principal, call.ids["id"]))

    @operation("DELETE", "/{id}", "Remove a custom domain", one_transaction=True)
    async def remove(self, call: Call) -> Data[RemovedOut]:
        """It stops routing at once, open connections included."""
        return Data(await self._remove(await self._domain(call.principal, call.ids["id"])))


_OPTIONS = frozenset(
    {"redirect_policy", "redirect_status", "external_workspace_id", "external_user_id", "external_project_id"}
)


def _shown(domain: CustomDomain, block: BlockedOut | None, apply_url: str | None) -> DomainOut:
    check = domain.check
    provider = provider_noted(domain.detail)
    made = {
        "cert": CertOut.model_validate(domain.cert),
        "instructions": domain.instructions,
        "records": [RecordOut.model_validate(one) for one in domain.required_records],
        "apply_url": apply_url,
        "dns_provider": None if provider is None else DnsProviderOut.model_validate(provider),
        "dns_status": dns_status(check.result, domain.proof_needed),
        "proof_needed": domain.proof_needed,
        "method": check.method,
        "caa_forbidden": check.caa_forbidden,
        "checked_at": check.checked_at,
        "next_check_at": check.next_check_at,
        "blocked": block,
    }
    return DomainOut(**{name: made[name] if name in made else getattr(domain, name) for name in DomainOut.model_fields})

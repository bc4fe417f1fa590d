"""/explain: why a host leads where it leads, for the host's owner. The platform's operators have `/explain` of the admin listener."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from pydantic import Field

from router.api.authorization import tenant_of
from router.api.models import HostName, Out, Query
from router.api.operations import Call, Data, Handlers, operation
from router.api.previews import PortError
from router.api.principal import Access, Principal
from router.domains.custom_domains import CustomDomains
from router.domains.preview_domains import PreviewDomains
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError
from router.hostname import InvalidHostError, parse_host
from router.routes.chain import Decision, Level
from router.routes.error_notes import ErrorNotes
from router.routes.policies import Visibility
from router.routes.records import AUTO, HTTP1, PRESERVE, ResourceRecord, name_key
from router.routes.route import Route, policy_of
from router.tenancy.host_hints import HostHints

Explain = Callable[[bytes], Awaitable[Route]]

_WORDS: Final = {
    "served": "A program serves it.",
    "redirect": "Visitors are sent on to another host.",
    "starting": "Its resource is starting, and does not take requests yet.",
    "stopped": "Its resource is stopped. Start it, or let it wake when it is visited.",
    "suspended": "The platform's operator has blocked it.",
    "removed": "It was removed, or what it led to was deleted.",
    "not_verified": "Its domain is not verified: add the DNS records that the domain shows, then verify it.",
    "port_not_exposed": "Its resource does not expose this port. Expose it, or choose one that is.",
    "no_such_resource": "No resource of yours has the name that the host begins with.",
    "unknown_host": "No domain of yours leads it anywhere.",
    "reserved_port": "The platform keeps this port for itself: use another one.",
}
_NOT_YOURS: Final = "No host of that name is yours."


class ExplainQuery(Query):
    host: Annotated[HostName, Field(description="The host as visitors type it, without scheme and port.")]


class ExplainedResource(Out):
    id: str
    kind: str
    slug: str
    state: str
    workspace_id: str | None
    project_id: str | None


class ExplainedStep(Out):
    """One step of the decision: which record was looked for, whether there is one, and what came of it."""

    key: str
    found: bool
    outcome: str


class ExplanationOut(Out):
    """`reason` is a code, and `message` the same as a sentence. `status` and `error` are what visitors get in place of the program's answer;
    null where it is served. `level` is what decided: the custom domain itself (`exact`), the preview domain of a `project`, `workspace` or
    `tenant`, or the `platform`'s. `generation` is of the endpoint that requests go to now. `hints` and `errors` are what this node has seen of the program."""

    host: str
    reason: str
    message: str
    status: int | None
    error: str | None
    level: Level
    zone: str | None
    resource: ExplainedResource | None
    port: int | None
    redirect_to: str | None
    generation: str | None
    scheme: str | None
    protocol: str | None
    host_mode: str | None
    visibility: str | None
    hints: list[str]
    errors: list[PortError]
    steps: list[ExplainedStep]


class ExplainApi(Handlers):
    tag = "Account"

    def __init__(
        self,
        explain: Explain,
        *,
        domains: CustomDomains,
        previews: PreviewDomains,
        hints: HostHints,
        errors: ErrorNotes,
    ) -> None:
        self._explain = explain
        self._domains = domains
        self._previews = previews
        self._hints = hints
        self._errors = errors

    @operation("GET", "/explain", "Explain a host", problems=(NOT_FOUND,))
    async def explain(self, call: Call[None, ExplainQuery]) -> Data[ExplanationOut]:
        """Where a host leads now, and why. It is read anew, past every cache. A host that is not the caller's is not found, in the same words
        whether it exists or not."""
        raw = call.query.host.encode("utf-8", "backslashreplace")
        try:
            host = parse_host(raw)
        except InvalidHostError as error:
            raise RouterError(VALIDATION_FAILED, fields={"host": [str(error)]}) from None
        decision = (await self._explain(raw)).decision
        if decision.resource is None:
            reason = await self._unserved(call.principal, host, decision.reason)
        else:
            reason = decision.reason if _reaches(call.principal, decision.resource) else None
        if reason is None:
            raise RouterError(NOT_FOUND, _NOT_YOURS)
        return Data(await self._shown(host, reason, decision))

    async def _unserved(self, principal: Principal, host: str, reason: str) -> str | None:
        """Why a host that leads to no resource does not; None where it lies in no domain that the caller reaches."""
        try:
            domain = await self._domains.find(host)
        except RouterError:
            pass  # none, or no name that anybody could register
        else:
            return reason if principal.covers(domain.tenant_id, domain.workspace_id, domain.project_id) else None
        own = principal.project_id if principal.access is Access.PROJECT else principal.workspace_id
        for preview in await self._previews.of_tenant(tenant_of(principal)):
            if host.endswith(f".{preview.domain}") and (principal.access >= Access.TENANT or preview.scope_id == own):
                if reason == "suspended":
                    return reason
                # The chain's own reason differs where another tenant's resource has the slug.
                return "no_such_resource" if preview.verified else "not_verified"
        return None

    async def _shown(self, host: str, reason: str, decision: Decision) -> ExplanationOut:
        resource, port, problem = decision.resource, decision.port, decision.problem
        program = resource if resource is not None and port is not None and decision.redirect_to is None else None
        endpoint = program.endpoint if program is not None and decision.reason == "served" else None
        policy = policy_of(decision)
        visibility = None if program is None else Visibility.PUBLIC if policy is None else policy.visibility
        return ExplanationOut(
            host=host,
            reason=reason,
            message=_WORDS.get(reason, reason),
            status=None if problem is None else problem.status,
            error=None if problem is None else problem.code,
            level=decision.level,
            zone=decision.zone,
            resource=None if resource is None else _resource(resource),
            port=port,
            redirect_to=decision.redirect_to,
            generation=None if endpoint is None else endpoint.generation,
            scheme=None if program is None else program.schemes.get(port or 0, "http"),
            protocol=None if program is None else program.protocols.get(port or 0, HTTP1),
            host_mode=None if program is None else _host_mode(program, port or 0, decision.level),
            visibility=None if visibility is None else str(visibility),
            hints=[] if program is None else list((await self._hints.of(program.id, [port or 0])).values()),
            errors=[] if program is None else [PortError.of(note) for note in self._errors.of(program.id, port or 0)],
            # Of a host without a resource of the caller's, the other steps would tell of other people's.
            steps=[
                ExplainedStep(key=step.key, found=step.found, outcome=step.outcome)
                for step in decision.steps
                if resource is not None or step.key == name_key(host)
            ],
        )


def _reaches(principal: Principal, resource: ResourceRecord) -> bool:
    return principal.covers(resource.tenant_id, resource.workspace_id, resource.project_id)


def _resource(resource: ResourceRecord) -> ExplainedResource:
    return ExplainedResource(
        id=resource.id,
        kind=str(resource.kind),
        slug=resource.slug,
        state=str(resource.state),
        workspace_id=resource.workspace_id,
        project_id=resource.project_id,
    )


def _host_mode(resource: ResourceRecord, port: int, level: Level) -> str:
    """As `routes.explain` has it: `auto` does nothing on a domain of the customer's own."""
    mode = resource.host_mode(port)
    return PRESERVE if mode == AUTO and level is Level.EXACT else mode

"""Why a host leads where it leads: the chain's steps, where each answer came from, and what the gate would say.

For people who ask why something does not work, so it answers also when the source is down or the host is malformed: as
far as it gets, with the reason. It reads the source itself, past the process's cache, and puts beside it what that
cache remembers: where the two differ, a change has not arrived.
"""

from collections.abc import Callable
from typing import Any, Protocol

from router.base.clock import Clock, iso
from router.errors import INVALID_HOST, RESOLVER_UNAVAILABLE, StoreUnavailableError
from router.hostname import InvalidHostError, host_meanings, parse_host
from router.routes.chain import Decision, Level, Step
from router.routes.error_notes import ErrorNotes
from router.routes.host_notes import HostNotes
from router.routes.records import AUTO, HTTP1, PRESERVE, keys_of
from router.routes.resolver import Resolver
from router.routes.route import Route, policy_of


class Verdict(Protocol):
    """What the gate says."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Explainer:
    """Explains hosts. `gate(host, decision)` is the gate's opinion, given the chain's. `notes` and `errors` are what this
    node's traffic has met."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        gate: Callable[[str, Decision], Verdict],
        clock: Clock,
        notes: HostNotes | None = None,
        errors: ErrorNotes | None = None,
    ) -> None:
        self._resolver = resolver
        self._gate = gate
        self._now = clock.monotonic
        self._notes = notes or HostNotes()
        self._errors = errors or ErrorNotes()

    async def explain(self, asked: str) -> dict[str, Any]:
        """Everything about one host, ready for JSON. Raises nothing."""
        raw = asked.encode("utf-8", "backslashreplace")
        try:
            host = parse_host(raw)
        except InvalidHostError as error:
            return self._explained(asked, asked, _undecided(asked, "invalid_host", str(error)))
        try:
            route = await self._resolver.explain(raw)
        except StoreUnavailableError as error:
            route = _undecided(host, "resolver_unavailable", f"the source did not answer: {error}")
        return self._explained(asked, host, route)

    def _explained(self, asked: str, host: str, route: Route) -> dict[str, Any]:
        decision = route.decision
        valid = decision.reason != "invalid_host"
        meanings = host_meanings(host) if valid else ()
        verdict = self._gate(host, decision)
        return {
            "asked": asked,
            "host": host if valid else None,
            "readings": [{"zone": item.zone, "slug": item.slug, "port": item.port} for item in meanings],
            "keys": list(keys_of(host, meanings)) if valid else [],
            "steps": [
                {
                    "key": step.key,
                    "found": step.found,
                    "source": route.sources.get(step.key, route.source),
                    "outcome": step.outcome,
                }
                for step in decision.steps
            ],
            "decision": _decision(decision),
            "source": route.source,
            "remembered": self._remembered(host, decision) if valid else None,
            "endpoint": _endpoint(decision),
            "host_mode": _host_mode(decision),
            "access": _access(decision),
            "wake": None if decision.resource is None else str(decision.resource.wake),
            **_spoken(decision),
            "hints": self._hints(decision),
            "errors": self._noted(decision),
            "gate": {"status": verdict.status, "reason": verdict.reason},
        }

    def _hints(self, decision: Decision) -> list[str]:
        """What its owner can do about what this node has seen of the program."""
        resource, port = decision.resource, decision.port
        if resource is None or resource.endpoint is None or port is None:
            return []
        note = self._notes.of(resource.id, port, resource.endpoint.generation)
        return [] if note is None else [note.hint]

    def _noted(self, decision: Decision) -> list[dict[str, Any]]:
        """What visitors of this port got lately instead of a response, the latest first."""
        resource, port = decision.resource, decision.port
        if resource is None or port is None:
            return []
        return [
            {
                "code": note.code,
                "reason": note.reason,
                "message": note.message,
                "count": note.count,
                "first_at": iso(note.first),
                "last_at": iso(note.last),
            }
            for note in self._errors.of(resource.id, port)
        ]

    def _remembered(self, host: str, fresh: Decision) -> dict[str, Any] | None:
        """What this process's cache would answer, and whether that is what the source says now."""
        route = self._resolver.remembered(host)
        if route is None:
            return None
        return {
            **_decision(route.decision),
            "source": route.source,
            "expires_in": round(route.expires - self._now(), 3),
            "agrees": _decision(route.decision) == _decision(fresh)
            and _endpoint(route.decision) == _endpoint(fresh)
            and _access(route.decision) == _access(fresh),
        }


def _undecided(host: str, reason: str, why: str) -> Route:
    problem = INVALID_HOST if reason == "invalid_host" else RESOLVER_UNAVAILABLE
    decision = Decision(
        Level.NONE, reason, problem, steps=(Step("host" if problem is INVALID_HOST else "*", False, why),)
    )
    return Route(host, decision, keys=(), source="none", expires=0.0)


def _decision(decision: Decision) -> dict[str, Any]:
    resource, problem = decision.resource, decision.problem
    return {
        "level": str(decision.level),
        "reason": decision.reason,
        "status": problem.status if problem else None,
        "error": problem.code if problem else None,
        "zone": decision.zone,
        "port": decision.port,
        "redirect_to": decision.redirect_to,
        "resource": None
        if resource is None
        else {
            "id": resource.id,
            "kind": str(resource.kind),
            "slug": resource.slug,
            "state": str(resource.state),
            "suspended": resource.suspended,
            "tenant_id": resource.tenant_id,
            "workspace_id": resource.workspace_id,
            "project_id": resource.project_id,
            "version": resource.version,
        },
    }


def _host_mode(decision: Decision) -> str | None:
    """What the program is told of the host: `auto` does nothing on a domain of the customer's own."""
    if decision.resource is None or decision.port is None:
        return None
    mode = decision.resource.host_mode(decision.port)
    return PRESERVE if mode == AUTO and decision.level is Level.EXACT else mode


def _access(decision: Decision) -> dict[str, Any] | None:
    """Who may open it, where not everybody may; of its secrets nothing that says what they are."""
    policy = policy_of(decision)
    if policy is None:
        return None
    return {
        "visibility": str(policy.visibility),
        "generation": policy.generation,
        "until": policy.until,
        "hide": policy.hide,
        "networks": list(policy.networks),
        "cors": str(policy.cors),
        "origins": list(policy.origins),
        "login": policy.login,
        "issuers": [
            {"id": one.id, "issuer": one.issuer, "audience": one.audience, "generation": one.generation}
            for one in policy.issuers
        ],
        "identity": policy.identity,
        "secrets": [
            {
                "id": secret.id,
                "kind": str(secret.kind),
                "until": secret.until,
                "revoked": secret.revoked,
                "used": secret.used,
            }
            for secret in policy.secrets
        ],
    }


def _spoken(decision: Decision) -> dict[str, str | None]:
    """What is spoken to the program."""
    resource, port = decision.resource, decision.port
    if resource is None or port is None:
        return {"scheme": None, "protocol": None}
    return {"scheme": resource.schemes.get(port, "http"), "protocol": resource.protocols.get(port, HTTP1)}


def _endpoint(decision: Decision) -> dict[str, Any] | None:
    """What would be dialled now; None where nothing would."""
    resource = decision.resource
    if decision.reason != "served" or resource is None or resource.endpoint is None or decision.port is None:
        return None
    endpoint = resource.endpoint
    return {"address": endpoint.address, "port": endpoint.port(decision.port), "generation": endpoint.generation}

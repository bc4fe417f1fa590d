"""A route: the answer for one host, assembled once and used for every request until something about it changes."""

from collections.abc import Collection, Mapping
from typing import Any

from router.errors import Problem
from router.routes.chain import LOGIN, Decision, Level
from router.routes.policies import AccessPolicy
from router.routes.records import ResourceRecord

_NOT_KEPT: Mapping[str, str] = {}


class Route:
    """What a host leads to, or the problem that answers instead.

    `prepared` and `access` belong to the data plane: it keeps there what it derives from the route once, its pool above
    all, and how its policy is applied. `line` and `record` are what its access lines and its records say of it, once it has had one.
    `fresh_until`, `expires` and `stale_until` are instants of the monotonic clock: from the first on the route is looked up again beside the
    next request, from the second on before it, and until the third it may still be used while the source is down. `source` says where the records came from (`sql`, `redis`, `stale`); after the first use the proxy counts `process`.
    `sources` says it of each key, and is kept for `explain` only. `special` is whether something else than the
    resource may have to respond: a problem, a redirect, the login host, or the proof for a domain check; or whether its exchanges are captured. `used`: since it was remembered, or
    was last considered for being forgotten. `policy` says who may open it, where not everybody may, and `only_guarded` that it is special for nothing else. `capture_until`
    is until when the exchanges of the resource are captured, in seconds of the epoch, 0.0 where they are not. `current` while the resolver remembers it: what becomes of its host is heard
    then, and only then.
    """

    __slots__ = (
        "access",
        "capture_until",
        "current",
        "decision",
        "expires",
        "fresh_until",
        "host",
        "keys",
        "line",
        "only_guarded",
        "policy",
        "port",
        "prepared",
        "problem",
        "record",
        "resource",
        "source",
        "sources",
        "special",
        "stale_until",
        "used",
    )

    def __init__(self, host: str, decision: Decision, *, keys: tuple[str, ...], source: str, expires: float) -> None:
        self.host = host
        self.decision = decision
        self.problem: Problem | None = decision.problem
        self.resource: ResourceRecord | None = decision.resource
        self.port = decision.port
        self.policy: AccessPolicy | None = policy_of(decision)
        plain = decision.problem is None and decision.redirect_to is None and decision.challenge is None
        plain = plain and decision is not LOGIN
        self.special = not plain or self.policy is not None
        self.only_guarded = plain and self.policy is not None
        self.capture_until = 0.0
        if decision.resource is not None and decision.resource.capture_until and decision.problem is None:
            self.capture_until = decision.resource.capture_until
            self.special = True
            self.only_guarded = False
        self.keys = keys
        self.source = source
        self.sources: Mapping[str, str] = _NOT_KEPT
        self.expires = self.fresh_until = expires
        self.stale_until = expires
        self.prepared: Any = None
        self.access: Any = None
        self.line = b""
        self.record: tuple[bytes, bytes, bytes] | None = None
        self.used = False
        self.current = False

    def end_capture(self) -> None:
        """Its time is over: requests cost what they did before."""
        self.capture_until = 0.0
        decision = self.decision
        plain = (
            decision.redirect_to is None and decision.challenge is None
        )  # it has no problem, and is not the login host
        self.special = not plain or self.policy is not None
        self.only_guarded = plain and self.policy is not None

    def __repr__(self) -> str:
        to = self.problem.code if self.problem else f"{self.resource.slug if self.resource else '-'}:{self.port}"
        return f"<Route {self.host} → {to} by {self.decision.level}>"


def policy_of(decision: Decision) -> AccessPolicy | None:
    """Who may open what a host leads to; None is everybody. A redirect is everybody's, but for one to what is hidden: strangers
    would learn from it that it exists."""
    resource = decision.resource
    if resource is None:
        return None
    if decision.redirect_to is None:
        return resource.policy(decision.port or 0)
    policy = resource.policy(resource.default_port or 0)
    return policy if policy is not None and policy.hide else None


ANY_ZONE = "*"


def cookie_scope(route: Route, shared: Collection[str]) -> bytes | None:
    """The widest domain for which the program behind a host may set cookies; None leaves it to browsers.

    A zone holds the resources of strangers: of other tenants under the platform's domain, of a tenant's own customers
    under a preview domain, unless that is among `shared`. A custom domain is its owner's as far up as it can be registered,
    which browsers know, unless it lies in such a zone.
    """
    around = [zone for zone in route.decision.zones if zone not in shared and ANY_ZONE not in shared]
    if around or route.decision.level is Level.PLATFORM:
        return route.host.encode("ascii")
    if route.decision.level is Level.EXACT:
        return None
    return (route.decision.zone or route.host).encode("ascii")

"""The precedence chain: which resource a host means. Pure: records in, a decision out.

1. An exact custom domain that is verified or active wins. A suspended one is refused and nothing else answers in its
   place; one that is pending, failed or removed is as good as absent.
2. Else the zones, the most specific first. In each, the scopes project, workspace, tenant; the first that is verified
   and contains the resource of that slug serves it. A zone whose scopes do not contain it passes to the next one, so
   that zones which nest (`example.com` and `sandbox.example.com`) do not hide each other's names.
3. Else the platform domain, where every slug answers.

Containment is what keeps tenants apart: a slug is unique over the platform, so without it `<slug>.their-domain` would
serve anybody's resource under their name.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from router.errors import BLOCKED, HOST_NOT_FOUND, RESOURCE_DELETED, STARTING, STOPPED, Problem
from router.hostname import HostMeaning
from router.routes.records import (
    DomainStatus,
    NameRecord,
    Record,
    ResourceRecord,
    Scope,
    State,
    ZoneMember,
    ZoneRecord,
    name_key,
    slug_key,
    zone_key,
)

# Why a host is or is not served now. The first five leave the host existing; the gate has a row for each.
REASONS = (
    "served",
    "login",
    "redirect",
    "starting",
    "stopped",
    "suspended",
    "removed",
    "not_verified",
    "port_not_exposed",
    "no_such_resource",
    "unknown_host",
    "reserved_port",
    "invalid_host",
    "resolver_unavailable",
)

_ORDER = {scope: place for place, scope in enumerate(Scope)}


class Level(enum.StrEnum):
    """Which link of the chain answered; a label of the metrics."""

    EXACT = "exact"
    PROJECT = "project"
    WORKSPACE = "workspace"
    TENANT = "tenant"
    PLATFORM = "platform"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Step:
    """One look of the chain, for `explain`: the record's key, whether it was there, and what it meant."""

    key: str
    found: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a host means. With `problem` set, that is the response; `resource` may still say which one it is about.

    `reason` is a word of `REASONS`, for logs and the gate. `redirect_to` sends visitors to another host.
    `caa_forbidden`, `not_pointing` and `challenge` are those of the record that decided, see `NameRecord`. `zones` are the
    preview domains that a host lies in which has a resource, whoever's they are, and whatever served it.
    """

    level: Level
    reason: str
    problem: Problem | None = None
    resource: ResourceRecord | None = None
    port: int | None = None
    zone: str | None = None
    redirect_to: str | None = None
    redirect_status: int = 308
    steps: tuple[Step, ...] = ()
    caa_forbidden: bool = False
    not_pointing: bool = False
    challenge: tuple[str, str] | None = None
    zones: tuple[str, ...] = ()


LOGIN: Final = Decision(Level.PLATFORM, "login")
"""The host where people sign in by their tenant's login: the platform's own, whatever records say."""


def decide(
    host: str,
    host_meanings: tuple[HostMeaning, ...],
    records: Mapping[str, Record | None],
    platform_domain: str,
    reserved_ports: frozenset[int] = frozenset(),
) -> Decision:
    """Decide from the records of `keys_of(host, host_meanings)`; an absent key and None both mean that there is none.

    `reserved_ports` are never served, whether the host names one or a resource has one as its default.
    """
    decision = _decide(host, host_meanings, records, platform_domain, reserved_ports)
    if decision.resource is not None:
        configured = {reading.zone for reading in host_meanings if records.get(zone_key(reading.zone)) is not None}
        if configured:
            decision = replace(decision, zones=tuple(sorted(configured)))
    name = records.get(name_key(host))
    if isinstance(name, NameRecord) and name.challenge is not None and not name.suspended:
        # Also while another domain serves the host: we respond to the check of this one.
        return replace(decision, challenge=name.challenge)
    return decision


def _decide(
    host: str,
    host_meanings: tuple[HostMeaning, ...],
    records: Mapping[str, Record | None],
    platform_domain: str,
    reserved_ports: frozenset[int],
) -> Decision:
    steps: list[Step] = []
    reason = "unknown_host"
    name = records.get(name_key(host))
    if isinstance(name, NameRecord):
        if name.suspended:
            steps.append(Step(name_key(host), True, "suspended: blocked"))
            return Decision(Level.EXACT, "suspended", BLOCKED, steps=tuple(steps))
        if name.status.routes:
            steps.append(Step(name_key(host), True, f"{name.status}: this exact domain wins"))
            exact = _exact(name, reserved_ports, steps)
            return replace(exact, caa_forbidden=name.caa_forbidden, not_pointing=name.not_pointing)
        steps.append(Step(name_key(host), True, f"{name.status}: does not route"))
        reason = "removed" if name.status is DomainStatus.REMOVED else "not_verified"
    else:
        steps.append(Step(name_key(host), False, "no custom domain of this name"))
    for reading in host_meanings:
        zone = records.get(zone_key(reading.zone))
        resource = records.get(slug_key(reading.slug))
        if not isinstance(resource, ResourceRecord):
            steps.append(Step(slug_key(reading.slug), False, "no resource of this slug"))
            if reading.zone == platform_domain or (isinstance(zone, ZoneRecord) and zone.verified):
                reason = "no_such_resource" if reason == "unknown_host" else reason
            continue
        level, claim, why_not, outcome = _zone_level(reading.zone, resource, zone, platform_domain)
        steps.append(Step(zone_key(reading.zone), isinstance(zone, ZoneRecord), outcome))
        if level is not Level.NONE:
            served = _serve(level, resource, reading.port, reading.zone, reserved_ports, steps)
            if claim is None:
                return served
            return replace(served, caa_forbidden=claim.caa_forbidden, not_pointing=claim.not_pointing)
        reason = why_not if reason == "unknown_host" else reason
    return Decision(Level.NONE, reason, BLOCKED if reason == "suspended" else HOST_NOT_FOUND, steps=tuple(steps))


def _exact(name: NameRecord, reserved_ports: frozenset[int], steps: list[Step]) -> Decision:
    if name.redirect_to is not None:
        return Decision(
            Level.EXACT,
            "redirect",
            resource=name.resource,
            redirect_to=name.redirect_to,
            redirect_status=name.redirect_status,
            steps=tuple(steps),
        )
    if name.resource is None:
        steps.append(Step(name_key(name.fqdn), True, "the resource that it led to is gone"))
        return Decision(Level.EXACT, "removed", RESOURCE_DELETED, steps=tuple(steps))
    return _serve(Level.EXACT, name.resource, None, None, reserved_ports, steps)


def _zone_level(
    zone: str, resource: ResourceRecord, record: Record | None, platform_domain: str
) -> tuple[Level, ZoneMember | None, str, str]:
    """Which scope of the zone serves the resource, and its claim; else the reason; and the outcome for `explain`."""
    if zone == platform_domain:
        return Level.PLATFORM, None, "served", "the platform domain serves every resource"
    if not isinstance(record, ZoneRecord):
        return Level.NONE, None, "unknown_host", "nobody's preview domain"
    holders = [claim for claim in record.claims if claim.contains(resource)]
    verified = [claim for claim in holders if claim.verified]
    if verified:
        claim: ZoneMember = min(verified, key=lambda item: _ORDER[item.scope])
        return Level(claim.scope.value), claim, "served", f"the {claim.scope} preview domain contains the resource"
    if holders:
        # What is blocked stays so under a zone that its owner cleared and set anew: no certificate, whatever was seen of one.
        why_not = "suspended" if resource.suspended else "not_verified"
        return Level.NONE, None, why_not, "a preview domain that is not verified yet"
    others = "no_such_resource" if record.verified else "not_verified"
    return Level.NONE, None, others, "a preview domain of others than the resource's owner"


def _serve(
    level: Level,
    resource: ResourceRecord,
    port: int | None,
    zone: str | None,
    reserved_ports: frozenset[int],
    steps: list[Step],
) -> Decision:
    asked = port if port is not None else resource.default_port
    reason, problem = ("reserved_port", HOST_NOT_FOUND) if asked in reserved_ports else _refusal(resource, asked)
    steps.append(Step(slug_key(resource.slug), True, f"{reason}: port {asked} of this {resource.kind}"))
    return Decision(level, reason, problem, resource, asked, zone, steps=tuple(steps))


def _refusal(resource: ResourceRecord, port: int | None) -> tuple[str, Problem | None]:
    """Why the resource cannot be reached on that port now, the most final reason first."""
    if resource.suspended:
        return "suspended", BLOCKED
    if resource.state is State.DESTROYED:
        return "removed", RESOURCE_DELETED
    if port is None or not resource.exposes(port):
        return "port_not_exposed", HOST_NOT_FOUND
    if resource.state in (State.STARTING, State.PROVISIONING):
        return "starting", STARTING
    if resource.state is not State.RUNNING:
        return "stopped", STOPPED
    if resource.endpoint is None:
        return "starting", STARTING
    return "served", None

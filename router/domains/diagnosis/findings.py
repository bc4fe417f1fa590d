"""What a diagnosis is made of: findings, and the records to add, change or delete that go with them."""

import enum
from dataclasses import dataclass
from datetime import datetime

from router.domains.checks.challenge import shows
from router.domains.checks.judgement import Check
from router.domains.checks.proof import Need
from router.domains.diagnosis.snapshot import DnsSnapshot, NameState, Proof, own_values
from router.domains.lookup import RecordType


class Severity(enum.StrEnum):
    """How bad it is: it does not work, it may not go on working, or it is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Action(enum.StrEnum):
    """What to do with a record."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to do at the DNS provider. `host` is what to type as the name there; `value` what the record must say,
    or what the one to delete says."""

    action: Action
    type: str
    name: str
    host: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found out. `code` is public and stable. `blocks` is whether verify refuses the domain for it."""

    code: str
    severity: Severity
    message: str
    records: tuple[Remedy, ...] = ()
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of a domain that is not in DNS.

    `status` None is a name that is not registered here. `routes` is whether visitors are served, `held_by_another`
    whether another tenant has it, `check` what a check of it came to, as verify would have it; None where there is none to
    verify. `certificate_error` is what the last try for a certificate said, `retry_at` when there may be another, `limited`
    whether a limit is why.
    """

    now: datetime
    status: str | None = None
    routes: bool = False
    suspended: bool = False
    held_by_another: bool = False
    check: Check | None = None
    certificate_error: str | None = None
    limited: bool = False
    retry_at: datetime | None = None
    verified_at: datetime | None = None

    @property
    def need(self) -> Need | None:
        """Why records that lead here are not proof enough."""
        return None if self.check is None else self.check.need


def an_error(code: str, message: str, *records: Remedy) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message, records=records)


def an_info(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.INFO, message=message)


def unless_right(right: bool) -> Severity:
    """What is wrong with a name is a warning where its visitors reach us all the same."""
    return Severity.WARNING if right else Severity.ERROR


def at_top(snapshot: DnsSnapshot) -> str:
    return f"an ALIAS (or ANAME) record to {target_of(snapshot)}, or A and AAAA records with its addresses,"


def target_of(snapshot: DnsSnapshot) -> str:
    return snapshot.subject.best


def wanted(snapshot: DnsSnapshot, state: NameState) -> tuple[Remedy, ...]:
    """The one record that would be right: a change of the CNAME that is there, else a new one."""
    return (cname(snapshot, state.name, Action.CHANGE if state.alias is not None else Action.ADD),)


def cname(snapshot: DnsSnapshot, name: str, action: Action, target: str | None = None) -> Remedy:
    """The CNAME to the target, or else the one to recommend."""
    value = target or snapshot.subject.best
    return Remedy(action=action, type=RecordType.CNAME, name=name, host=snapshot.label(name), value=value)


def txt(snapshot: DnsSnapshot, name: str, token: str) -> Remedy:
    """The TXT record that proves who owns the name."""
    return Remedy(action=Action.ADD, type=RecordType.TXT, name=name, host=snapshot.label(name), value=token)


def not_by_wildcard(snapshot: DnsSnapshot, proof: Proof, above: str) -> tuple[Remedy, ...]:
    """The TXT record at its own name, and not by the wildcard of `above`: beside one with the same value nobody can tell."""
    given = [value for value in own_values(proof.seen) if shows([value], proof.token)]
    gone = [removal(snapshot, f"*.{above}", RecordType.TXT, value) for value in given]
    return (*gone, txt(snapshot, proof.name, proof.token))


def to_add(snapshot: DnsSnapshot, state: NameState) -> tuple[Remedy, ...]:
    return addresses_to_add(snapshot, state.name) if snapshot.is_top(state) else wanted(snapshot, state)


def addresses_to_add(snapshot: DnsSnapshot, name: str) -> tuple[Remedy, ...]:
    """The target's addresses, for the top of a zone."""
    return tuple(
        Remedy(action=Action.ADD, type=kind, name=name, host=snapshot.label(name), value=value)
        for kind, values in snapshot.addresses.items()
        for value in values
    )


def removal(snapshot: DnsSnapshot, name: str, kind: RecordType, value: str) -> Remedy:
    return Remedy(action=Action.DELETE, type=kind, name=name, host=snapshot.label(name), value=value)

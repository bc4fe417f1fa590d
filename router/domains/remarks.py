"""What a diagnosis is made of: remarks, and the records to add, change or delete that go with them."""

import enum
from dataclasses import dataclass
from datetime import datetime

from router.domains.lookup import RecordType
from router.domains.survey import Spot, Survey


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
class Remark:
    """One thing that was found out. `code` is public and stable."""

    code: str
    severity: Severity
    message: str
    records: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a domain that is not in DNS.

    `status` None is a name that nobody has registered here. `routes` is whether visitors are served, `held_by_another`
    whether it is somebody else's here. `certificate_error` is what the last try for one said, `retry_at` when there may
    be another, `limited` whether a limit is why.
    """

    now: datetime
    status: str | None = None
    routes: bool = False
    suspended: bool = False
    held_by_another: bool = False
    certificate_error: str | None = None
    limited: bool = False
    retry_at: datetime | None = None
    verified_at: datetime | None = None


def an_error(code: str, message: str, *records: Remedy) -> Remark:
    return Remark(code=code, severity=Severity.ERROR, message=message, records=records)


def an_info(code: str, message: str) -> Remark:
    return Remark(code=code, severity=Severity.INFO, message=message)


def unless_right(right: bool) -> Severity:
    """What is wrong with a name is a warning where its visitors reach us all the same."""
    return Severity.WARNING if right else Severity.ERROR


def at_top(survey: Survey) -> str:
    return f"an ALIAS (or ANAME) record to {target_of(survey)}, or A and AAAA records with its addresses,"


def target_of(survey: Survey) -> str:
    return survey.subject.target


def wanted(survey: Survey, spot: Spot) -> tuple[Remedy, ...]:
    """The one record that would be right: a change of the CNAME that is there, else a new one."""
    return (cname(survey, spot.name, Action.CHANGE if spot.alias is not None else Action.ADD),)


def cname(survey: Survey, name: str, action: Action) -> Remedy:
    """The CNAME to our target."""
    return Remedy(action=action, type=RecordType.CNAME, name=name, host=survey.label(name), value=survey.subject.target)


def txt(survey: Survey, name: str, token: str) -> Remedy:
    """The TXT record that proves who owns the name."""
    return Remedy(action=Action.ADD, type=RecordType.TXT, name=name, host=survey.label(name), value=token)


def to_add(survey: Survey, spot: Spot) -> tuple[Remedy, ...]:
    return addresses_to_add(survey, spot.name) if survey.is_top(spot) else wanted(survey, spot)


def addresses_to_add(survey: Survey, name: str) -> tuple[Remedy, ...]:
    """The target's addresses, for the top of a zone."""
    return tuple(
        Remedy(action=Action.ADD, type=kind, name=name, host=survey.label(name), value=value)
        for kind, values in survey.addresses.items()
        for value in values
    )


def removal(survey: Survey, name: str, kind: RecordType, value: str) -> Remedy:
    return Remedy(action=Action.DELETE, type=kind, name=name, host=survey.label(name), value=value)

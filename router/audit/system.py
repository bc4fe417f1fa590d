"""What the router does by itself that is an entry: a job that takes a domain down, a block that ends, a domain that goes to whom it
is proved to belong to. Made from the events of the transaction, so that no job has to say it.

Acts of others have their own entry; an event of such a transaction is one here only where it is about another tenant than theirs.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

from router.audit.entry import MAX_NAME, SYSTEM, Entry, Via
from router.audit.safe_fields import cut, shown
from router.base.ids import new_id

# What happened, by the end of an event's type, and the noun that entries have where it is another than the event's.
HAPPENED: Final = frozenset(
    {"verified", "active", "failed", "recovered", "transferred", "suspended", "resumed", "lost", "switched_off"}
)
NOUNS: Final[Mapping[str, str]] = MappingProxyType({"domain": "custom_domain"})
FACTS: Final = ("reason", "expires_at")  # of an event's data


class Event(Protocol):
    """An event as a transaction stores it."""

    @property
    def type(self) -> str: ...

    @property
    def tenant_id(self) -> str: ...

    @property
    def workspace_id(self) -> str | None: ...

    @property
    def project_id(self) -> str | None: ...

    @property
    def resource_id(self) -> str | None: ...

    @property
    def domain_id(self) -> str | None: ...

    @property
    def data(self) -> Mapping[str, Any]: ...


def entries_of(events: Iterable[Event], now: datetime, *, but: str | None = None) -> list[Entry]:
    """The entries that these events are; those of the tenant `but` are somebody's own act."""
    found = []
    for event in events:
        noun, _, happened = event.type.partition(".")
        if happened not in HAPPENED or event.tenant_id == but:
            continue
        noun = NOUNS.get(noun, noun)
        name = event.data.get("fqdn") or event.data.get("slug")
        found.append(
            Entry(
                id=new_id(),
                created_at=now,
                tenant_id=event.tenant_id,
                workspace_id=event.workspace_id,
                project_id=event.project_id,
                actor_type=SYSTEM.type,
                actor_id=SYSTEM.id,
                via=Via.JOB,
                action=f"{noun}.{happened}",
                resource_type=noun,
                resource_id=event.domain_id or event.data.get("webhook_id") or event.resource_id,
                resource_name=cut(name, MAX_NAME) if isinstance(name, str) else None,
                changes={fact: {"new": shown(event.data[fact])} for fact in FACTS if event.data.get(fact) is not None},
            )
        )
    return found

"""An act under way. Who begins it (the API, a command) makes it current; the store writes its entry in the first transaction that
commits meanwhile, and adds to it in later ones. So no change of an act is without its entry, and no service has to say anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime

from router.audit.entry import MAX_NAME, Actor, ActorType, Entry, Outcome, Via
from router.audit.notes import Notes
from router.audit.safe_fields import bounded, cut
from router.base.ids import new_id


@dataclass(slots=True, kw_only=True)
class Act:
    """`resource_id` is what the request names, and the entry's if nothing better is found. `bound` says that its actor sees
    nothing but `tenant_id`. `stored` is its entry as committed; `over`: its transactions write nothing about it any more."""

    actor: Actor
    via: Via
    action: str
    resource_id: str | None = None
    resource_name: str | None = None
    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    bound: bool = True
    status: int | None = None
    address: str | None = None
    request_id: str | None = None
    user_agent: str | None = None
    id: str = ""
    stored: Entry | None = None
    over: bool = False
    placed: bool = False

    def __post_init__(self) -> None:
        self.id = self.id or new_id()

    def entry(self, now: datetime, *, status: int | None = None, code: str | None = None) -> Entry:
        """Its entry without what a transaction knows."""
        status = self.status if status is None else status
        return Entry(
            id=self.id,
            created_at=now,
            tenant_id=self.tenant_id,
            workspace_id=self.workspace_id,
            project_id=self.project_id,
            actor_type=self.actor.type,
            actor_id=cut(self.actor.id, MAX_NAME),
            actor_name=None if self.actor.name is None else cut(self.actor.name, MAX_NAME),
            actor_scope=self.actor.scope,
            via=self.via,
            action=self.action,
            resource_type=self.action.partition(".")[0],
            resource_id=None if self.resource_id is None else cut(self.resource_id, MAX_NAME),
            resource_name=None if self.resource_name is None else cut(self.resource_name, MAX_NAME),
            outcome=Outcome.OK if status is None else Outcome.of(status),
            status=status,
            code=code,
            address=self.address,
            request_id=self.request_id,
            user_agent=self.user_agent,
        )

    def entry_with(self, notes: Notes, now: datetime) -> Entry | None:
        """Its entry with what a transaction has read and written; None where nothing is to be stored."""
        if self.over:
            return None
        entry = self.entry(now) if self.stored is None else self.stored
        found = notes.about(entry.resource_type, self.resource_id, self.tenant_id if self.bound else None)
        if found is None:
            return entry if self.stored is None else None
        owned = self.tenant_id is None or not self.bound
        return replace(
            entry,
            tenant_id=(found.tenant_id or entry.tenant_id) if owned else entry.tenant_id,
            workspace_id=found.workspace_id or entry.workspace_id,
            project_id=found.project_id or entry.project_id,
            resource_id=found.id or entry.resource_id,
            resource_name=found.name or entry.resource_name,
            changes=bounded({**entry.changes, **found.changes}),
        )


_current: ContextVar[Act | None] = ContextVar("act", default=None)


def current_act() -> Act | None:
    """The act that this task is part of; None where that is over: a task that a request has started may outlive it."""
    act = _current.get()
    return None if act is None or act.over else act


def note_place(tenant_id: str, workspace_id: str | None, project_id: str | None) -> None:
    """What the current act is about lies there, as its actor may see it: those who may see that place see its entry. The first counts."""
    act = _current.get()
    if act is not None and not act.placed:
        act.placed = True
        act.tenant_id, act.workspace_id, act.project_id = tenant_id, workspace_id, project_id


@contextmanager
def acting(act: Act | None) -> Iterator[None]:
    """Make it the current one. It is over afterwards: what it has left running writes nothing about it."""
    token = _current.set(act)
    try:
        yield
    finally:
        _current.reset(token)
        if act is not None:
            act.over = True


def operator(uid: int, name: str) -> Actor:
    """A user of the operating system who operates the router."""
    return Actor(type=ActorType.OPERATOR, id=str(uid), name=name)

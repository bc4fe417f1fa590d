"""Which records a transaction has read and written while an act is under way.

The rows of each noun are watched from outside (`Watched`): what a method returns was read, what is given to one that stores was
written. So an entry says what changed though no service and no row knows of the audit log.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router.audit.entry import MAX_NAME
from router.audit.safe_fields import SAFE, SILENT, cut, shown

_STORING: Final = ("add", "save", "put", "file")  # how the names of methods that store begin
_MAX_RECORDS: Final = 200  # of one method's result or arguments that are noted

# Which record a thing of an entry is, by its type.
CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "tenant": ("Tenant",),
    "branding": ("Tenant",),
    "workspace": ("Workspace",),
    "workspace_settings": ("Workspace",),
    "project": ("Project",),
    "api_key": ("Key",),
    "resource": ("Resource",),
    "request_capture": ("Resource",),
    "request_log": ("Resource",),
    "sandbox": ("Resource",),
    "computer": ("Resource",),
    "deployment": ("Resource", "Deployment"),
    "endpoint": ("StoredEndpoint",),
    "preview": ("Preview",),
    "preview_password": ("Preview", "Resource"),
    "preview_token": ("PreviewSecret",),
    "share_link": ("PreviewSecret", "Preview"),
    "trusted_issuer": ("TrustedIssuer",),
    "log_drain": ("LogDrain",),
    "login": ("Login",),
    "session": ("Session",),
    "version": ("Version",),
    "release": ("Release",),
    "env_variable": ("EnvVar",),
    "custom_domain": ("CustomDomain",),
    "preview_domain": ("PreviewDomain",),
    "certificate": ("HeldCertificate", "CertificateRequest"),
    "webhook": ("Webhook",),
    "webhook_delivery": ("Delivery",),
    "block": ("Block",),
}
_KEYS: Final = {  # by which field a record is known, where that is not its id
    "PreviewDomain": "scope_id",
    "Login": "tenant_id",
    "StoredEndpoint": "resource_id",
    "HeldCertificate": "domain",
    "CertificateRequest": "domain",
    "EnvVar": "name",
}
_NAMELESS: Final = frozenset({"HeldCertificate", "CertificateRequest", "EnvVar"})  # whose key is no id for readers
_NAMES: Final = ("name", "fqdn", "domain", "slug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a transaction knows of an act's thing."""

    id: str | None
    name: str | None
    tenant_id: str | None
    workspace_id: str | None
    project_id: str | None
    changes: Mapping[str, Any]


@dataclass(slots=True)
class Notes:
    """The records of one transaction, by class and key: as they were first read, and (before, after) of those written."""

    read: dict[tuple[str, str], Any] = field(default_factory=dict)
    written: dict[tuple[str, str], tuple[Any, Any]] = field(default_factory=dict)

    def note_read(self, result: Any) -> None:
        """Something was read, or given to a method that stores nothing."""
        for record in _records(result):
            if (key := _key(record)) is not None and self.read.setdefault(key, record) != record:
                # It is ours until the commit, so who changed it meanwhile was this transaction, by a statement of its own.
                self.written[key] = self.written.get(key, (self.read[key], None))[0], record

    def note_written(self, arguments: tuple[Any, ...]) -> None:
        """Something was stored: the new record, with or without the old one before it."""
        records = [record for argument in arguments for record in _records(argument)]
        if len(arguments) == len(records) == 2:
            self.note_read(records[0])
            del records[0]
        for record in records:
            if (key := _key(record)) is not None:
                before = self.written[key][0] if key in self.written else self.read.get(key)
                self.written[key] = before, record

    def about(self, kind: str, wanted: str | None, tenant_id: str | None) -> Found | None:
        """What is known of an act's thing: of that type, by its id if the request names it; None where nothing is.

        With `tenant_id`, another tenant's records are left aside: a domain may be taken over from one.
        """
        classes = CLASSES.get(kind, ())
        written = self._of(self.written, classes, wanted, tenant_id)
        pairs = [self.written[key] for key in written]
        records = [after for _, after in pairs] or [
            self.read[key] for key in self._of(self.read, classes, wanted, tenant_id)
        ]
        if not records:
            return self._around(tenant_id)
        owner = self._owner(records)
        one = min(records, key=lambda record: classes.index(type(record).__name__))
        if len({_key_of(record) for record in records}) > 1:
            one = None
        changes: dict[str, Any] = {}
        for before, after in pairs if one is not None else ():
            changes |= _changed(before, after)
        if one is None and pairs:
            names = [name for name in map(_name, (after for _, after in pairs)) if name is not None]
            changes = {"records": {"new": len(pairs)}, **({"names": {"new": shown(names)}} if names else {})}
        return Found(
            id=None if one is None or type(one).__name__ in _NAMELESS else _key_of(one),
            name=None if one is None else _name(one),
            **owner,
            changes=changes,
        )

    def _around(self, tenant_id: str | None) -> Found | None:
        """Nothing of the thing itself was seen: whose the machine is that it belongs to."""
        for name in ("Resource", "Project", "Workspace"):
            records = [one for (kind, _), one in self.read.items() if kind == name and self._visible(one, tenant_id)]
            if records:
                return Found(id=None, name=None, **self._owner(records), changes={})
        return None

    def _of(
        self, noted: Mapping[tuple[str, str], Any], classes: tuple[str, ...], wanted: str | None, tenant_id: str | None
    ) -> list[tuple[str, str]]:
        keys = [key for key in noted if key[0] in classes and self._visible(noted[key], tenant_id)]
        named = [key for key in keys if key[1] == wanted]
        if named:
            return named
        others = [key for key in keys if wanted is None or key[0] in _KEYS]
        # Of what was only read, the last is what the act was about: its path leads from the outside in.
        return others if noted is self.written else others[-1:]

    def _visible(self, noted: Any, tenant_id: str | None) -> bool:
        record = noted[1] if isinstance(noted, tuple) else noted
        owner = getattr(record, "tenant_id", None)
        return tenant_id is None or owner is None or owner == tenant_id

    def _owner(self, records: list[Any]) -> dict[str, str | None]:
        """Whose the records are, as far as all are the same one's."""
        found = [self._place(record) for record in records]
        return {
            name: place[0] if len(set(place)) == 1 else None
            for name, place in zip(("tenant_id", "workspace_id", "project_id"), zip(*found, strict=True), strict=True)
        }

    def _place(self, record: Any) -> tuple[str | None, str | None, str | None]:
        kind = type(record).__name__
        if kind == "Tenant":
            return record.id, None, None
        if kind == "Workspace":
            return record.tenant_id, record.id, None
        if kind == "Project":
            return record.tenant_id, record.workspace_id, record.id
        if kind == "Deployment":
            record = record.resource
        if kind == "PreviewDomain" and record.scope.value != "tenant":
            # Of a project's the workspace is not known here.
            project = record.scope.value == "project"
            return record.tenant_id, None if project else record.scope_id, record.scope_id if project else None
        if not hasattr(record, "tenant_id") or not hasattr(record, "workspace_id"):
            resource = self._resource(getattr(record, "resource_id", None))
            if resource is not None:
                return resource.tenant_id, resource.workspace_id, resource.project_id
        return tuple(getattr(record, name, None) for name in ("tenant_id", "workspace_id", "project_id"))  # type: ignore[return-value]  # three

    def _resource(self, resource_id: str | None) -> Any:
        key = ("Resource", resource_id or "")
        return self.written[key][1] if key in self.written else self.read.get(key)


class Watched:
    """The rows of one noun, with notes taken of what goes in and out."""

    def __init__(self, rows: Any, notes: Notes) -> None:
        self._rows = rows
        self._notes = notes

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._rows, name)
        stores = name.startswith(_STORING)

        async def call(*arguments: Any, **options: Any) -> Any:
            result = await method(*arguments, **options)
            if stores:
                self._notes.note_written(arguments)
            else:
                self._notes.note_read(arguments)
            self._notes.note_read(result)
            return result

        return call


def _records(value: Any) -> Iterable[Any]:
    """The records in what a method takes or gives."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "items") and isinstance(value.items, tuple):
            yield from _records(value.items)  # of a Listing
            return
        yield value
        if dataclasses.is_dataclass(inner := getattr(value, "resource", None)):
            yield inner  # of a Deployment
    elif isinstance(value, tuple | list):
        for one in value[:_MAX_RECORDS]:
            yield from _records(one)
    elif isinstance(value, Mapping):
        for one in list(value.values())[:_MAX_RECORDS]:
            yield from _records(one)


def _key(record: Any) -> tuple[str, str] | None:
    key = _key_of(record)
    return None if key is None else (type(record).__name__, key)


def _key_of(record: Any) -> str | None:
    key = getattr(record, _KEYS.get(type(record).__name__, "id"), None)
    return key if isinstance(key, str) else None


def _name(record: Any) -> str | None:
    # What a block is about has a name; the subject of a session is a person, whom no entry names.
    for name in ("subject",) if type(record).__name__ == "Block" else _NAMES:
        if isinstance(found := getattr(record, name, None), str) and found:
            return cut(found, MAX_NAME)
    port = getattr(record, "port", None)
    return str(port) if isinstance(port, int) else None


def _changed(before: Any, after: Any) -> Mapping[str, Any]:
    """The names of the fields in which they differ, with the values of those that are safe. Of a new record: what it has."""
    safe = SAFE.get(type(after).__name__, frozenset())
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(after):
        new = getattr(after, item.name)
        old = None if before is None else getattr(before, item.name)
        if item.name in SILENT or new == old or dataclasses.is_dataclass(new):
            continue
        if before is None and (new is None or new is False or new in ("", (), [], {}, frozenset())):
            continue
        if item.name not in safe:
            changes[item.name] = None
        elif before is None:
            changes[item.name] = {"new": shown(new)}
        else:
            changes[item.name] = {"old": shown(old), "new": shown(new)}
    return changes

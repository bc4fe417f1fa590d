"""One log drain, and where drains are stored."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from router.base.paging import Listing, Window
from router.tenancy.signatures import good_secrets

PAUSED_BY_GONE: Final = "it answered 410 Gone, so the drain was paused"


class DrainKind(enum.StrEnum):
    """By which protocol records are sent."""

    HTTP = "http"
    SYSLOG = "syslog"


class BatchFormat(enum.StrEnum):
    """What the body of an HTTP batch is: a JSON array, or a line of JSON for each record."""

    JSON = "json"
    NDJSON = "ndjson"


class DrainState(enum.StrEnum):
    """A paused drain sends nothing, and what happens meanwhile is not sent later."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDrain:
    """A tenant's drain of records. With `resource_id` it sends that resource's alone, with `errors_only` those of requests that
    failed or were refused.

    `credentials` is sealed (`base/secret_box.py`): a JSON object of the headers that go with each batch, or of the structured data of each
    syslog line; None for none. `position` is the id of the last record that was sent or given up; records have ids that only rise.
    `failures` counts the tries in a row that failed, `next_at` is when the next one is. `lost` are the records that were given up
    since the drain was made, `gap` those of them that its endpoint has not been told of.
    """

    id: str
    tenant_id: str
    name: str
    kind: DrainKind
    url: str
    format: BatchFormat = BatchFormat.JSON
    resource_id: str | None = None
    errors_only: bool = False
    state: DrainState = DrainState.ACTIVE
    credentials: str | None = field(default=None, repr=False)
    credential_names: tuple[str, ...] = ()
    secret: str = field(repr=False)
    old_secret: str | None = field(default=None, repr=False)
    old_secret_until: datetime | None = None
    position: int = 0
    delivered: int = 0
    lost: int = 0
    gap: int = 0
    failures: int = 0
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime
    updated_at: datetime

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """Those that are good now, the current one first."""
        return good_secrets(self.secret, self.old_secret, self.old_secret_until, now)


class LogDrainRows(Protocol):
    """Stored log drains."""

    async def add(self, drain: LogDrain) -> None: ...

    async def get(self, drain_id: str) -> LogDrain | None: ...

    async def list(self, window: Window, *, tenant_id: str) -> Listing[LogDrain]:
        """The oldest first."""

    async def save(self, drain: LogDrain) -> None:
        """Store what its owner sets: everything but how far it has come."""

    async def delete(self, drain_id: str) -> None: ...

    async def any(self) -> bool:
        """Whether any is active."""

    async def due(self, newest: int, now: datetime) -> Sequence[LogDrain]:
        """Those that are active, have not seen the record `newest`, and may be tried by `now`."""

    async def settle(self, drain: LogDrain) -> bool:
        """Store how far it has come. False, and nothing stored, where its owner has changed, paused or deleted it meanwhile."""

    async def skip(self, drains: Sequence[str], position: int) -> None:
        """Move active drains, which had nothing to send up to there, to a position."""

    async def after(self, drain_id: str, limit: int) -> Sequence[LogDrain]:
        """Those with credentials behind this one, by id; all from "" on."""

    async def reseal(self, drain_id: str, before: str, after: str) -> None:
        """Replace sealed credentials, unless they are others than `before` by now."""

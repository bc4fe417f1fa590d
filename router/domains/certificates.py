"""What is known of certificates, and of the tries to get one. Values only: the gate decides from them, the store keeps
them, the API shows them.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# For how long a certificate of which nothing was read may live: the longest that an authority which Caddy uses by default
# issues for. A shorter guess would end evidence before a certificate, which Caddy then throws away at its renewal.
UNREAD_LIFETIME = timedelta(days=90)

# Shares of a certificate's lifetime, whatever it is.
RENEWED_AFTER = 2 / 3  # Caddy renews by then; earlier where the authority tells it to
LATE_AFTER = 5 / 6  # by then several renewals have failed: half of what was left for them has gone


class CertificateStatus(enum.StrEnum):
    """How a host stands. `pending`: nothing was seen yet, neither a certificate nor a failure. `expiring` has a certificate that should have been renewed by now; `removed` had one, and is
    no longer served."""

    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"
    RATE_LIMITED = "rate_limited"
    EXPIRING = "expiring"
    REMOVED = "removed"


class Source(enum.StrEnum):
    """How a certificate is known: a visitor came by https, or it was read."""

    TRAFFIC = "traffic"
    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a certificate says of itself. `serial` is hexadecimal."""

    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        return self.not_after - self.not_before

    @property
    def due_at(self) -> datetime:
        """When it should be renewed."""
        return due_at(self.not_before, self.not_after)

    @property
    def late_at(self) -> datetime:
        """When it should have been renewed for long."""
        return self.not_before + self.lifetime * LATE_AFTER


def due_at(not_before: datetime, not_after: datetime) -> datetime:
    """See `Leaf.due_at`."""
    return not_before + (not_after - not_before) * RENEWED_AFTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One host's. `leaf` and `seen_at` None: none has been seen. `retry_at` is when it is tried again after a failure;
    `due_at` when its host has its turn next."""

    host: str
    status: CertificateStatus
    tenant_id: str | None = None
    domain_id: str | None = None
    leaf: Leaf | None = None
    seen_at: datetime | None = None
    source: Source | None = None
    last_error: str | None = None
    retry_at: datetime | None = None
    due_at: datetime | None = None
    failures: int = 0

    @property
    def issuer(self) -> str | None:
        return None if self.leaf is None else self.leaf.issuer

    @property
    def serial(self) -> str | None:
        return None if self.leaf is None else self.leaf.serial

    @property
    def not_before(self) -> datetime | None:
        return None if self.leaf is None else self.leaf.not_before

    @property
    def not_after(self) -> datetime | None:
        return None if self.leaf is None else self.leaf.not_after

    @property
    def live_until(self) -> datetime | None:
        """Until when there is a certificate, as far as is known; None where there is none."""
        leaf = self.leaf
        between = (None, None) if leaf is None else (leaf.not_before, leaf.not_after)
        return live_until(self.status, self.source, self.seen_at, *between)


def live_until(
    status: CertificateStatus,
    source: Source | None,
    seen_at: datetime | None,
    not_before: datetime | None,
    not_after: datetime | None,
) -> datetime | None:
    """See `Certificate.live_until`. After a visit it may be another than the one that was read last, and lives as long."""
    if seen_at is None or status is CertificateStatus.REMOVED:
        return None
    if not_before is None or not_after is None:
        return seen_at + UNREAD_LIFETIME
    return not_after if source is Source.PROBE else seen_at + (not_after - not_before)


@dataclass(frozen=True, slots=True)
class Seen:
    """A visitor came to the host by https."""

    host: str
    seen_at: datetime
    tenant_id: str | None = None


class Outcome(enum.StrEnum):
    """How a try ended. `expired`: neither a certificate nor a failure was seen in time, so one may have been issued."""

    OPEN = "open"
    ISSUED = "issued"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One time that Caddy was told to get a first certificate. Instants are seconds since 1970.

    `domain` is the registered domain, for the authority counts by it. `closed_at` is None while it is open.
    """

    id: str
    host: str
    domain: str
    tenant_id: str | None
    opened_at: float
    outcome: Outcome = Outcome.OPEN
    closed_at: float | None = None

    def may_become(self, outcome: Outcome) -> bool:
        """Whether what is known now says more than what was known before: a certificate that is seen late was issued."""
        return _CERTAINTY[outcome] > _CERTAINTY[self.outcome]


@dataclass(frozen=True, slots=True)
class Read:
    """A host's certificate was read."""

    host: str
    seen_at: datetime
    leaf: Leaf
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True)
class CertificateDelta:
    """What has changed, or a part of it. `live` says of hosts until when they have a certificate, None that they have
    none any more; `due` of those whose certificate was read when its renewal is due; `lifetimes` how long the one lives
    that was read last. `until` is where the next query goes on. `next` is where the next part does, None after the last one. `now` is what the store's clock says, in seconds since
    1970; None where it has none."""

    attempts: tuple[Attempt, ...]
    live: Mapping[str, datetime | None]
    until: float
    due: Mapping[str, datetime] = field(default_factory=dict)
    lifetimes: Mapping[str, timedelta] = field(default_factory=dict)
    next: tuple[float, str] | None = None
    now: float | None = None


_CERTAINTY = {Outcome.OPEN: 0, Outcome.EXPIRED: 1, Outcome.FAILED: 2, Outcome.ISSUED: 3}

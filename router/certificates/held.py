"""Held certificates: those whose private key the router has, sealed, in the store.

One domain has at most one of each origin. It ends with its owner's hold on the name: in that same transaction its chain and
key are blanked, and what remains is a row with `removed_at` for the nodes that follow.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.domains.certificates import Leaf


class Origin(enum.StrEnum):
    MANAGED = "managed"  # a zone's, which the router has ordered
    UPLOADED = "uploaded"  # the owner has brought it


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCertificate:
    """`domain` is a preview domain or the platform's own zone; of an uploaded one, a custom domain, or `upload_name` of a preview domain.
    `chain` is PEM, the leaf first.

    `renew_at` is when a managed one is to be renewed, `ari_id` what the authority calls it (RFC 9773 §4.1), `ari_at` when it is
    to be asked again when to renew, `directory` the authority. `warned_days` is the last mark before the end of an uploaded
    one that its owner was told of.
    """

    id: str
    domain: str
    tenant_id: str | None
    origin: Origin
    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    chain: str
    sealed_key: str
    renew_at: datetime | None = None
    ari_id: str | None = None
    ari_at: datetime | None = None
    directory: str | None = None
    warned_days: int | None = None
    created_at: datetime
    removed_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<HeldCertificate {self.origin} of {self.domain} {self.serial}>"

    @property
    def leaf(self) -> Leaf:
        return Leaf(issuer=self.issuer, serial=self.serial, not_before=self.not_before, not_after=self.not_after)

    def valid(self, now: datetime) -> bool:
        return self.removed_at is None and self.not_before <= now < self.not_after


def upload_name(zone: str) -> str:
    """The `domain` of what is uploaded or requested for a preview domain: one tenant may have its name as a custom domain too."""
    return f"*.{zone}"


def key_purpose(certificate_id: str) -> str:
    """What a held certificate's key is sealed for."""
    return f"held_certificates:{certificate_id}:key"


@dataclass(frozen=True, slots=True)
class HeldDelta:
    """Rows that changed, the removed ones too, by the database's clock. `until` is what to ask for since the next time;
    `next` is where the next page begins, None after the last."""

    certificates: Sequence[HeldCertificate]
    until: float
    next: tuple[float, str] | None


class HeldRows(Protocol):
    """Stored held certificates."""

    async def get(self, domain: str, origin: Origin) -> HeldCertificate | None:
        """The one that the domain has; None too for one that was removed."""

    async def at(self, domains: Sequence[str]) -> Sequence[HeldCertificate]:
        """Those of these domains, of both origins, without the removed."""

    async def put(self, certificate: HeldCertificate) -> None:
        """Store it in the place of what the domain had of this origin."""

    async def save(self, certificate: HeldCertificate) -> bool:
        """Store `renew_at`, `ari_at` and `warned_days` of one that is still the domain's; False where it is not."""

    async def remove(self, domain: str, origin: Origin, now: datetime) -> bool:
        """Blank its chain and key and note when; False where there is none."""

    async def to_ask(self, now: datetime, limit: int) -> Sequence[HeldCertificate]:
        """Managed ones of which the authority is to be asked by now when to renew them, the longest due first."""

    async def late(self, now: datetime, limit: int) -> Sequence[HeldCertificate]:
        """Managed ones that should have been renewed for long (`Leaf.late_at`), and whose owner was not told."""

    async def ending(
        self, origin: Origin, before: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[HeldCertificate]:
        """Those that end before then, by `not_after` and id, beginning behind `after`."""


class HeldLog(Protocol):
    """What nodes follow. Raises StoreUnavailableError."""

    async def changes_since(self, since: float | None, limit: int, after: tuple[float, str] | None = None) -> HeldDelta:
        """What has changed since (None: everything that is there), at most `limit` rows, from `after` on."""

"""The certificate authority, as this package needs it: RFC 8555, and RFC 9773 (ARI) where it has that.

Every method is awaited with a deadline of the implementation's (30 s at most) and raises one of the four errors below, and
nothing else. `open_account` comes first.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class AuthorityError(Exception):
    """`detail` is a sentence for the zone's owner or the operator, without a line break, 500 characters at most."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnreachableError(AuthorityError):
    """No answer in time, no connection, TLS that fails, or a status of 500 and above: try again later."""


class BadAnswerError(AuthorityError):
    """An answer that the RFC does not allow: not JSON, without what must be in it, too large."""


class RateLimitedError(AuthorityError):
    """A limit of the authority's. `retry_after` in seconds, None where it did not say."""

    def __init__(self, detail: str, retry_after: float | None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RefusedError(AuthorityError):
    """The authority says no. `kind` is the last part of the problem's type, of RFC 8555 §6.7: `caa`, `rejectedIdentifier`,
    `unauthorized`, `dns`, `accountDoesNotExist`, `alreadyReplaced`, `orderNotReady`, `malformed`, …; `notFound` where it does not know
    the order. `names` are those of the identifiers that it is about, empty where it did not say."""

    def __init__(self, kind: str, detail: str, names: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.names = tuple(names)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an order or a challenge is invalid: as RefusedError has it."""

    kind: str
    detail: str
    names: tuple[str, ...] = ()


class Stage(enum.StrEnum):
    """An order's status (RFC 8555 §7.1.6)."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What proves one name by DNS-01: `txt` is to be answered at `_acme-challenge.` and the name without `*.`. `done`: proved."""

    name: str
    txt: str
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """An order as the authority shows it now, with its authorizations. `certificate` is the url of what was issued;
    `retry_after` is in how many seconds to look again, where it said."""

    url: str
    stage: Stage
    challenges: tuple[Challenge, ...]
    problem: Problem | None = None
    certificate: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When the authority wants a certificate renewed (RFC 9773 §4.2), and in how many seconds to ask again."""

    start: datetime
    end: datetime
    retry_after: float
    explanation_url: str | None = None


class Authority(Protocol):
    """One authority. Safe for many calls at once."""

    @property
    def directory(self) -> str:
        """Address of its directory."""

    async def open_account(self, key: str, uri: str | None) -> str:
        """Work with the account of this key (PEM); its uri. Without one given, a key that has none registers one (RFC 8555 §7.3.1);
        with one, RefusedError `accountDoesNotExist` is raised then."""

    async def place(self, names: Sequence[str], *, replaces: str | None = None) -> OrderSeen:
        """Place an order for these names. `replaces` is left out where the authority has no ARI; RefusedError `alreadyReplaced`
        where that certificate was renewed before."""

    async def find(self, names: Sequence[str]) -> str | None:
        """The url of an order of the account for exactly these names that is not over, in the account's list of orders; None
        where there is none, or the authority has no such list (Let's Encrypt has none)."""

    async def look(self, url: str) -> OrderSeen:
        """The order now. RefusedError `notFound` where it is gone."""

    async def answer(self, url: str) -> None:
        """Tell the authority that the challenges of the order's names that are not proved yet are ready. Again is harmless."""

    async def finalize(self, url: str, csr: str) -> OrderSeen:
        """Hand in the CSR (PEM) of an order that is ready. `orderNotReady` where it is not, or was finalized before."""

    async def fetch(self, certificate: str) -> str:
        """The chain (PEM, leaf first) at an order's `certificate` url."""

    async def renewal_window(self, ari_id: str) -> RenewalWindow | None:
        """When that certificate should be renewed; None where the authority has no ARI."""

    async def revoke(self, chain: str, reason: int) -> None:
        """Revoke the leaf of a chain (PEM), for a reason of RFC 5280 §5.3.1. One that is revoked already is no error."""

    async def roll_key(self, new_key: str) -> None:
        """Replace the account's key by another (PEM), and work with that (RFC 8555 §7.3.5)."""

    async def close(self) -> None:
        """Wait for what is under way, and give back what it holds."""

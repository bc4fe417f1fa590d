"""What the decision needs to know beside the policy: API keys, JSON Web Tokens, sessions, and the keys that sign cookies."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, Protocol

from router.access.ci_tokens import CiVerdict
from router.access.tokens import Claims
from router.access.visitors import Visitors
from router.routes.records import KeyRecord, SessionRecord, SigningKeysRecord

if TYPE_CHECKING:
    from router.access.identity_signer import IdentitySigner


class Unknown(enum.Enum):
    """The type of `UNKNOWN`."""

    UNKNOWN = "unknown"


UNKNOWN: Final[Literal[Unknown.UNKNOWN]] = Unknown.UNKNOWN
"""Neither known to be there nor known not to be."""


class AccessKeys(Protocol):
    """What one worker knows of keys. What is not `async` returns at once.

    What is, raises StoreUnavailableError where the store cannot be asked: that is never a refusal.
    """

    def peek(self, digest: str) -> KeyRecord | Unknown | None:
        """The API key of that SHA-256; None where there is none; `UNKNOWN`: then `resolve` has to be awaited."""

    async def resolve(self, digest: str) -> KeyRecord | None:
        """As `peek`, from the store where it is not known."""

    def peek_session(self, session_id: str) -> SessionRecord | Unknown | None:
        """The session of that id; None where there is none; `UNKNOWN`: then `resolve_session` has to be awaited."""

    async def resolve_session(self, session_id: str) -> SessionRecord | None:
        """As `peek_session`, from the store where it is not known."""

    def on_drop(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with a key's digest, or a session's id, when what was remembered of it may have changed."""

    @property
    def signing(self) -> SigningKeysRecord | None:
        """The keys that sign cookies; None: then `ready` has to be awaited."""

    @property
    def visitors(self) -> Visitors:
        """What has to be asked of the control process."""

    async def ready(self) -> SigningKeysRecord:
        """As `signing`, from the store where they are not known."""

    @property
    def identity(self) -> "IdentitySigner | None":
        """What signs who visitors are; None: then `identity_ready` has to be awaited."""

    async def identity_ready(self) -> None:
        """Return when there is `identity`."""

    def verify_jwt(self, token: str) -> Claims | None:
        """What a JSON Web Token says that we accept; None where it is none of ours. Raises ExpiredTokenError, or
        EarlyTokenError."""

    def peek_ci(self, mark: bytes, token: str) -> CiVerdict | Unknown:
        """What the token of a CI system is worth where the rules with this mark hold (`AccessRules.issuers_mark`);
        `UNKNOWN`: then `verify_ci` has to be awaited."""

    async def verify_ci(self, tenant_id: str, mark: bytes, token: str) -> CiVerdict:
        """As `peek_ci`, from the control process where it is not known."""

    def note_use(self, secret_id: str, *, key: bool) -> None:
        """A preview's secret or a session has opened it, or an API key has (`key`); or a rule about tokens of CI systems, named
        by `issuer_use`."""

"""What a visitor may need of the control process before they come in, beside the policy and the keys that a worker knows."""

from dataclasses import dataclass
from typing import Protocol

from router.access.ci_tokens import CiVerdict
from router.access.login import HandedOver, LoginRequest, LoginResponse


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether it was the password; or that it was not looked at, and in how many seconds it may be: `wait` is 0 otherwise."""

    right: bool
    wait: int = 0


class Visitors(Protocol):
    """Asks the store. Every method raises StoreUnavailableError where it can't be known now: that is never a refusal."""

    async def use_up(self, secret_id: str) -> bool:
        """Take a link that works once; False where somebody has, on any node."""

    async def check_password(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        """Compare what a visitor has typed with the password of this id. Each try counts, of `client` (their address) and of
        what the password opens."""

    async def login(self, request: LoginRequest) -> LoginResponse:
        """One step of signing in, at the login host."""

    async def take_hand_over(self, code: str, host: str, binding: str) -> HandedOver | None:
        """The session that a code is for, at its host and for its browser: for the first who asks, on any node."""

    async def end_session(self, session_id: str) -> None:
        """End a session on every node."""

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        """What the token of a CI system is worth by the rules of a tenant, as they are now."""

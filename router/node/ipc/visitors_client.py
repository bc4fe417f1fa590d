"""What a worker asks its control process for visitors of previews."""

from functools import partial
from typing import Final

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.login import HandedOver, LoginRequest, LoginResponse
from router.access.visitors import PasswordCheck
from router.node.ipc.messages import (
    EndSessionRequest,
    HandOverRequest,
    PasswordRequest,
    SignInRequest,
    UseUpRequest,
    VerifyCiRequest,
)
from router.node.ipc.worker_side import WorkerSide

_PASSWORD_TIME: Final = 8.0  # seconds: hashes are slow, and wait for each other
_LOGIN_TIME: Final = 9.5  # seconds: a provider of a tenant's is asked twice or three times
_VERIFY_TIME: Final = 9.0  # seconds: more than a CI system has for its answers


class VisitorsClient:
    """access.visitors.Visitors, in the control process. Each request has `within` seconds."""

    def __init__(self, worker_side: WorkerSide, *, within: float) -> None:
        self._worker_side = worker_side
        self._within = within

    async def use_up(self, secret_id: str) -> bool:
        """Whether this was the first visitor by the link, on any node. Raises StoreUnavailableError: it may have been."""
        answer = await self._worker_side.ask(partial(UseUpRequest, secret_id), self._within)
        return answer.first

    async def login(self, request: LoginRequest) -> LoginResponse:
        ask = partial(
            SignInRequest, str(request.step), request.client, request.parameters, request.cookies, request.tenant_id
        )
        answer = await self._worker_side.ask(ask, _LOGIN_TIME)
        return LoginResponse(location=answer.location, cookies=tuple(answer.cookies), problem=answer.problem)

    async def take_hand_over(self, code: str, host: str, binding: str) -> HandedOver | None:
        answer = await self._worker_side.ask(partial(HandOverRequest, code, host, binding), self._within)
        return HandedOver(answer.session_id, answer.tenant_id, answer.until) if answer.session_id else None

    async def end_session(self, session_id: str) -> None:
        await self._worker_side.ask(partial(EndSessionRequest, session_id), self._within)

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        """What it is worth. The control process may have to ask the CI system for its keys first."""
        answer = await self._worker_side.ask(partial(VerifyCiRequest, tenant_id, token), _VERIFY_TIME)
        met = tuple((str(rule), int(generation)) for rule, generation in answer.met)
        return CiVerdict(CiOutcome(answer.outcome), met, answer.subject, answer.until)

    async def check_password(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        answer = await self._worker_side.ask(partial(PasswordRequest, secret_id, password, client), _PASSWORD_TIME)
        return PasswordCheck(answer.right, answer.wait)

"""What the control process answers its workers from the store: records, the outbox, and what visitors need.

Each request is a read of its own that begins when the request has arrived; it never shares a read that is already
running. So a worker that asks after it has heard of a change cannot get anything older than the change.
"""

import asyncio

import structlog

from router.access.login import LoginRequest, LoginStep
from router.access.visitors import Visitors
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.node.ipc.messages import (
    ChangesAnswer,
    ChangesRequest,
    EndSessionAnswer,
    EndSessionRequest,
    Fault,
    HandOverAnswer,
    HandOverRequest,
    NewestRequest,
    NumberAnswer,
    OldestRequest,
    PasswordAnswer,
    PasswordRequest,
    RecordsAnswer,
    RecordsRequest,
    SignInAnswer,
    SignInRequest,
    StoreRequest,
    Unavailable,
    UseUpAnswer,
    UseUpRequest,
    VerifyCiAnswer,
    VerifyCiRequest,
    WakeNoted,
    WakeRequest,
)
from router.node.ipc.wire import Message
from router.routes.encoding import encode
from router.routes.feed import RecordStore
from router.wake.waker import Reason, Waker

CONCURRENCY = 64  # requests of one worker under way; far more than `cache.fetches`
_MAX_OUTSIDE = 32  # of those that may have to wait for somebody outside: they must not keep the others waiting
MAX_KEYS = 1000  # in one request
_MAX_TIME = 10.0  # seconds for any answer

_log = structlog.get_logger("router.node.ipc")


class StoreServer:
    """For one worker. `tasks` are shared by all workers; a worker that has gone leaves its reads to finish."""

    def __init__(self, store: RecordStore, tasks: Tasks, visitors: Visitors) -> None:
        self._store = store
        self._visitors = visitors
        self._tasks = tasks
        self._under_way = 0
        self.waker: Waker | None = None  # None where nothing is ever woken
        self._outside = 0

    def answer(self, request: StoreRequest[Message]) -> "asyncio.Task[Message] | Message":
        """The answer, or the task that finds it."""
        outside = isinstance(request, SignInRequest | VerifyCiRequest)
        if self._outside >= _MAX_OUTSIDE if outside else self._under_way >= CONCURRENCY:
            return Unavailable("too many requests at once")
        if self._tasks.closed:
            return Unavailable("the control process is about to end")
        task = self._tasks.start(f"answer {request.do}", self._answer(request))
        if outside:
            self._outside += 1
            task.add_done_callback(self._done_outside)
        else:
            self._under_way += 1
            task.add_done_callback(self._done)
        return task

    def _done(self, _task: "asyncio.Task[Message]") -> None:
        self._under_way -= 1

    def _done_outside(self, _task: "asyncio.Task[Message]") -> None:
        self._outside -= 1

    async def _answer(self, request: StoreRequest[Message]) -> Message:
        try:
            async with asyncio.timeout(min(request.within, _MAX_TIME)):
                return await self._read(request)
        except StoreUnavailableError as error:
            return Unavailable(str(error))
        except TimeoutError:
            return Unavailable("no answer in time")
        except Exception as error:  # noqa: BLE001 - the worker is waiting, and handles it
            _log.exception("request of a worker failed", request=request.do)
            return Fault(f"{type(error).__name__}: {error}")

    async def _read(self, request: StoreRequest[Message]) -> Message:
        feed = self._store.feed
        match request:
            case RecordsRequest():
                if len(request.keys) > MAX_KEYS:
                    raise ValueError(f"{len(request.keys)} keys in one request")
                snapshot = await self._store.records.fetch_versioned(request.keys)
                records = {key: encode(version, record).decode() for key, (version, record) in snapshot.items()}
                return RecordsAnswer(seen=snapshot.seen, records=records)
            case NewestRequest():
                return NumberAnswer(await feed.newest())
            case OldestRequest():
                return NumberAnswer(await feed.oldest())
            case ChangesRequest():
                changes = await feed.after(request.number, request.limit)
                return ChangesAnswer([(one.number, one.key, one.at.isoformat(), one.moved) for one in changes])
            case UseUpRequest():
                return UseUpAnswer(await self._visitors.use_up(request.secret_id))
            case SignInRequest():
                step = LoginStep(request.step)
                asked = LoginRequest(
                    step=step,
                    client=request.client,
                    parameters=request.parameters,
                    cookies=request.cookies,
                    tenant_id=request.tenant_id,
                )
                answer = await self._visitors.login(asked)
                return SignInAnswer(answer.location, answer.cookies, answer.problem)
            case HandOverRequest():
                found = await self._visitors.take_hand_over(request.code, request.host, request.binding)
                return (
                    HandOverAnswer()
                    if found is None
                    else HandOverAnswer(found.session_id, found.tenant_id, found.until)
                )
            case EndSessionRequest():
                await self._visitors.end_session(request.session_id)
                return EndSessionAnswer()
            case VerifyCiRequest():
                verdict = await self._visitors.verify_ci_token(request.tenant_id, request.token)
                return VerifyCiAnswer(verdict.outcome, verdict.met, verdict.subject, verdict.until)
            case PasswordRequest():
                checked = await self._visitors.check_password(request.secret_id, request.password, request.client)
                return PasswordAnswer(checked.right, checked.wait)
            case WakeRequest():
                if self.waker is None:  # its settings are older than the worker's
                    raise StoreUnavailableError("the control process has nobody to ask for wakes")
                reason = Reason(request.reason)
                noted = await self.waker.ask(request.resource_id, request.port, reason, request.request_id)
                return WakeNoted(full=not noted)
        raise TypeError(f"unknown request {request!r}")

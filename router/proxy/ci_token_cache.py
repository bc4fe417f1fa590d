"""Tokens of CI systems that visitors have brought: what each is worth, as the control process says, by its hash.

One that opens something is remembered for a minute at most, then it is asked for again; one that does not for some seconds,
apart, so that made-up ones push out no real one. That a CI system can't be asked is not remembered here. Whoever brings a
token that is being asked for waits for the same answer. Each is remembered for the rules that held when it was asked
for: where one of them changes, it is asked for anew.
"""

import asyncio
import hashlib
from collections import Counter, OrderedDict
from typing import Final

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.keys import UNKNOWN, Unknown
from router.access.visitors import Visitors
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError

_ACCEPTED_FOR: Final = 60.0  # seconds
_REFUSED_FOR: Final = 10.0
_MAX_REMEMBERED: Final = 4096  # of either kind
_MAX_ASKED: Final = 64  # at once
_MAX_OF_TENANT: Final = 16  # of them: strangers send what they like to one tenant's previews

_Remembered = OrderedDict[bytes, tuple[CiVerdict, float]]


class CiTokenCache:
    """See the module. One per worker."""

    def __init__(self, visitors: Visitors, clock: Clock, *, most: int = _MAX_REMEMBERED) -> None:
        self._visitors = visitors
        self._now = clock.monotonic
        self._most = most
        self._tasks = Tasks("tokens of CI systems")
        self._accepted: _Remembered = OrderedDict()
        self._refused: _Remembered = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[CiVerdict | StoreUnavailableError]] = {}
        self._asked_of: Counter[str] = Counter()  # how many of them, by tenant

    def __len__(self) -> int:
        return len(self._accepted) + len(self._refused)

    def peek(self, mark: bytes, token: str) -> CiVerdict | Unknown:
        """What is remembered of a token for the rules with this mark."""
        key = _key(mark, token)
        for remembered in (self._accepted, self._refused):
            found = remembered.get(key)
            if found is not None and self._now() < found[1]:
                remembered.move_to_end(key)
                return found[0]
        return UNKNOWN

    async def resolve(self, tenant_id: str, mark: bytes, token: str) -> CiVerdict:
        """As `peek`, from the control process where nothing is remembered. Raises StoreUnavailableError."""
        found = self.peek(mark, token)
        if found is not UNKNOWN:
            return found
        key = _key(mark, token)
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= _MAX_ASKED or self._asked_of[tenant_id] >= _MAX_OF_TENANT:
                raise StoreUnavailableError("too many tokens of CI systems at once")
            self._asked_of[tenant_id] += 1
            task = self._asked[key] = self._tasks.start("verify a token", self._ask(key, tenant_id, token))
        result = await asyncio.shield(task)  # who waits may go away while others still wait
        if isinstance(result, StoreUnavailableError):
            raise StoreUnavailableError(str(result)) from result
        return result

    async def close(self) -> None:
        """End what is being asked for."""
        await self._tasks.close()

    async def _ask(self, key: bytes, tenant_id: str, token: str) -> CiVerdict | StoreUnavailableError:
        try:
            verdict = await self._visitors.verify_ci_token(tenant_id, token)
        except StoreUnavailableError as error:
            return error
        finally:
            del self._asked[key]
            self._asked_of[tenant_id] -= 1
            if not self._asked_of[tenant_id]:
                del self._asked_of[tenant_id]
        if verdict.outcome is not CiOutcome.UNAVAILABLE:
            accepted = verdict.outcome is CiOutcome.ACCEPTED
            remembered = self._accepted if accepted else self._refused
            if key not in remembered and len(remembered) >= self._most:
                remembered.popitem(last=False)
            remembered[key] = (verdict, self._now() + (_ACCEPTED_FOR if accepted else _REFUSED_FOR))
            (self._refused if accepted else self._accepted).pop(key, None)
        return verdict


def _key(mark: bytes, token: str) -> bytes:
    return mark + hashlib.sha256(token.encode("latin-1")).digest()

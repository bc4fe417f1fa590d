"""A service method is retried where its transaction was chosen as deadlock victim."""

import pytest

from router.errors import DeadlockError, StoreUnavailableError
from router.tenancy.deadlocks import TRIES, retry_on_deadlock

pytestmark = pytest.mark.asyncio


class Method:
    """Raises as often as it is told to, then returns what it was given."""

    def __init__(self, failures: int, failure: type[Exception] = DeadlockError) -> None:
        self.left = failures
        self.tries = 0
        self._failure = failure

    @retry_on_deadlock
    async def do(self, word: str, *, times: int) -> str:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise self._failure("deadlock detected")
        return word * times


@pytest.mark.parametrize("failures", range(TRIES))
async def test_a_deadlock_victim_is_tried_again(failures: int) -> None:
    """The caller sees no error, as long as one of the tries succeeds."""
    method = Method(failures)
    assert await method.do("a", times=2) == "aa"
    assert method.tries == failures + 1


async def test_tries_have_an_end() -> None:
    """Then it is an outage like any other."""
    method = Method(TRIES)
    with pytest.raises(StoreUnavailableError):
        await method.do("a", times=2)
    assert method.tries == TRIES


async def test_other_failures_are_raised_at_once() -> None:
    """Whether they may be repeated is not known."""
    method = Method(1, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError):
        await method.do("a", times=2)
    assert method.tries == 1

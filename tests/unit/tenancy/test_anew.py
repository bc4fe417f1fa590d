"""Verbs that begin anew where they had to give way."""

import pytest

from router.errors import GaveWayError, StoreUnavailableError
from router.tenancy.anew import TRIES, anew

pytestmark = pytest.mark.asyncio


class Verb:
    """Fails so often as it is told to, then answers with what it was given."""

    def __init__(self, failures: int, failure: type[Exception] = GaveWayError) -> None:
        self.left = failures
        self.tries = 0
        self._failure = failure

    @anew
    async def do(self, word: str, *, times: int) -> str:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise self._failure("deadlock detected")
        return word * times


@pytest.mark.parametrize("failures", range(TRIES))
async def test_who_gave_way_is_tried_again(failures: int) -> None:
    """Nobody hears of it, as long as one of the tries succeeds."""
    verb = Verb(failures)
    assert await verb.do("a", times=2) == "aa"
    assert verb.tries == failures + 1


async def test_tries_have_an_end() -> None:
    """Then it is an outage like any other."""
    verb = Verb(TRIES)
    with pytest.raises(StoreUnavailableError):
        await verb.do("a", times=2)
    assert verb.tries == TRIES


async def test_other_failures_are_told_at_once() -> None:
    """Whether they may be repeated is not known."""
    verb = Verb(1, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError):
        await verb.do("a", times=2)
    assert verb.tries == 1

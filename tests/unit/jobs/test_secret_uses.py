"""The last use of secrets: from the workers' instants to the store's minutes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.jobs.secret_uses import SecretUseFeed

pytestmark = pytest.mark.asyncio

NOON = datetime(2026, 1, 1, tzinfo=UTC)  # a ManualClock's first instant


class Rows:
    """Keeps what it is told; `writes` counts the secrets of all calls, `largest` those of the largest."""

    def __init__(self) -> None:
        self.kept: dict[str, datetime] = {}
        self.writes = self.largest = 0
        self.down = False

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        if self.down:
            raise StoreUnavailableError("switched off")
        self.kept.update(seen)
        self.writes += len(seen)
        self.largest = max(self.largest, len(seen))


class Scene:
    """A feed and its ends."""

    def __init__(self) -> None:
        self.clock, self.secrets, self.sessions = ManualClock(), Rows(), Rows()
        self.keys, self.issuers = Rows(), Rows()
        self.used: dict[str, float] = {}
        self.gathered = 0
        self.feed = SecretUseFeed(
            used=lambda since: {name: at for name, at in self.used.items() if at >= since},
            secrets=self.secrets,
            sessions=self.sessions,
            keys=self.keys,
            issuers=self.issuers,
            clock=self.clock,
            gather=self._gather,
        )

    def use(self, *names: str) -> None:
        self.used.update(dict.fromkeys(names, self.clock.monotonic()))

    async def _gather(self) -> None:
        self.gathered += 1


async def test_uses_are_stored_to_the_minute() -> None:
    """Those of API keys by their hash, of sessions and trusted issuers by their ids, and nothing for a secret that was not
    used."""
    scene = Scene()
    scene.clock.advance(90)
    scene.use("link", "key:00", "ses_1", "issuer:rule")
    scene.clock.advance(40)
    await scene.feed.copy()
    assert scene.secrets.kept == {"link": NOON + timedelta(minutes=1)}
    assert scene.keys.kept == {"00": NOON + timedelta(minutes=1)}
    assert scene.sessions.kept == {"ses_1": NOON + timedelta(minutes=1)}
    assert scene.issuers.kept == {"rule": NOON + timedelta(minutes=1)}
    assert scene.gathered == 1


async def test_a_secret_is_written_once_a_minute() -> None:
    """However often it is used and copied, and not at all while it is not used."""
    scene = Scene()
    for _ in range(60):
        scene.use("busy")
        await scene.feed.copy()
        scene.clock.advance(1)
    assert scene.secrets.writes == 1
    scene.use("busy")
    await scene.feed.copy()
    assert scene.secrets.writes == 2
    for _ in range(10):
        scene.clock.advance(60)
        await scene.feed.copy()
    assert scene.secrets.writes == 2


async def test_a_store_that_is_away_gets_it_later() -> None:
    """With the minute in which it was."""
    scene = Scene()
    scene.use("link")
    scene.secrets.down = True
    with pytest.raises(StoreUnavailableError):
        await scene.feed.copy()
    scene.clock.advance(300)
    scene.secrets.down = False
    await scene.feed.copy()
    assert scene.secrets.kept == {"link": NOON}


async def test_a_crowd_of_secrets_is_written_in_pieces() -> None:
    """So many at a time, and the rest with the next copy."""
    scene = Scene()
    scene.use(*(f"link-{number}" for number in range(4500)))
    for written in (2000, 4000, 4500):
        await scene.feed.copy()
        assert len(scene.secrets.kept) == scene.secrets.writes == written
    assert scene.secrets.largest <= 50

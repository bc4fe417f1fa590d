"""Does the program that is to be published answer: it is looked at again and again, until it does or time is up."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from router.clock import Clock, iso
from router.routes.records import State
from router.settings import Network
from router.tenancy.endpoints import own_listener, refusal
from router.tenancy.resources import ResourcesTx, StoredEndpoint
from router.tenancy.versions import Version
from router.unit import Unit

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two looks at the program
_COMING = frozenset({State.PROVISIONING, State.STARTING, State.RUNNING})  # a sandbox in these may listen soon

_log = structlog.get_logger("router.publishing")


class Probe(Protocol):
    """Looks whether a program answers."""

    async def look(self, address: str, port: int, path: str | None) -> str | None:
        """None where it does, else what happened, in a few words. Ends within a few seconds.

        With `path` a GET must be answered with a status below 400; without, a connection accepted is enough.
        """


class FailedError(Exception):
    """Why a version can't go live, for its owner."""


class BuildLog:
    """A build's log: a line whenever something new is to be said."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: list[str] = []
        self._last = ""

    def say(self, words: str) -> None:
        if words != self._last:
            self._last = words
            self._lines.append(f"{iso(self._clock.now())} {words}\n")

    @property
    def text(self) -> str:
        return "".join(self._lines)


class Checks:
    """Looks at programs where their sandboxes say that they listen."""

    def __init__(
        self,
        store: Unit[ResourcesTx],
        *,
        probe: Probe,
        networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]],
    ) -> None:
        self._store = store
        self._probe = probe
        self._networks = tuple(networks)
        self._own_listeners = frozenset(own_listeners)

    async def check(self, version: Version, log: BuildLog, *, within: float) -> None:
        """Returns once the program answers. Raises FailedError where it does not within that many seconds, or never will;
        StoreUnavailableError."""
        deadline = asyncio.timeout(within)
        pause, words = _FIRST_PAUSE, ""
        try:
            async with deadline:
                while True:
                    words = await self._look(version) or ""
                    if not words:
                        break
                    log.say(f"{words}; trying again.")
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        except TimeoutError:
            if not deadline.expired():
                raise
            words = words or f"Port {version.port} does not answer"
            raise FailedError(f"{words}: given up after {within:g} s.") from None
        checked = f"GET {version.health_check_path} succeeded" if version.health_check_path else "It takes connections"
        log.say(f"{checked} on port {version.port}.")

    async def _look(self, version: Version) -> str | None:
        """One look: None where the program answers, else why not yet. Raises FailedError where it never will."""
        async with self._store.read() as tx:
            sandbox = await tx.resources.get(version.source_sandbox_id or "")
            if sandbox is None or sandbox.deleted_at is not None:
                raise FailedError("The sandbox has been deleted.")
            endpoint = _own(await tx.resources.endpoints(sandbox.id))
        if sandbox.suspended:
            raise FailedError("The sandbox is suspended.")
        if sandbox.state not in _COMING:
            raise FailedError(f"The sandbox is {sandbox.state}. Start it, then publish again.")
        if endpoint is None or sandbox.state is not State.RUNNING:
            return f"The sandbox is {sandbox.state} and does not listen yet"
        public = version.port or 0
        real = endpoint.ports.get(public, public)
        # Registration refuses such endpoints; the settings may have changed since, and the port is new to it.
        if refusal(endpoint.address, self._networks) or own_listener(endpoint.address, real, self._own_listeners):
            _log.error("endpoint not checked", resource=sandbox.id, address=endpoint.address, port=real)
            raise FailedError(f"Port {public} of the sandbox can't be reached from here.")
        words = await self._probe.look(endpoint.address, real, version.health_check_path)
        return None if words is None else f"Port {public} {words}"


def _own(endpoints: Sequence[StoredEndpoint]) -> StoredEndpoint | None:
    return next((endpoint for endpoint in endpoints if endpoint.version_id is None), None)

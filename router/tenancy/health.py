"""Health checks before a version goes live: the program is checked until it responds or time is up."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from router.base.addresses import Network, own_listener, refusal
from router.base.clock import Clock, iso
from router.base.transactions import Transactions
from router.routes.records import State
from router.tenancy.resources import StoredEndpoint
from router.tenancy.transaction import Tx
from router.tenancy.versions import Version

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two checks of the program
_COMING = frozenset({State.PROVISIONING, State.STARTING, State.RUNNING})  # a sandbox in these may listen soon

_log = structlog.get_logger("router.publishing")


class Probe(Protocol):
    """Checks whether a program responds."""

    async def check(self, address: str, port: int, path: str | None, scheme: str) -> str | None:
        """None where it responds, else what happened, in a few words. Ends within a few seconds.

        With `path` a GET must be answered with a status below 400; without, a connection accepted is enough. `scheme` is
        http, or https with any certificate.
        """


class FailedError(Exception):
    """Why a version can't go live, in words for its owner."""


class BuildLog:
    """A build's log: one line per change of what is reported."""

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
    """Checks programs at the addresses where their sandboxes listen."""

    def __init__(
        self,
        store: Transactions[Tx],
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
        """One check: None where the program responds, else why not yet. Raises FailedError where it never will."""
        async with self._store.read() as tx:
            sandbox = await tx.resources.get(version.source_sandbox_id or "")
            if sandbox is None or sandbox.deleted_at is not None:
                raise FailedError("The sandbox has been deleted.")
            endpoint = _own(await tx.resources.endpoints(sandbox.id))
            served = await tx.resources.get(version.resource_id)
            feeds_blocked = await tx.blocks.feeds_blocked(sandbox.id, version.resource_id)
        if sandbox.suspended:
            raise FailedError("The sandbox is suspended.")
        if feeds_blocked:
            raise FailedError("Another deployment that was published from this sandbox has been blocked.")
        if sandbox.state not in _COMING:
            raise FailedError(f"The sandbox is {sandbox.state}. Start it, then publish again.")
        if endpoint is None or sandbox.state is not State.RUNNING:
            return f"The sandbox is {sandbox.state} and does not listen yet"
        public = version.port or 0
        real = endpoint.ports.get(public, public)
        # Registration refuses such endpoints; the settings may have changed since, and the port is new to it.
        if refusal(endpoint.address, self._networks) or own_listener(endpoint.address, real, self._own_listeners):
            _log.error(
                "endpoint address refused, not checked", resource=sandbox.id, address=endpoint.address, port=real
            )
            raise FailedError(f"Port {public} of the sandbox can't be reached from here.")
        scheme = "http" if served is None else served.schemes.get(public, "http")
        words = await self._probe.check(endpoint.address, real, version.health_check_path, scheme)
        return None if words is None else f"Port {public} {words}"


def _own(endpoints: Sequence[StoredEndpoint]) -> StoredEndpoint | None:
    return next((endpoint for endpoint in endpoints if endpoint.version_id is None), None)

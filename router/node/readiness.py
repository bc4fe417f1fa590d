"""What `/readyz` says of a node: what keeps it from traffic, what is wrong besides, and facts beside the checks."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from router.base.clock import ClockWatch
from router.errors import StoreUnavailableError
from router.gate.handover import HandOver
from router.gate.platform import PlatformNames
from router.jobs.runner import Jobs
from router.node.admin import Check, Probe
from router.node.surroundings import Surroundings
from router.settings import Role

if TYPE_CHECKING:
    from router.cache import SharedCache
    from router.node.ipc.control_side import ControlSide

_APART = 60.0  # seconds by which our clock and the database's may disagree


class Readiness:
    """See the module. `state` is what the node is doing: `serving`, or else why it is not ready. `platform` and `jobs` are set
    as soon as they are there: nothing is said of them before."""

    def __init__(
        self,
        roles: Collection[Role],
        *,
        state: Callable[[], str],
        control_side: "ControlSide | None",
        shared: "SharedCache | None",
        handover: HandOver | None,
        surroundings: Surroundings,
        watch: ClockWatch,
    ) -> None:
        self._roles = roles
        self._state = state
        self._control_side = control_side
        self._shared = shared
        self._handover = handover
        self._surroundings = surroundings
        self._watch = watch
        self.platform: PlatformNames | None = None
        self.jobs: Jobs | None = None

    @property
    def doubt(self) -> str | None:
        """Why this machine's clock may be wrong; None where there is no reason to think so."""
        apart = self._surroundings.apart
        if abs(apart) > _APART:
            return f"this machine's clock is {apart:+.0f} s from the database's"
        return self._watch.doubt

    def in_doubt(self) -> bool:
        """Whether this machine's clock may be wrong."""
        return self.doubt is not None

    def checks(self) -> Mapping[str, Check]:
        """What keeps this node from traffic."""
        return {"serving": self._is_serving}

    def advice(self) -> Mapping[str, Check]:
        """What is no reason to send traffic elsewhere."""
        advice: dict[str, Check] = {"clock": self._clock_is_right}
        if "jobs" in self._roles:
            advice["jobs"] = self._jobs_done
        if self._shared is not None:
            advice["redis"] = self._shared.check
        if self._control_side is not None:
            advice["workers"] = self._all_serve
        return advice

    def probes(self) -> Mapping[str, Probe]:
        """Advice that has to be waited for."""
        return {"store": self._store_answers, "disk": self._surroundings.disk}

    def facts(self) -> dict[str, object]:
        """What is shown beside the checks."""
        facts: dict[str, object] = {}
        if self.platform is not None and (platform := self.platform.facts()):
            facts["platform_names"] = platform
        held = self._handover
        if held is not None and (len(held) or held.unreadable):
            counts = {"held": len(held), "unreadable": len(held.unreadable)}
            facts["held_certificates"] = {**counts, "fetched": held.was_fetched}
        if self._control_side is not None:
            facts["workers"] = {"serving": self._control_side.serving, "of": self._control_side.size}
        if self._shared is not None:
            facts["changes"] = self._shared.facts()
        return facts

    def _is_serving(self) -> str | None:
        """A store that is away is not a reason to send traffic elsewhere: routes outlive it for a while, and the other nodes
        have the same store."""
        state = self._state()
        if state == "serving" and self._control_side is not None and not self._control_side.serving:
            return "no worker takes connections"
        return None if state == "serving" else state

    def _all_serve(self) -> str | None:
        control_side = self._control_side
        return (
            None
            if control_side is None or control_side.serving >= control_side.size
            else f"{control_side.serving} of {control_side.size} workers serve"
        )

    def _jobs_done(self) -> str | None:
        return None if self.jobs is None else self.jobs.check()

    async def _store_answers(self) -> str | None:
        """Known hosts and certificates are served without it, and the other nodes have the same one: no reason to send
        traffic elsewhere."""
        try:
            await self._surroundings.ask_store()
        except StoreUnavailableError as error:
            return f"the store is away: {error}"
        return None

    def _clock_is_right(self) -> str | None:
        return self.doubt

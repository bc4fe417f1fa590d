"""Whether every name server of the zone answers the TXT values of a challenge: an authority may ask any of them."""

import asyncio
from collections.abc import Sequence

import structlog

from router.base.clock import Clock
from router.certificates.challenges import ChallengeError
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType

WITHIN = 50.0  # seconds for a publication: less than its caller allows
_PAUSE = 0.5  # seconds between two looks
# Seconds after which every node has read the store again (responder/values.py), where that can't be seen from here.
_SETTLED = 2.0

_log = structlog.get_logger("router.dns.published")


async def wait_until_answered(
    lookup: Lookup, clock: Clock, name: str, values: Sequence[str], until: float
) -> Answer | None:
    """None as soon as all name servers of the name answer these values; else, at the instant `until` of the monotonic clock,
    what they say."""
    while True:
        (answer,) = await lookup.ask([Question(name, RecordType.TXT)], until, fresh=True)
        if answer.outcome is Outcome.FOUND and set(answer.values) == set(values):
            return None
        if clock.monotonic() + _PAUSE >= until:
            return answer
        await asyncio.sleep(_PAUSE)


def can_not_be_asked(answer: Answer) -> bool:
    """Whether no name server says anything to us. Then the authority may well reach them, and is to try; the log says so."""
    if answer.outcome is not Outcome.UNKNOWN:
        return False
    _log.warning("the name servers of acme_zone can't be asked from here", reason=answer.reason)
    return True


class StoredValues:
    """certificates.challenges.ChallengeRecords where the responder answers: the values are in the order's row already, and
    every node reads them there."""

    def __init__(self, zone: str, lookup: Lookup, clock: Clock, *, within: float = WITHIN) -> None:
        self._zone = zone
        self._lookup = lookup
        self._clock = clock
        self._within = within

    async def publish(self, token: str, values: Sequence[str]) -> None:
        """See ChallengeRecords."""
        settled = self._clock.monotonic() + _SETTLED
        until = self._clock.monotonic() + self._within
        answer = await wait_until_answered(self._lookup, self._clock, f"{token}.{self._zone}", values, settled)
        if answer is None or can_not_be_asked(answer):
            return
        answer = await wait_until_answered(self._lookup, self._clock, f"{token}.{self._zone}", values, until)
        if answer is None or can_not_be_asked(answer):
            return
        others = ", ".join(one.server for one in answer.servers if set(one.values) != set(values))
        raise ChallengeError(
            f"{others or 'What the Internet asks'} does not answer the values at {token}.{self._zone}: `acme_zone` has to be"
            " delegated to nodes of this fleet that have the role admin, and to no others (`miosa-router doctor`)."
        )

    async def withdraw(self, token: str, values: Sequence[str]) -> None:
        """The responder answers what open orders have, and this one is not open any more."""

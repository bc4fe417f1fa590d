"""The responder as a whole: a socket of UDP and one of TCP, on one port."""

import socket

from router.base.clock import Clock
from router.certificates.challenges import TxtSource
from router.observe.metrics import Metrics
from router.responder.answers import Answers
from router.responder.connections import IDLE, Connections
from router.responder.datagrams import Datagrams
from router.responder.values import CurrentValues
from router.responder.zone import Zone


class Responder:
    """Serves from now on, until it is closed. The sockets are non-blocking, the one of TCP listens; both stay open at the
    end, since their owner may hand them to a successor."""

    def __init__(
        self,
        datagrams: socket.socket,
        connections: socket.socket,
        *,
        zone: Zone,
        rows: TxtSource,
        metrics: Metrics,
        clock: Clock,
        idle: float = IDLE,
    ) -> None:
        """`idle` is for how many seconds a connection may say nothing."""
        self._values = CurrentValues(rows, clock)
        answers = Answers(zone, self._values, metrics)
        self._datagrams = Datagrams(datagrams, answers, clock)
        self._connections = Connections(connections, answers, clock, idle=idle)

    async def close(self) -> None:
        """End everything now."""
        self._datagrams.close()
        await self._connections.close()
        await self._values.close()

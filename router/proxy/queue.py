"""Requests that wait for a place at a resource that has as many exchanges as it may have.

A burst is over in a moment: a page with three hundred modules asks for all of them at once, and one 429 breaks it. So what
is beyond `exchanges_per_resource` waits, for `queue_time` at most, and gets 429 then. The sweep watches over that time.

- Visitors take turns, each with the first of those that it has sent: whoever asks for one thing waits behind no one's burst.
- A place that becomes free goes to the one whose turn it is. Who comes meanwhile stands in line, at its end.
- A queue is of one resource, which alone decides how long it takes. All have a bound, and no tenant may have more than half
  of a worker's, so that nobody's queue leaves others without one.

Tunnels have places of their own and don't wait: a socket stays for hours.
"""

import asyncio
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from router.observe.metrics import Metrics
from router.settings import Limits

if TYPE_CHECKING:
    from router.proxy.connection_limits import Share
    from router.proxy.exchange import Exchange
    from router.proxy.worker_state import Activity

# What an exchange takes of its resource.
EXCHANGE: Final = 0
TUNNEL: Final = 1
QUEUED: Final = 2


class Queue:
    """Who waits for one resource: by visitor, in the order of their turns."""

    __slots__ = ("_visitors", "size")

    def __init__(self) -> None:
        self._visitors: OrderedDict[str, OrderedDict[Exchange, None]] = OrderedDict()
        self.size = 0

    def add(self, exchange: "Exchange") -> None:
        """At the end of its visitor's; a visitor that has none yet is the last whose turn comes."""
        own = self._visitors.get(exchange.client)
        if own is None:
            own = self._visitors[exchange.client] = OrderedDict()
        own[exchange] = None
        self.size += 1

    def remove(self, exchange: "Exchange") -> None:
        """It waits no more."""
        own = self._visitors[exchange.client]
        del own[exchange]
        if not own:
            del self._visitors[exchange.client]
        self.size -= 1

    def next(self) -> "Exchange":
        """The one whose turn it is, which is taken out."""
        visitor, own = self._visitors.popitem(last=False)
        exchange, _ = own.popitem(last=False)
        if own:
            self._visitors[visitor] = own
        self.size -= 1
        return exchange


class Queues:
    """The queues of one worker. Resources that nobody waits for have none."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._metrics = metrics
        self._time = limits.queue_time
        self._max_of_resource = limits.queue_per_resource
        self._max = limits.queue
        self._max_of_tenant = max(1, limits.queue // 2)
        self.waiting = 0

    def join(self, exchange: "Exchange", activity: "Activity", tenant: "Share", now: float) -> bool:
        """Wait for a place; False where there is no room for that."""
        queue = activity.queue
        if (
            not self._time
            or self.waiting >= self._max
            or tenant.waiting >= self._max_of_tenant
            or (queue is not None and queue.size >= self._max_of_resource)
        ):
            self._metrics.count("queue_results", "refused")
            return False
        if queue is None:
            queue = activity.queue = Queue()
        queue.add(exchange)
        self.waiting += 1
        tenant.waiting += 1
        exchange.place = QUEUED
        exchange.incoming.deadline = now + self._time
        return True

    def leave(self, exchange: "Exchange", activity: "Activity", tenant: "Share", result: str) -> None:
        """It waits no more, and got no place: `result` is the metric's label."""
        queue = activity.queue
        if queue is not None:
            queue.remove(exchange)
            self._left(activity, queue, tenant, result)

    def pass_on(self, activity: "Activity") -> None:
        """An exchange has ended: its place is the next one's, which goes on in the next turn of the loop, since that may end
        at once too, and hundreds may wait."""
        queue = activity.queue
        if queue is None:
            activity.exchanges -= 1
            return
        exchange = queue.next()
        exchange.place = EXCHANGE
        exchange.incoming.deadline = math.inf
        if exchange.tenant is not None:
            self._left(activity, queue, exchange.tenant, "served")
        asyncio.get_running_loop().call_soon(exchange.admitted)

    def _left(self, activity: "Activity", queue: Queue, tenant: "Share", result: str) -> None:
        if not queue.size:
            activity.queue = None
        self.waiting -= 1
        tenant.waiting -= 1
        self._metrics.count("queue_results", result)

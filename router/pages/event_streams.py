"""Event streams that are asked for while the program is away: an answer after which EventSource comes back by itself.

EventSource gives up for good at any status but 200, at another type, and at a redirect it may not follow (HTML Living
Standard §9.2.3); only a stream that ends makes it ask again, after `retry` milliseconds. The reloading clients of some dev servers
(esbuild, webpack-hot-middleware) are such streams: answered 502 while the server restarts, the page would stay dead
until somebody reloads it. So for what passes by itself the answer is an empty stream that says when to
come back. X-Miosa-Error and Proxy-Status still name the problem to whoever looks.

Everything else keeps its status, since to ask again changes nothing: a host that leads nowhere (404), what was deleted
(410) or blocked (451), what asks for a login (401, 403), a request that is wrong (4xx), a program that speaks another
protocol.
"""

from collections.abc import Mapping
from types import MappingProxyType

from router.errors import Problem

# Milliseconds until the client comes back. A second is soon enough for a person who has saved a file.
RETRIES: Mapping[str, int] = MappingProxyType(
    {
        "port_closed": 1000,  # the server is not up yet, or restarts after a change
        "bad_backend_response": 1000,  # only where it hung up: it restarted with our request in its hands
        "starting": 1000,  # the sandbox boots
        "draining": 1000,  # another process answers already
        "overloaded": 2000,
        "too_many_requests": 2000,  # a page of 300 modules that loads at once: it is over in a moment
        "backend_timeout": 3000,  # a try costs some seconds as it is
        "certificate_pending": 3000,
        "resolver_unavailable": 5000,  # our fault, and not to be made worse
        "wake_failed": 10_000,
        "wake_queue_full": 10_000,
        "wake_not_possible": 30_000,
        "stopped": 30_000,  # till somebody starts it, which may be hours
    }
)


def reconnect_after(problem: Problem) -> int | None:
    """After how many milliseconds a client of an event stream comes back; None where the problem keeps its status."""
    if problem.code == "bad_backend_response" and problem.reason != "connection_closed":
        return None
    return RETRIES.get(problem.code)

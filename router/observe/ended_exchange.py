"""What the proxy hands over when an exchange has ended, as far as observing it cares."""

from router.errors import Problem
from router.routes.route import Route


class Finished:
    """One exchange that has ended. Defaults stand on the class: most exchanges leave most of them alone.

    Times are instants of the monotonic clock in seconds; `first_byte` is 0.0 where no answer began. `received` and
    `sent` count body or tunnel bytes from and to the client. `method`, `target`, `host`, `user_agent`, `referer` and `traceparent` are
    as they arrived, and so may be anything. `version` is that of HTTP/1, or 2 for HTTP/2. `status` 0 means that no answer was sent. `looked_up` False means that the
    route came out of the process's cache. `resolved_at` is when that look-up was over. `queued_at` … `woken_at` are instants at which it began to wait, and had waited, for a place at
    its resource, for a new connection, and for a resource that slept or started; 0.0 where it did not.
    """

    started = 0.0
    first_byte = 0.0
    ended = 0.0
    client = ""
    id = b""  # the request's, which is made and sent as bytes
    method = b""
    target = b""
    host = b""
    scheme = "http"
    version = 1
    user_agent = b""
    referer = b""
    traceparent = b""
    status = 0
    received = 0
    sent = 0
    ending = ""
    problem: Problem | None = None
    route: Route | None = None
    looked_up = False
    backend = ""
    tries = 0
    reused = False
    tunnel = False
    resolved_at = 0.0
    queued_at = 0.0
    admitted_at = 0.0
    dialled_at = 0.0
    connected_at = 0.0
    held_at = 0.0
    woken_at = 0.0
    hint = ""  # what helps, where the program refused the host
    marks: int = 0  # flags of its record: that it was captured, that it is a replay

    @property
    def request_id(self) -> str:
        return self.id.decode("ascii")

    def by_trusted_proxy(self) -> bool:
        """Whether a trusted proxy sent the request."""
        return False

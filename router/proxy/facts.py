"""What is known of an exchange when it is over: the facts that `observe` turns into an access line and into metrics."""

from typing import TYPE_CHECKING

from router.errors import Problem
from router.http1.heads import value_of
from router.http1.requests import RequestHead

if TYPE_CHECKING:
    from router.routes.route import Route


class Facts:
    """Defaults stand on the class: most exchanges leave most of them alone. Times are of the monotonic clock."""

    head: RequestHead
    route: "Route | None" = None
    problem: Problem | None = None
    id = b""  # the request's, which is made and sent as bytes
    started = 0.0
    client = ""
    scheme = "http"
    status = 0
    received = 0
    sent = 0
    first_byte = 0.0
    ended = 0.0
    ending = ""
    looked_up = False
    backend = ""
    tries = 0
    reused = False
    tunnel = False

    @property
    def request_id(self) -> str:
        return self.id.decode("ascii")

    @property
    def method(self) -> bytes:
        return self.head.method

    @property
    def target(self) -> bytes:
        return self.head.target

    @property
    def host(self) -> bytes:
        return self.head.host

    @property
    def version(self) -> int:
        return self.head.version

    @property
    def user_agent(self) -> bytes:
        visitor = self.head.visitor
        return value_of(self.head.user_agent) if visitor is None else visitor[0]

    @property
    def referer(self) -> bytes:
        visitor = self.head.visitor
        return value_of(self.head.referer) if visitor is None else visitor[1]

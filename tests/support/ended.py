"""Exchanges that have ended, for what watches them. Every field can be replaced."""

from dataclasses import dataclass, field

from router.errors import Problem
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.records import PLATFORM, resource


def route(slug: str = "shop", *, reason: str = "served", source: str = "sql", level: Level = Level.PLATFORM) -> Route:
    """The route of `<slug>.miosa.app`, to that resource's port 3000."""
    decision = Decision(level, reason, resource=resource(slug), port=3000)
    return Route(f"{slug}.{PLATFORM}", decision, keys=(), source=source, expires=60.0)


@dataclass
class Ended:
    """A GET that took 250 ms, its first byte 100 ms, in the tenth second."""

    started: float = 10.0
    first_byte: float = 10.1
    ended: float = 10.25
    client: str = "203.0.113.9"
    method: bytes = b"GET"
    target: bytes = b"/index.html"
    host: bytes = b"shop.miosa.app"
    scheme: str = "https"
    version: int = 1
    status: int = 200
    received: int = 0
    sent: int = 1234
    ending: str = "--"
    request_id: str = "0193f0a1c2d3"
    problem: Problem | None = None
    route: Route | None = field(default_factory=route)
    looked_up: bool = True
    backend: str = "10.0.0.1:3000"
    tries: int = 1
    reused: bool = False
    tunnel: bool = False
    user_agent: bytes = b"curl/8"
    referer: bytes = b""

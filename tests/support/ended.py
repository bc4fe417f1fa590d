"""Exchanges that have ended, for what watches them. Every field can be replaced."""

from router.observe.ended_exchange import Finished
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.records import PLATFORM, resource


def route(slug: str = "shop", *, reason: str = "served", source: str = "sql", level: Level = Level.PLATFORM) -> Route:
    """The route of `<slug>.miosa.app`, to that resource's port 3000."""
    decision = Decision(level, reason, resource=resource(slug), port=3000)
    return Route(f"{slug}.{PLATFORM}", decision, keys=(), source=source, expires=60.0)


def ended(**changes: object) -> Finished:
    """A GET that took 250 ms, its first byte 100 ms, in the tenth second."""
    done = Finished()
    fields = {
        "started": 10.0,
        "first_byte": 10.1,
        "ended": 10.25,
        "client": "203.0.113.9",
        "id": b"0193f0a1c2d3",
        "method": b"GET",
        "target": b"/index.html",
        "host": b"shop.miosa.app",
        "scheme": "https",
        "status": 200,
        "sent": 1234,
        "ending": "--",
        "route": route(),
        "looked_up": True,
        "backend": "10.0.0.1:3000",
        "tries": 1,
        "user_agent": b"curl/8",
    }
    for name, value in (fields | changes).items():
        setattr(done, name, value)
    return done

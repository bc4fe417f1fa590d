"""How wide the program behind a host may set cookies."""

import pytest

from router.routes.chain import Decision, Level
from router.routes.route import ANY_ZONE, Route, cookie_scope


@pytest.mark.parametrize(
    ("level", "zone", "zones", "shared", "scope"),
    [
        (Level.PLATFORM, None, (), (), b"a.b.example"),
        (Level.PLATFORM, None, (), (ANY_ZONE,), b"a.b.example"),
        (Level.EXACT, None, (), (), None),
        (Level.EXACT, None, ("b.example",), (), b"a.b.example"),
        (Level.EXACT, None, ("b.example",), ("b.example",), None),
        (Level.EXACT, None, ("b.example",), (ANY_ZONE,), None),
        (Level.TENANT, "b.example", ("b.example",), (), b"a.b.example"),
        (Level.TENANT, "b.example", ("b.example",), ("b.example",), b"b.example"),
        (Level.TENANT, "b.example", ("b.example", "example"), ("b.example",), b"a.b.example"),
        (Level.TENANT, None, (), (), b"a.b.example"),
    ],
)
def test_cookie_scope(
    level: Level, zone: str | None, zones: tuple[str, ...], shared: tuple[str, ...], scope: bytes | None
) -> None:
    """The host alone among strangers, a zone that is shared on purpose, and a custom domain's own as browsers allow."""
    decision = Decision(level, "served", zone=zone, zones=zones)
    assert cookie_scope(Route("a.b.example", decision, keys=(), source="sql", expires=0.0), shared) == scope

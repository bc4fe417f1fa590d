"""Why a port is closed, by what listens inside."""

import pytest

from router.errors import LISTENS_ELSEWHERE, LISTENS_ON_LOOPBACK, PORT_CLOSED, Problem
from router.pages import why_closed
from router.routes.records import ListeningSocket

ALL = "0.0.0.0"


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        (None, PORT_CLOSED),
        ([], PORT_CLOSED),
        ([(3000, "127.0.0.1")], LISTENS_ON_LOOPBACK),
        ([(3000, "127.0.0.53")], LISTENS_ON_LOOPBACK),
        ([(3000, "::1")], LISTENS_ON_LOOPBACK),
        ([(3000, "::ffff:127.0.0.1")], LISTENS_ON_LOOPBACK),
        ([(3000, "127.0.0.1"), (3000, "::1")], LISTENS_ON_LOOPBACK),
        ([(3000, "127.0.0.1"), (8080, ALL)], LISTENS_ON_LOOPBACK),
        # It is reachable there, or was: the list is no explanation.
        ([(3000, ALL)], PORT_CLOSED),
        ([(3000, "::")], PORT_CLOSED),
        ([(3000, "127.0.0.1"), (3000, "10.0.3.7")], PORT_CLOSED),
        ([(3000, ALL), (8080, ALL)], PORT_CLOSED),
        ([(8080, ALL)], LISTENS_ELSEWHERE),
        ([(8080, "127.0.0.1")], LISTENS_ELSEWHERE),
    ],
)
def test_why(listening: list[tuple[int, str]] | None, expected: Problem) -> None:
    """Port 3000 was dialled and refused."""
    sockets = None if listening is None else [ListeningSocket(*one) for one in listening]
    assert why_closed(3000, sockets) is expected

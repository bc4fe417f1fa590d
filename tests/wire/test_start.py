"""What a node does between being whole and saying so."""

from pathlib import Path

import pytest

from router.node.app import App
from tests.support.node import node_settings

pytestmark = pytest.mark.asyncio


async def test_what_takes_long_comes_before_a_node_is_ready(tmp_path: Path) -> None:
    """A full collection of garbage stops everything: it is over when load balancers begin to send visitors."""
    states: list[str] = []
    app = App(node_settings(tmp_path))
    try:
        await app.start(settle=lambda: states.append(app._state))
        states.append(app._state)
    finally:
        await app.close()
    assert states == ["starting", "serving"]

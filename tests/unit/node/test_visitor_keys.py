"""What a worker signs with, as the settings say."""

from typing import Any

import pytest

from router.base.clock import ManualClock
from router.node.visitor_keys import open_keys
from router.settings import Settings
from tests.support.access import MemoryKeys, identity_keys
from tests.support.memory_records import MemoryRecords


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("settings", "issuer"),
    [
        ({}, "https://miosa.app"),
        ({"platform_domain": "edge.example", "public_scheme": "http"}, "https://edge.example"),
        ({"identity_issuer": "https://id.example/edge/"}, "https://id.example/edge"),
    ],
)
async def test_the_issuer(settings: dict[str, Any], issuer: str) -> None:
    """It is the setting's, or a name made of the platform's domain that stays whatever ports and schemes are."""
    records = MemoryRecords()
    records.put(identity_keys("first"))
    keys = open_keys(records, Settings(**settings), ManualClock(), visitors=MemoryKeys())
    await keys.identity_ready()
    assert keys.identity is not None
    assert keys.identity.issuer == issuer
    await keys.close()

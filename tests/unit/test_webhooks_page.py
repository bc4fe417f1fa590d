"""What docs/webhooks.md tells receivers to do is right."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.tenancy.deliveries import Due, message
from router.tenancy.events import Event

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


@pytest.fixture(scope="module")
def is_genuine() -> Callable[..., bool]:
    """The page's example, as it stands there."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Callable[..., bool]] = {}
    exec(block, names)  # noqa: S102  # our own page
    return names["is_genuine"]


def sent(*secrets: str, ago: timedelta = timedelta()) -> tuple[str, bytes]:
    """The signature and the body of a message that was sent so long ago: the page's example asks the system's clock."""
    at = datetime.now(UTC) - ago
    event = Event(id="e", type="domain.verified", tenant_id="t", data={"fqdn": "bücher.example"}, created_at=at)
    due = Due(
        id="d",
        webhook_id="w",
        url="https://a.example/",
        secrets=secrets or ("whsec_new",),
        event=event,
        attempts=0,
        created_at=at,
    )
    body, headers = message(due, at)
    return headers["Miosa-Signature"], body


def test_ours(is_genuine: Callable[..., bool]) -> None:
    """With the secret that signed, and for a while with either of two."""
    header, body = sent()
    assert is_genuine("whsec_new", header, body)
    header, body = sent("whsec_new", "whsec_old")
    assert is_genuine("whsec_new", header, body)
    assert is_genuine("whsec_old", header, body)


def test_not_ours(is_genuine: Callable[..., bool]) -> None:
    """Another secret, another body, another time, an old message, and what is no signature at all."""
    header, body = sent()
    stamp, _, signature = header.partition(",v1=")
    for wrong in (
        ("whsec_other", header, body),
        ("whsec_new", header, body + b" "),
        ("whsec_new", f"t={int(stamp[2:]) + 1},v1={signature}", body),
        ("whsec_new", f"{stamp},v1=", body),
        ("whsec_new", f"v1={signature}", body),
        ("whsec_new", f"{stamp},v0={signature}", body),
        ("whsec_new", "", body),
        ("whsec_new", *sent(ago=timedelta(minutes=6))),
    ):
        assert not is_genuine(*wrong)

"""What docs/webhooks.md tells receivers to do is right."""

import ast
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.tenancy.deliveries import Due, message
from router.tenancy.events import Event

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "webhooks.md"


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


_EMITTING = {"emit", "emit_event", "_emit_event", "_event", "_tell", "emit_custom", "emit_preview"}
_TYPE = re.compile(r"(?:[a-z_]+\.)?[a-z_]+")


def _emitted() -> Iterator[str]:
    """The words for what has happened, with their noun where it stands there, of every event that code names."""
    for part in ("tenancy", "domains", "gate", "certificates"):
        for path in (ROOT / "router" / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    texts = (
                        [arg.value for arg in node.args if isinstance(arg, ast.Constant)] if name in _EMITTING else []
                    )
                    yield from (text for text in texts if isinstance(text, str) and _TYPE.fullmatch(text))


def test_every_event_is_listed() -> None:
    """Who subscribes finds it on the page."""
    listed = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE.read_text()))
    words = {kind.partition(".")[2] for kind in listed}
    emitted = set(_emitted())
    assert {"preview.share_created", "webhook.test", "domain.verified"} <= listed
    assert len(emitted) > 15
    # A preview domain that is replaced is `domain.removed`.
    assert {text for text in emitted if text not in listed and text not in words} == {"replaced"}

"""When a webhook is tried again, and what it is signed with."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from miosa import verify_signature

from router.tenancy.deliveries import Attempt, DeliveryState, Due, message, ordering_key_of, settle
from router.tenancy.events import Event

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EVENT = Event(
    id="e1",
    type="domain.verified",
    tenant_id="t1",
    workspace_id="w1",
    project_id="p1",
    resource_id="r1",
    domain_id="d1",
    data={"fqdn": "bücher.example"},
    created_at=NOW,
)


def due(attempts: int = 0, **changes: object) -> Due:
    fields = {"id": "x1", "webhook_id": "h1", "url": "https://a.example/", "secrets": ("whsec_new",), "event": EVENT}
    return Due(**{**fields, "attempts": attempts, "created_at": NOW, **changes})


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_delivered(status: int) -> None:
    """Any 2xx."""
    settled = settle(due(3), Attempt(status=status), NOW)
    assert (settled.state, settled.attempts, settled.next_at) == (DeliveryState.DELIVERED, 4, None)


@pytest.mark.parametrize(
    "attempt", [Attempt(status=301), Attempt(status=404), Attempt(status=500), Attempt(error="no")]
)
def test_everything_else_is_tried_again(attempt: Attempt) -> None:
    """A redirect too: it is not followed."""
    settled = settle(due(), attempt, NOW)
    assert (settled.state, settled.attempts, settled.next_at) == (DeliveryState.PENDING, 1, NOW + timedelta(seconds=5))


def test_for_a_day() -> None:
    """The pause doubles up to an hour; what is not delivered within a day of the event is given up."""
    now, delivery, pauses = NOW, due(), []
    while True:
        settled = settle(delivery, Attempt(error="no"), now)
        if settled.next_at is None:
            break
        pauses.append((settled.next_at - now).total_seconds())
        now, delivery = settled.next_at, due(settled.attempts)
    assert pauses[:11] == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert set(pauses[10:]) == {3600.0}
    assert settled.state is DeliveryState.GIVEN_UP
    assert timedelta(hours=22) < now - NOW <= timedelta(hours=24)
    assert len(pauses) == 32


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [(503, 120.0, 120), (429, 2.0, 5), (500, 10.0, 10), (503, 1e9, 3600), (302, 30.0, 30), (503, None, 5)],
)
def test_retry_after(status: int, retry_after: float | None, pause: float) -> None:
    """No sooner than the endpoint asks for, within the longest pause, and no sooner than our own pause."""
    settled = settle(due(), Attempt(status=status, retry_after=retry_after), NOW)
    assert settled.next_at == NOW + timedelta(seconds=pause)


def test_gone() -> None:
    """410 ends it at once."""
    settled = settle(due(), Attempt(status=410), NOW)
    assert (settled.state, settled.next_at) == (DeliveryState.GIVEN_UP, None)


def test_jitter() -> None:
    """So that what failed together does not come back together."""
    assert settle(due(), Attempt(), NOW, 1.1).next_at == NOW + timedelta(seconds=5.5)


def test_the_message() -> None:
    """The event with the API's field names, its id and type beside it, signed with each secret that is good."""
    body, headers = message(due(secrets=("whsec_new", "whsec_old")), NOW)
    assert json.loads(body) == {
        "id": "e1",
        "type": "domain.verified",
        "tenant_id": "t1",
        "workspace_id": "w1",
        "project_id": "p1",
        "resource_id": "r1",
        "domain_id": "d1",
        "data": {"fqdn": "bücher.example"},
        "created_at": "2026-11-25T12:00:00Z",
    }
    stamp = str(int(NOW.timestamp()))
    signed = [
        hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        for secret in (b"whsec_new", b"whsec_old")
    ]
    assert dict(headers) == {
        "Content-Type": "application/json",
        "User-Agent": "miosa-router webhooks",
        "Miosa-Event-Id": "e1",
        "Miosa-Event-Type": "domain.verified",
        "Miosa-Delivery": "x1",
        "Miosa-Signature": f"t={stamp},v1={signed[1]},v1={signed[0]}",
        "X-MIOSA-Signature": f"sha256={hmac.new(b'whsec_new', body, hashlib.sha256).hexdigest()}",
        "Webhook-Id": "e1",
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": headers["Webhook-Signature"],
    }


def standard(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """What the reference library of Standard Webhooks does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['Webhook-Id']}.{headers['Webhook-Timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(text == f"v1,{expected}" for text in headers["Webhook-Signature"].split(" "))


def test_verifiers() -> None:
    """The official client's takes either of its headers with the first of two secrets, and that of Standard Webhooks takes
    both; another secret or body is refused by all."""
    new, old = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))
    body, headers = message(due(secrets=(new, old)), datetime.now(UTC))
    ours, theirs = headers["Miosa-Signature"], headers["X-MIOSA-Signature"]
    assert verify_signature(body, ours, new)
    assert verify_signature(body, theirs, new)
    assert not verify_signature(body, theirs, old)
    assert not verify_signature(body + b" ", ours, new)
    assert not verify_signature(body + b" ", theirs, new)
    assert standard(new, headers, body)
    assert standard(old, headers, body)
    assert not standard(new, headers, body + b" ")
    assert not standard(new, {**headers, "Webhook-Timestamp": "1"}, body)


def test_secrets_of_before() -> None:
    """Those in base64url without padding mean to Standard Webhooks what they mean in base64url."""
    old = "whsec_" + "-_" * 21 + "A"
    body, headers = message(due(secrets=(old,)), NOW)
    assert standard("whsec_" + "+/" * 21 + "A=", headers, body)


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (EVENT, "d1"),
        (
            Event(id="e", type="preview_domain.set", tenant_id="t", data={"domain": "a.example"}, created_at=NOW),
            "a.example",
        ),
        (Event(id="e", type="sandbox.created", tenant_id="t", project_id="p", resource_id="r", created_at=NOW), "r"),
        (Event(id="e", type="x.y", tenant_id="t", workspace_id="w", project_id="p", created_at=NOW), "p"),
        (Event(id="e", type="x.y", tenant_id="t", workspace_id="w", created_at=NOW), "w"),
        (Event(id="e", type="x.y", tenant_id="t", created_at=NOW), "t"),
    ],
)
def test_ordering_keys(event: Event, key: str) -> None:
    """What is about one thing arrives in order."""
    assert ordering_key_of(event) == key

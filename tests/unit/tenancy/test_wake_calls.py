"""What the platform is told, and what is made of its answers."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from router.routes.records import Kind, State
from router.routes.wakes import Wake, WakeState
from router.tenancy.deliveries import Attempt
from router.tenancy.wake_calls import judge, message
from router.tenancy.wakes import Sleeper, StoredWake

ACCEPTED = (*range(200, 300),)
REFUSED = (402, 403, 409)
TROUBLE = (408, 425, 429, *range(500, 600))
NOT_UNDERSTOOD = tuple(code for code in range(100, 500) if code not in (*ACCEPTED, *REFUSED, *TROUBLE))
TRIES = range(1, 15)


@pytest.mark.parametrize(
    ("codes", "state", "result", "usable"),
    [
        (ACCEPTED, WakeState.STARTING, "accepted", True),
        (REFUSED, WakeState.REFUSED, "refused", True),
        (NOT_UNDERSTOOD, WakeState.FAILED, "not_understood", True),
        (TROUBLE, None, "trouble", False),
        ((None,), None, "no_answer", False),
    ],
)
@pytest.mark.parametrize("tries", TRIES)
def test_what_each_answer_means(
    codes: tuple[int | None, ...], state: WakeState | None, result: str, usable: bool, tries: int
) -> None:
    """Every status there is, whichever try it is: only trouble is asked again."""
    for code in codes:
        verdict = judge(Attempt(status=code), tries, 1.0)
        assert (verdict.state, verdict.result, verdict.usable) == (state, result, usable)
        assert (verdict.pause > 0) == (state is None)


def test_pauses_double_up_to_five_seconds() -> None:
    """Half a second first; a jitter varies each."""
    pauses = [judge(Attempt(status=503), tries, 1.0).pause for tries in TRIES]
    assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, 5.0]
    assert set(pauses[4:]) == {5.0}
    assert judge(Attempt(), 1, 1.3).pause == pytest.approx(0.65)


def test_who_asks_to_be_left_alone_is() -> None:
    """Where an answer has Retry-After that is the least; a refusal or a promise with one means the same as without."""
    assert judge(Attempt(status=503, retry_after=7), 1, 1.0).pause == 7
    assert judge(Attempt(status=429, retry_after=0), 3, 1.0).pause == 2
    assert judge(Attempt(status=202, retry_after=7), 1, 1.0).pause == 0


def test_what_the_platform_is_told() -> None:
    """The documented fields and no other, signed in the three ways of webhooks, with the wake's id however often it is sent."""
    wake = StoredWake(
        resource_id="r1",
        id="w1",
        state=WakeState.ASKED,
        turn=3,
        port=5173,
        reason="websocket",
        request_id="req-1",
        since=1.0,
        until=2.0,
    )
    sleeper = Sleeper(
        resource_id="r1",
        tenant_id="t1",
        kind=Kind.SANDBOX,
        slug="shop",
        state=State.PAUSED,
        wake=Wake.ANY,
        suspended=False,
    )
    secret, now = "whsec_" + base64.b64encode(b"0123456789abcdef").decode(), datetime(2026, 1, 1, tzinfo=UTC)
    body, headers = message(wake, sleeper, secret, now)
    assert json.loads(body) == {
        "resource_id": "r1",
        "tenant_id": "t1",
        "kind": "sandbox",
        "slug": "shop",
        "port": 5173,
        "reason": "websocket",
        "request_id": "req-1",
    }
    stamp = int(now.timestamp())
    ours = hmac.new(secret.encode(), b"%d." % stamp + body, hashlib.sha256).hexdigest()
    standard = hmac.new(b"0123456789abcdef", b"w1.%d." % stamp + body, hashlib.sha256).digest()
    assert headers["Miosa-Signature"] == f"t={stamp},v1={ours}"
    assert headers["X-MIOSA-Signature"] == "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert (headers["Webhook-Id"], headers["Webhook-Timestamp"]) == ("w1", str(stamp))
    assert headers["Webhook-Signature"] == "v1," + base64.b64encode(standard).decode()
    assert headers["Content-Type"] == "application/json"
    assert secret not in str(headers) + body.decode()

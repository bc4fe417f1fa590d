"""Signatures of what is sent out, to webhooks, log drains and the platform, and the secrets that make them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets begin
GRACE: Final = timedelta(hours=24)  # for which a secret stays good after another has taken its place


def new_secret() -> str:
    """A secret to sign with, as Standard Webhooks has them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def good_secrets(secret: str, old: str | None, old_until: datetime | None, now: datetime) -> tuple[str, ...]:
    """Those of a receiver's two secrets that are good now, the current one first."""
    return (secret,) if old is None or old_until is None or now >= old_until else (secret, old)


def signatures(body: bytes, message_id: str, secrets: Sequence[str], stamp: int) -> dict[str, str]:
    """The headers that sign a body in three ways, by secrets of which the current one is the first. What has room for one
    signature has that of the first; where the official client reads the last of several, that one is the last."""
    return {
        "Miosa-Signature": ",".join(
            (f"t={stamp}", *(f"v1={sign(secret, stamp, body)}" for secret in reversed(secrets)))
        ),
        "X-MIOSA-Signature": f"sha256={hmac.new(secrets[0].encode(), body, hashlib.sha256).hexdigest()}",
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(stamp),
        "Webhook-Signature": " ".join(f"v1,{sign_standard(secret, message_id, stamp, body)}" for secret in secrets),
    }


def sign(secret: str, stamp: int, body: bytes) -> str:
    """HMAC-SHA256 over `<seconds since 1970>.<body>`, in hexadecimal digits."""
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def sign_standard(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """As the Standard Webhooks specification has it: over `<id>.<seconds since 1970>.<body>`, in base64, under what the
    part behind `whsec_` means in base64."""
    signed = f"{message_id}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(_standard_key(secret), signed, hashlib.sha256).digest()).decode()


def _standard_key(secret: str) -> bytes:
    # Secrets of before we followed the specification are in base64url, without padding.
    text = secret.removeprefix(SECRET_PREFIX).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return secret.encode()

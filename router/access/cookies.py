"""The cookie that a visitor gets for a link: a grant, signed with a key of the fleet.

    1.KEY.RESOURCE.PORT.SECRET.GENERATION.ISSUED.UNTIL.SIGNATURE

KEY is the id of the signing key; ISSUED and UNTIL are whole seconds of the epoch; SIGNATURE is HMAC-SHA256 over what stands
before it, in base64url without padding. Nothing in it is a secret but the signature. It is bound to one port of one resource
and to the policy's generation, and holds no longer than the secret that it was given for: so a copy of it is worth
nothing elsewhere, and nothing once that is revoked.

The newest key that has come into its time signs. Nodes' clocks may differ: a key is used as soon as it is known where no
other may sign, and a cookie may have been issued `TOLERANCE` seconds from now.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

from router.routes.records import SigningKey, SigningKeysRecord

NAME: Final = b"__Host-miosa-preview"
TOLERANCE: Final = 900.0  # seconds that the clocks of two nodes may lie apart
MAX_AGE: Final = 30 * 86400  # seconds that one is good for, at most
_MAX_SIZE: Final = 512  # bytes
_MAX_REMEMBERED: Final = 4096  # cookies
_PURPOSE: Final = b"miosa preview cookie\n"
_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,80}")
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,11}")


class Grant:
    """What a cookie says: who got it may open `port` of `resource_id`, by the secret `secret_id`, until an instant in seconds of
    the epoch. `signed_by` is the id of the key, of one that was read."""

    def __init__(
        self,
        resource_id: str,
        port: int,
        secret_id: str,
        generation: int,
        issued: float,
        until: float,
        signed_by: str = "",
    ) -> None:
        self.resource_id = resource_id
        self.port = port
        self.secret_id = secret_id
        self.generation = generation
        self.issued = issued
        self.until = until
        self.signed_by = signed_by

    def __repr__(self) -> str:
        return f"<Grant {self.resource_id}:{self.port} by {self.secret_id}, {self.generation}, until {self.until}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grant) and repr(other) == repr(self) and other.issued == self.issued

    __hash__ = None  # type: ignore[assignment]


def sign(grant: Grant, keys: SigningKeysRecord, now: float) -> bytes | None:
    """The value of the cookie; None where every key is too old to sign one."""
    key = current_key(keys, now)
    if key is None:
        return None
    fields = (
        *("1", key.id, grant.resource_id, grant.port, grant.secret_id, grant.generation),
        *(int(grant.issued), int(grant.until)),
    )
    payload = ".".join(map(str, fields)).encode("ascii")
    return payload + b"." + _signature(key, payload)


def set_cookie(value: bytes, seconds: int) -> bytes:
    """The value of Set-Cookie. `Partitioned`: in a frame on another site, browsers keep it for that site alone."""
    return b"%b=%b; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=None; Partitioned" % (NAME, value, seconds)


class Cookies:
    """Reads cookies, and remembers those that were right. One per worker; bounded, since visitors may have many."""

    def __init__(self) -> None:
        self._keys: SigningKeysRecord | None = None
        self._known: dict[bytes, tuple[Grant, float]] = {}

    def read(self, value: bytes, keys: SigningKeysRecord, now: float) -> Grant | None:
        """What a cookie says; None where we have not signed it, or with a key that is believed no more."""
        if keys is not self._keys:  # one of them may have been withdrawn
            self._known.clear()
            self._keys = keys
        known = self._known.get(value)
        if known is None:
            known = _read(value, keys)
            if known is None:
                return None
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[value] = known
        grant, believed_until = known
        return grant if believed_until > now and grant.issued <= now + TOLERANCE else None


def is_believed(key_id: str, keys: SigningKeysRecord) -> bool:
    """Whether what that key has signed is believed: it has not been withdrawn."""
    return any(key.id == key_id for key in keys.keys)


def current_key(keys: SigningKeysRecord, now: float) -> SigningKey | None:
    """Which of the fleet's keys for one purpose signs now; None where every one is too old."""
    valid = [key for key in keys.keys if key.until > now]
    begun = [key for key in valid if key.since <= now]
    if begun:
        return max(begun, key=lambda key: key.since)
    return min(valid, key=lambda key: key.since) if valid else None


def _read(value: bytes, keys: SigningKeysRecord) -> tuple[Grant, float] | None:
    """The grant, and until when the key that signed it is believed."""
    if len(value) > _MAX_SIZE:
        return None
    payload, _, signature = value.rpartition(b".")
    fields = payload.split(b".")
    if len(fields) != 8 or fields[0] != b"1":
        return None
    for key in keys.keys:
        if key.id.encode("ascii", "replace") == fields[1]:
            if not hmac.compare_digest(_signature(key, payload), signature):
                return None
            break
    else:
        return None
    texts, numbers = (fields[2], fields[4]), (fields[3], *fields[5:])
    if not all(map(_ID.fullmatch, texts)) or not all(map(_NUMBER.fullmatch, numbers)):
        return None
    port, generation, issued, until = map(int, numbers)
    resource_id, secret_id = texts[0].decode(), texts[1].decode()
    grant = Grant(resource_id, port, secret_id, generation, float(issued), float(until), key.id)
    return grant, key.until


def _signature(key: SigningKey, payload: bytes) -> bytes:
    try:
        secret = bytes.fromhex(key.secret)
    except (ValueError, binascii.Error):
        secret = key.secret.encode()
    mac = hmac.digest(secret, _PURPOSE + payload, hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=")

"""Secrets that have to be read again, such as a customer's password at somebody else's service, as they are stored: sealed with
a key that the store does not have.

    1.KEY.TEXT

KEY is the id of the key that sealed it; TEXT is AES-256-GCM (NIST SP 800-38D) of the secret, with a random nonce of 12 bytes in
front, in base64url without padding. What it is sealed *for* is authenticated with it, so that a text that is copied into
another row opens nothing there.

With several keys the first seals, and all open: a key is replaced by putting another in front of it, sealing everything
anew, and taking it away.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

KEY_BYTES: Final = 32
NO_SECRETS_KEY: Final = (
    "This router has no key to encrypt secrets with, so it stores none. Whoever operates it can set one: `secrets_key` or "
    "`secrets_key_file`, see the runbook."
)
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class SecretLostError(Exception):
    """A secret can't be opened: none of the keys has sealed it, or it is not as it was sealed."""


class NoSecretsKeyError(Exception):
    """There is no key to seal a secret with."""


class SecretBox:
    """`keys` are of `KEY_BYTES` each, the one that seals first; without any, nothing can be sealed or opened."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - a worker knows this class and has no key

        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self._sealing = _id_of(keys[0]) if keys else ""

    def __repr__(self) -> str:
        return f"<SecretBox of {len(self._ciphers)}>"

    @property
    def can_seal(self) -> bool:
        return bool(self._sealing)

    def seal(self, secret: str, *, purpose: str) -> str:
        """`purpose` names the row and the field that it is for. Raises NoSecretsKeyError."""
        if not self._sealing:
            raise NoSecretsKeyError
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._sealing].encrypt(nonce, secret.encode(), purpose.encode())
        return f"1.{self._sealing}.{base64.urlsafe_b64encode(nonce + sealed).rstrip(b'=').decode()}"

    def open(self, sealed: str, *, purpose: str) -> str:
        """What was sealed for this purpose. Raises SecretLostError."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        version, _, rest = sealed.partition(".")
        key_id, _, text = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != "1" or cipher is None:
            raise SecretLostError("the key that it was sealed with is not among this router's")
        try:
            found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if len(found) < _NONCE_BYTES + _TAG_BYTES:
                raise SecretLostError("it is not as it was sealed")
            return cipher.decrypt(found[:_NONCE_BYTES], found[_NONCE_BYTES:], purpose.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SecretLostError("it is not as it was sealed") from error

    def has_key_of(self, sealed: str) -> bool:
        """Whether one of the keys has sealed it, as far as it says so itself."""
        return sealed.partition(".")[2].partition(".")[0] in self._ciphers

    def is_current(self, sealed: str) -> bool:
        """Whether the key that seals now has sealed it."""
        return sealed.startswith(f"1.{self._sealing}.") if self._sealing else False


def _id_of(key: bytes) -> str:
    """Of a key's hash, so that the same key has the same id on every node."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of secrets has {KEY_BYTES} bytes")
    return hashlib.sha256(b"miosa secrets key\n" + key).hexdigest()[:12]

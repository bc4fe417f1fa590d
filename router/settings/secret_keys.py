"""`secrets_key`, `secrets_key_file`: the keys that encrypt what the store keeps of other parties' secrets."""

import re
from pathlib import Path
from typing import Annotated

from router.settings.model import AfterValidator, SecretStr
from router.settings.types import SettingsError

_BETWEEN = re.compile(r"[\s,]+")
_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_WRONG = "must be 64 hexadecimal digits (32 random bytes); several are separated by commas, and the first encrypts"


def read_secret_keys(given: SecretStr | None, file: Path | None) -> tuple[bytes, ...]:
    """The keys, the one that encrypts first: those that are given, then the file's. None where nothing is set. Raises
    SettingsError."""
    keys = [] if given is None else _keys(given.get_secret_value())
    if file is not None:
        try:
            keys += _keys(file.read_text(encoding="ascii"))
        except OSError as error:
            raise SettingsError([("secrets_key_file", f"{file} cannot be read: {error.strerror}")]) from error
        except ValueError:
            raise SettingsError([("secrets_key_file", f"what {file} has {_WRONG}")]) from None
    if any(len(set(key)) == 1 for key in keys):
        raise SettingsError([("secrets_key", "is the example: make one with `openssl rand -hex 32`")])
    return tuple(dict.fromkeys(keys))


def _keys(text: str) -> list[bytes]:
    keys = [key for key in _BETWEEN.split(text) if key]
    if not keys or not all(map(_KEY.fullmatch, keys)):
        raise ValueError(_WRONG)
    return list(map(bytes.fromhex, keys))


def _check(value: SecretStr) -> SecretStr:
    _keys(value.get_secret_value())
    return value


SecretKeys = Annotated[SecretStr, AfterValidator(_check)]

"""`secrets_key`, `secrets_key_file`: the keys that encrypt what the store keeps of other parties' secrets."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr, ValidationInfo

from router.settings.types import SettingsError

_BETWEEN = re.compile(r"[\s,]+")
_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_WRONG = "must be 64 hexadecimal digits (32 random bytes); several are separated by commas, and the first encrypts"


def read_secret_keys(given: SecretStr | None, file: Path | None) -> tuple[bytes, ...]:
    """The keys, the one that encrypts first; none where none is set. Raises SettingsError."""
    if file is None:
        return () if given is None else _keys(given.get_secret_value())
    try:
        return _keys(file.read_text(encoding="ascii"))
    except OSError as error:
        raise SettingsError([("secrets_key_file", f"{file} cannot be read: {error.strerror}")]) from error
    except ValueError:
        raise SettingsError([("secrets_key_file", f"what {file} has {_WRONG}")]) from None


def _keys(text: str) -> tuple[bytes, ...]:
    keys = [key for key in _BETWEEN.split(text) if key]
    if not keys or not all(map(_KEY.fullmatch, keys)):
        raise ValueError(_WRONG)
    return tuple(dict.fromkeys(map(bytes.fromhex, keys)))


def _check(value: SecretStr) -> SecretStr:
    _keys(value.get_secret_value())
    return value


def _alone(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is not None and info.data.get("secrets_key") is not None:
        raise ValueError("can't be set beside secrets_key")
    return value


SecretKeys = Annotated[SecretStr, AfterValidator(_check)]
SecretKeysFile = Annotated[Path | None, AfterValidator(_alone)]

"""What settings are made of: pydantic's classes where settings are read, plain ones of the same names in a worker.

A worker gets its settings from a process that reads them for it and ends (`router/node/processes/settings_reader.py`). Pydantic
and the validators of all settings would be 13 of its 55 MiB, so it forgoes them, before anything imports a setting.
"""

import io
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

# Pydantic would look through all installed packages for plugins of its own: 14 ms of each process that reads settings.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # noqa: TID251 - no setting of ours

if TYPE_CHECKING or sys.modules.get("pydantic", sys) is not None:
    from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo
else:
    from router.settings.plain import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        SecretStr,
        ValidationInfo,
    )

__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Field",
    "SecretStr",
    "ValidationInfo",
    "packed",
    "unpacked",
]


def packed(given: object) -> bytes:
    """Settings, or what holds some, for another process of this program."""
    found = io.BytesIO()
    _Pickler(found).dump(given)
    return found.getvalue()


def unpacked(data: bytes) -> Any:
    """The same, settings of this process's own classes."""
    return pickle.loads(data)  # noqa: S301 - of a process that this one has started


class _Pickler(pickle.Pickler):
    """Writes groups and secrets as what they are called and what is in them."""

    def reducer_override(self, given: Any) -> Any:
        if isinstance(given, BaseModel):
            return _group, (type(given), given.__dict__)
        if isinstance(given, SecretStr):
            return _secret, (given.get_secret_value(),)
        return NotImplemented


def _group(kind: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    found = object.__new__(kind)
    found.__dict__.update(values)
    return found


def _secret(value: str) -> SecretStr:
    return SecretStr(value)

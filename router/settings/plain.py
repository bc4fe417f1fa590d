"""What settings are made of in a process that gets them from one that has read them: classes of the same fields, without pydantic.

Nothing is checked here. See `router/settings/model.py`.
"""

from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any, Self


class BaseModel:
    """Frozen; each field that is not given has its default."""

    def __init__(self, **values: Any) -> None:
        for kind in reversed(type(self).__mro__):
            for name in get_annotations(kind):
                given = getattr(kind, name)
                self.__dict__[name] = given.get() if isinstance(given, Field) else given
        self.__dict__.update(values)

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{name} is frozen")

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with some values changed."""
        found = object.__new__(type(self))
        found.__dict__.update({**self.__dict__, **update})
        return found


class Field:
    """A field's default, or a factory of it; what else is said of it is for who reads it."""

    def __init__(
        self, default: object = None, *, default_factory: Callable[[], object] | None = None, **_: object
    ) -> None:
        self._default = default
        self._factory = default_factory

    def get(self) -> object:
        """The default."""
        return self._default if self._factory is None else self._factory()


class AfterValidator:
    """What checks a value, where it is read."""

    def __init__(self, _check: object) -> None:
        pass


class BeforeValidator(AfterValidator):
    """As above."""


class SecretStr:
    """A text that is not shown."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return f"SecretStr('{self}')"

    def get_secret_value(self) -> str:
        """The text."""
        return self._value


ConfigDict = dict
ValidationInfo = object

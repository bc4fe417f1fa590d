"""How a message between processes is written: one JSON object whose `do` names its type. `messages.py` has those between a control
process and its workers, `process_messages.py` those between a supervisor and the processes that it starts.

During a reload processes of two versions talk to each other. So names on the wire (`do`, and each field's, or its
`wire` name) stay; a new field has a default; a field that the reader does not know is skipped; a message whose type it
does not know is logged and dropped.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeVar, cast


class Message:
    """Something one process tells another."""

    __slots__ = ()
    do: ClassVar[str]


class Direction:
    """The types that one side hears from the other."""

    def __init__(self, *types: type[Message]) -> None:
        self._types = {one.do: one for one in types}

    def decode(self, message: Mapping[str, Any]) -> Message:
        """The message. Raises LookupError for a type that this side does not know, TypeError where a field is missing."""
        # Before 1.0 children named their messages by their first field.
        do = message.get("do") or next((name for name in self._types if name in message), None)
        found = self._types.get(do or "")
        if found is None:
            raise LookupError(f"unknown message {do!r}")
        return read_as(found, message)


_WIRE_NAMES: dict[type[Message], tuple[tuple[str, str], ...]] = {}


def encode(message: Message) -> dict[str, Any]:
    """The message as JSON will have it."""
    return {"do": message.do, **{wire: getattr(message, name) for name, wire in _wire_names(type(message))}}


M = TypeVar("M", bound=Message)


def read_as(kind: type[M], value: Mapping[str, Any]) -> M:
    """What came over the wire, as a message of that kind. Raises TypeError where a field is missing."""
    return kind(**{name: value[wire] for name, wire in _wire_names(kind) if wire in value})


def _wire_names(kind: type[Message]) -> tuple[tuple[str, str], ...]:
    """Each field's name and its name on the wire."""
    names = _WIRE_NAMES.get(kind)
    if names is None:
        made = ((one.name, one.metadata.get("wire", one.name)) for one in fields(cast(Any, kind)))
        names = _WIRE_NAMES[kind] = tuple(made)
    return names

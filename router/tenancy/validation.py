"""Checks of what callers send, in the words of the API's pages; collected, so that one response names every mistake."""

import json
import re
from collections.abc import Mapping
from typing import Any

from router.errors import VALIDATION_FAILED, RouterError

TAKEN = "has already been taken"
BLANK = "can't be blank"

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_MAX_JSON = 64 * 1024  # bytes of one metadata, settings or branding object


class Fields:
    """The mistakes found so far. `check()` raises them together."""

    def __init__(self) -> None:
        self._messages: dict[str, list[str]] = {}

    def add(self, field: str, message: str) -> None:
        self._messages.setdefault(field, []).append(message)

    def check(self) -> None:
        """Raise RouterError VALIDATION_FAILED where anything was added."""
        if self._messages:
            raise RouterError(VALIDATION_FAILED, fields=self._messages)

    def text(self, field: str, value: str | None, *, max_length: int, required: bool = False) -> None:
        """A text: not blank where it is required, at most `max_length` characters, no null character."""
        if value is None or not value.strip():
            if required:
                self.add(field, BLANK)
            return
        if len(value) > max_length:
            self.add(field, f"should be at most {max_length} character(s)")
        if "\x00" in value:
            self.add(field, "must not contain a null character")

    def slug(self, field: str, value: str | None) -> None:
        """The slug of a workspace or a project (a resource's has stricter rules: it is part of a host)."""
        if value is not None and _SLUG.fullmatch(value) is None:
            self.add(field, "must start with alphanumeric and contain only a-z 0-9 -")

    def object(self, field: str, value: Mapping[str, Any] | None) -> None:
        """A JSON object of the caller's: bounded, because it is stored and sent back whole."""
        if value is not None and len(json.dumps(value).encode()) > _MAX_JSON:
            self.add(field, f"should be at most {_MAX_JSON} bytes of JSON")

    def port(self, field: str, value: int | None) -> None:
        if value is not None and not 1 <= value <= 65535:
            self.add(field, "must be between 1 and 65535")


def invalid(field: str, message: str) -> RouterError:
    """The one mistake that can only be seen in the store."""
    return RouterError(VALIDATION_FAILED, fields={field: [message]})

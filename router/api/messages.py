"""What is wrong with a field, in the API's words. pydantic's own sentences never reach a client.

The words are those of the documented errors ("can't be blank", "is invalid", "has already been taken"), so that a
client that shows `error.fields` beside its form reads one language.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

BLANK = "can't be blank"
INVALID = "is invalid"
TAKEN = "has already been taken"

UNKNOWN = "is not a field of this request"

_WORDS = {
    "extra_forbidden": UNKNOWN,
    "missing": BLANK,
    "string_pattern_mismatch": "has invalid format",
    "string_too_long": "should be at most {max_length} character(s)",
    "string_too_short": "should be at least {min_length} character(s)",
    "too_long": "should have at most {max_length} item(s)",
    "too_short": "should have at least {min_length} item(s)",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be less than or equal to {le}",
}

# Parts of a location that are pydantic's own: the branch of a union, a validator's name, a key.
_NOISE = ("function-", "lax-or-strict[", "constrained-", "nullable[", "[key]")


def fields_of(error: ValidationError) -> dict[str, list[str]]:
    """`error.fields` of a response: the dotted path of each wrong field with what is wrong with it."""
    fields: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        messages = fields.setdefault(_name(item["loc"]), [])
        message = _message(item)
        if message not in messages:
            messages.append(message)
    return fields


def _name(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location if not str(part).startswith(_NOISE)]
    return ".".join(parts) or "body"


def _message(item: ErrorDetails) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_too_short" and context.get("min_length") == 1:
        return BLANK
    if kind.endswith("_type") and item["input"] is None:
        return BLANK
    if kind in ("enum", "literal_error"):
        return f"{INVALID}: must be {context['expected']}"
    return _fill(_WORDS.get(kind, INVALID), context)


def _fill(words: str, context: Mapping[str, Any]) -> str:
    return words.format_map(context)

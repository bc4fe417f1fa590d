"""Ids: UUID v4, in one spelling."""

import uuid


def new_id() -> str:
    """A UUID v4: the form of every id."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its one canonical spelling."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False

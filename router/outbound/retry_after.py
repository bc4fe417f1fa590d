"""Retry-After: how long a server asks to be left alone (RFC 9110 §10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}")


def seconds_of(retry_after: str, now: datetime) -> float | None:
    """What the header asks for, as seconds or as a date; None where it makes no sense."""
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max((then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds(), 0.0)

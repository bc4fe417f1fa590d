"""What may stand in a text that others chose."""


def is_storable(text: str) -> bool:
    """Whether every store can hold the text: no NUL, no lone surrogate."""
    if "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

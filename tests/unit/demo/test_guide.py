import pytest

from router.demo.guide import explained


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "10:00:00.123 502 BD GET app.test/ 1.2ms in=0 out=9",
            " (the backend refused or reset every try to connect: 502)",
        ),
        (
            "10:00:00.123 \x1b[31m502\x1b[0m BD GET app.test/",
            " (the backend refused or reset every try to connect: 502)",
        ),
        ("10:00:00.123 --- CR GET app.test/", " (the client went away in the middle of its request's head)"),
        ("10:00:00.123 200 -- GET app.test/ 1.2ms in=0 out=9", ""),
        ("10:00:00.123 [info     ] serving", ""),
        ("10:00:00.123 200 XX GET app.test/", ""),
        ("", ""),
    ],
)
def test_endings_are_explained(line: str, wanted: str) -> None:
    """An access line gets its ending in words, except for the usual one; other lines stay as they are."""
    assert explained(line) == line + wanted

"""`wake.*`: what is refused before a node starts."""

import pytest

from router.settings import SettingsError, parse

URL, SECRET = "https://control.example.com/wake", "whsec_0123456789abcdef"


def test_nothing_is_woken_unless_it_is_set_up() -> None:
    """Without an address everything is as it was."""
    assert parse({}).wake.url is None
    assert parse({"wake": {"url": URL, "secret": SECRET}}).wake.url == URL


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"url": URL}, "wake.secret"),
        ({"url": URL, "secret": ""}, "wake.secret"),
        ({"url": URL, "secret": "short"}, "wake.secret"),
        ({"url": "control.example.com/wake", "secret": SECRET}, "wake.url"),
        ({"url": "ftp://control.example.com", "secret": SECRET}, "wake.url"),
        ({"budget": 5, "hold": 6}, "wake.hold"),
        ({"budget": 5, "page_after": 6, "hold": 1}, "wake.page_after"),
        ({"budget": 5, "ask_time": 6, "hold": 1}, "wake.ask_time"),
        ({"budget": 0}, "wake.budget"),
        ({"per_tenant": 0}, "wake.per_tenant"),
        ({"queue": 10_001}, "wake.queue"),
        ({"uri": URL}, "wake.uri"),
    ],
)
def test_what_can_not_be(values: dict[str, object], key: str) -> None:
    """Each is refused with its name."""
    with pytest.raises(SettingsError) as refused:
        parse({"wake": values})
    assert key in dict(refused.value.problems)


def test_the_secret_is_not_shown() -> None:
    """Neither in a log line of the settings nor in an error about them."""
    assert SECRET not in repr(parse({"wake": {"url": URL, "secret": SECRET}}))

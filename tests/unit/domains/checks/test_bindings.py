"""HTTPS records: what they say, and whether that leads visitors elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domains.checks.bindings import Binding, leads_away, read

NAME, OURS, STRANGE = "app.example.com", "192.0.2.1", "198.51.100.9"


@pytest.mark.parametrize(
    ("text", "target", "hints", "port"),
    [
        ('1 . alpn="h2,h3"', None, (), 443),
        (f"1 {NAME}.", None, (), 443),
        ("1 APP.Example.com.", None, (), 443),
        ("0 other.example.net.", "other.example.net", (), 443),
        (f'0 other.example.net. ipv4hint="{STRANGE}"', "other.example.net", (), 443),
        (f'1 . ipv4hint="{OURS},{STRANGE}" ipv6hint="2001:DB8:0::1"', None, (OURS, STRANGE, "2001:db8::1"), 443),
        (f"1 . ipv4hint={OURS} port=8443", None, (OURS,), 8443),
        ('1 . ipv4hint="1.2.3.4.5,:::"', None, (), 443),
    ],
)
def test_what_a_record_says(text: str, target: str | None, hints: tuple[str, ...], port: int) -> None:
    """Its own name in any spelling is no other; an alias has no parameters; hints are addresses or nothing."""
    assert read(text, NAME) == Binding(text, target, hints, port)


def test_what_can_not_be_read() -> None:
    """No browser can read it either."""
    assert read("nonsense", NAME) is None


@pytest.mark.parametrize(
    ("text", "away"),
    [
        ('1 . alpn="h2"', False),
        (f'1 . ipv4hint="{OURS}"', False),
        (f'1 . ipv4hint="{OURS},{STRANGE}"', True),
        ('1 . port="8443"', True),
        ("0 strange.example.net.", True),
        ("0 ours.example.net.", False),
    ],
)
def test_what_leads_away(text: str, away: bool) -> None:
    """One stray hint is enough, as with addresses."""
    binding = read(text, NAME)
    assert binding is not None
    assert leads_away(binding, {OURS}, {"strange.example.net"}) is away


@given(text=st.text(max_size=80))
def test_a_stranger_may_write_anything(text: str) -> None:
    """It is read or it is not."""
    binding = read(text, NAME)
    assert binding is None or binding.text == text

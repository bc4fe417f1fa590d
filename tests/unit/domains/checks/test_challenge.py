"""Challenges: what their owners publish, and where we look for it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domains.checks.challenge import new_token, shows, txt_name

TOKEN = "0123456789abcdef0123456789abcdef"


def test_tokens_can_not_be_guessed() -> None:
    """128 random bits, in hexadecimal, as a label of DNS can hold them."""
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)


def test_the_record_is_below_the_name() -> None:
    """Only who runs the name's zone can publish it."""
    assert txt_name("app.example.com") == "_miosa-challenge.app.example.com"


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        f'"{TOKEN}"',
        f"'{TOKEN}'",
        rf"\"{TOKEN}\"",
        f"{TOKEN} ",
        f'  " {TOKEN} "  ',
        TOKEN.upper(),
        rf"\226\128\156{TOKEN}\226\128\157",
        rf"{TOKEN}\009",
    ],
)
def test_a_token_as_people_enter_it(value: str) -> None:
    """With quotes and blanks around it, and in capitals: it is the same number."""
    assert shows(["v=spf1 -all", value], TOKEN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        TOKEN[1:],
        f"0{TOKEN}",
        f"{TOKEN}{TOKEN}",
        f"{TOKEN[:16]} {TOKEN[16:]}",
        f"token={TOKEN}",
        "f" * 32,
        "\\" * 1024,
    ],
)
def test_what_is_no_token(value: str) -> None:
    """Nothing else is taken for one."""
    assert not shows([value], TOKEN)


def test_no_token_is_shown_by_nothing() -> None:
    """A registration without a token is proved by no record."""
    assert not shows(["", '""', TOKEN], "")


@given(value=st.text(alphabet="0123456789abcdefABCDEF \"'\\", max_size=40))
def test_only_the_number_counts(value: str) -> None:
    """Whatever is shown has exactly the token's digits in it."""
    if shows([value], TOKEN):
        assert re.sub(r"[^0-9a-f]", "", value.lower()) == TOKEN

"""How secrets of previews look."""

import hashlib

import pytest

from router.base import preview_secrets
from router.base.preview_secrets import LINK, ONCE, PROGRAM


@pytest.mark.parametrize(("kind", "start"), [(PROGRAM, "mpt_"), (LINK, "mpl_"), (ONCE, "mpo_")])
def test_a_new_secret_says_what_it_is_for(kind: str, start: str) -> None:
    plain = preview_secrets.new_secret(kind)
    assert plain.startswith(start)
    assert preview_secrets.kind_of(plain) == kind


def test_no_two_secrets_are_the_same() -> None:
    """Of a thousand, each differs from all others."""
    assert len({preview_secrets.new_secret(LINK) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mpt_",
        "mpt_" + "a" * 42,
        "mpt_" + "a" * 44,
        "mpx_" + "a" * 43,
        "MPT_" + "a" * 43,
        "mpt_" + "a" * 42 + "=",
        "mpt_" + "a" * 42 + "ä",
        "mpt_" + "a" * 43 + "\n",
        "msk_live_" + "a" * 43,
        "\ud800" * 47,
    ],
)
def test_other_texts_are_no_secrets(text: str) -> None:
    """Neither what is a character too short or too long, nor other characters, nor an API key."""
    assert preview_secrets.kind_of(text) is None


def test_a_digest_is_sha_256_in_hexadecimal() -> None:
    """So that every part of the router computes the same one."""
    plain = preview_secrets.new_secret(ONCE)
    assert preview_secrets.digest(plain) == hashlib.sha256(plain.encode("ascii")).hexdigest()


def test_what_is_shown_is_too_little_to_guess_the_rest() -> None:
    """The kind and 36 of 256 bits."""
    plain = preview_secrets.new_secret(PROGRAM)
    assert plain.startswith(preview_secrets.shown(plain))
    assert len(preview_secrets.shown(plain)) == 10

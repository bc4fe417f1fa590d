"""Secrets that are sealed: opened by who has the key, for what they were sealed for, and as they were sealed."""

import pytest

from router.base.secret_box import NoSecretsKeyError, SecretBox, SecretLostError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = "s3cr3t-ü"


def test_a_sealed_secret_opens_again() -> None:
    """What is stored shows nothing of it, and differs each time."""
    box = SecretBox([OLD])
    sealed = box.seal(SECRET, purpose="a row")
    assert box.open(sealed, purpose="a row") == SECRET
    assert SECRET not in sealed
    assert sealed != box.seal(SECRET, purpose="a row")
    assert SecretBox([OLD]).open(sealed, purpose="a row") == SECRET


def test_a_key_is_replaced() -> None:
    """The new one seals, both open; without the old one, only what was sealed anew opens."""
    before = SecretBox([OLD]).seal(SECRET, purpose="a row")
    both = SecretBox([NEW, OLD])
    assert both.open(before, purpose="a row") == SECRET
    assert not both.is_current(before)
    after = both.seal(both.open(before, purpose="a row"), purpose="a row")
    assert both.is_current(after)
    assert SecretBox([NEW]).open(after, purpose="a row") == SECRET
    with pytest.raises(SecretLostError):
        SecretBox([NEW]).open(before, purpose="a row")


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(NoSecretsKeyError):
        SecretBox().seal(SECRET, purpose="a row")
    sealed = SecretBox([OLD]).seal(SECRET, purpose="a row")
    assert not SecretBox().is_current(sealed)
    with pytest.raises(SecretLostError):
        SecretBox().open(sealed, purpose="a row")


def test_a_secret_is_of_one_place() -> None:
    """Copied into another row it opens nothing there."""
    box = SecretBox([OLD])
    with pytest.raises(SecretLostError):
        box.open(box.seal(SECRET, purpose="a row"), purpose="another row")


_SEALED = SecretBox([OLD]).seal(SECRET, purpose="a row")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(SECRET, id="never sealed"),
        pytest.param("1", id="version alone"),
        pytest.param("1.", id="empty key"),
        pytest.param(_SEALED.rpartition(".")[0], id="no text"),
        pytest.param(_SEALED.rpartition(".")[0] + ".", id="empty text"),
        pytest.param(_SEALED.rpartition(".")[0] + ".AAAA", id="other text"),
        pytest.param(_SEALED.rpartition(".")[0] + ".é", id="not Base64"),
        pytest.param(_SEALED[:-4], id="cut"),
        pytest.param(_SEALED + "AAAA", id="longer"),
        pytest.param("2" + _SEALED[1:], id="other version"),
        pytest.param(_SEALED[:-6] + ("A" if _SEALED[-6] != "A" else "B") + _SEALED[-5:], id="one letter changed"),
    ],
)
def test_what_is_not_as_it_was_sealed_does_not_open(text: str) -> None:
    with pytest.raises(SecretLostError):
        SecretBox([OLD]).open(text, purpose="a row")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_have_one_size(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SecretBox([bytes(size)])


def test_keys_are_not_shown() -> None:
    assert repr(SecretBox([OLD, NEW])) == "<SecretBox of 2>"

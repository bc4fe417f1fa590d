"""The forms of `database_url` that can be used, and what is said of those that can't."""

import pytest

from router.settings.database_url import check_database_url

GOOD = [
    "sqlite:///router.db",
    "sqlite:////var/lib/router.db",
    "postgresql://u@h/d",
    "postgresql://u:p%40%2Fw@h:5432/d",
    "postgresql://u@[::1]:5432/d",
    "postgresql:///d",
    "postgresql:///d?host=/run/postgresql",
    "postgresql://u@h/d?sslmode=verify-full",
    "postgresql://u@/d?host=h1,h2&target_session_attrs=read-write",
    "postgresql://u@/d?host=h1:5432,h2:5433&target_session_attrs=primary",
    "postgresql://u@/d?host=h1,h2&port=5432,5433&target_session_attrs=read-write",
]
BAD = [
    ("", "must be"),
    ("sqlite:///", "must be"),
    ("postgresql://", "must be"),
    ("mysql://u@h/d", "must be"),
    ("postgresql+asyncpg://u@h/d", "must be"),
    ("postgresql://u@h1,h2/d", "several hosts before the path"),
    ("postgresql://u:secret@h1:5432,h2:5432/d?target_session_attrs=read-write", "several hosts before the path"),
    ("postgresql://h1,h2", "several hosts before the path"),
    ("postgresql://u@/d?host=h1,h2", "writes go to"),
    ("postgresql://u@/d?host=h1&host=h2&target_session_attrs=any", "writes go to"),
    ("postgresql://u@h:x/d", "usable host and port"),
    ("postgresql://u@h:0/d", "1 to 65535"),
    ("postgresql://u@h:65536/d", "1 to 65535"),
    ("postgresql://u@h:543210/d", "usable host and port"),
    ("postgresql://u@[::1/d", "usable host and port"),
    ("postgresql://u@/d?host=h1,h2:x&target_session_attrs=read-write", "usable host and port"),
    ("postgresql://u@/d?host=h1,h2&port=5432,x&target_session_attrs=read-write", "1 to 65535"),
]


@pytest.mark.parametrize("url", GOOD)
def test_a_usable_url_stays_as_it_is(url: str) -> None:
    """What can be used is used as it was written."""
    assert check_database_url(url) == url


@pytest.mark.parametrize(("url", "words"), BAD)
def test_an_unusable_url_is_refused_in_words(url: str, words: str) -> None:
    """The refusal says what is wrong, and never the password."""
    with pytest.raises(ValueError, match=words) as refused:
        check_database_url(url)
    assert "secret" not in str(refused.value)

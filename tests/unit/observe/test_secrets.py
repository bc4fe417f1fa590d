"""What is masked before it is written anywhere."""

import time

import pytest

from router.observe.secrets import is_secret, mask_keys, mask_query, mask_text


@pytest.mark.parametrize(
    ("query", "masked"),
    [
        (b"", b""),
        (b"page=2&sort=name", b"page=2&sort=name"),
        (b"token=abc", b"token=***"),
        (b"page=2&access_token=abc&x=1", b"page=2&access_token=***&x=1"),
        (b"a=1;token=abc;b=2", b"a=1;token=***;b=2"),
        (b"Token=abc", b"Token=***"),
        (b"miosa_share=abc", b"miosa_share=***"),
        (b"__miosa=abc", b"__miosa=***"),
        (b"%6diosa%5F%74oken=abc&%61=b", b"%6diosa%5F%74oken=***&%61=b"),
        (b"MIOSA-anything=abc", b"MIOSA-anything=***"),
        (b"code=abc&state=def", b"code=***&state=def"),
        (b"apikey=abc&api_key=def&client_secret=ghi", b"apikey=***&api_key=***&client_secret=***"),
        (b"X-Amz-Signature=abc", b"X-Amz-Signature=***"),
        (b"keyword=shoes&monkey=1&design=2", b"keyword=shoes&monkey=1&design=2"),
        (b"token", b"token"),
        (b"token=", b"token=***"),
        (b"token=a=b", b"token=***"),
        (b"q=msk_live_abc123", b"q=msk_***"),
        (b"&&=x&token=abc", b"&&=x&token=***"),
        (b"tok\nen=1&token=\n\xff", b"tok\nen=1&token=***"),
    ],
)
def test_queries(query: bytes, masked: bytes) -> None:
    """Values of secret parameters go, everything else stays as it is."""
    assert mask_query(query) == masked


@pytest.mark.parametrize("query", [b"a" * 16384, b"token" * 3000, b"&" * 16384, b"miosa_" * 3000 + b"=1", b";=" * 8000])
def test_a_hostile_query_costs_no_more_than_a_long_one(query: bytes) -> None:
    """16 KiB of the worst take no longer than some milliseconds: nothing backtracks."""
    before = time.process_time()
    mask_query(query)
    assert time.process_time() - before < 0.1


def test_keys_in_any_bytes() -> None:
    """One of our keys is masked wherever it stands."""
    assert mask_keys(b"/x/msk_live_AbC-1_2/y") == b"/x/msk_***/y"
    assert mask_keys(b"/x") == b"/x"
    for kind in (b"mpt_", b"mpl_", b"mpo_"):
        assert mask_keys(b"/=" + kind + b"a" * 43 + b"/y") == b"/=" + kind + b"***/y"
    assert mask_keys(b"/mpo_report_of_2026") == b"/mpo_report_of_2026"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("nothing here", "nothing here"),
        ("key msk_live_abc. Next", "key msk_***. Next"),
        ("mpt_abc-1_2, mpl_abc; mpo_abc", "mpt_***, mpl_***; mpo_***"),
        ("mpa_abc", "mpa_abc"),
        ("Authorization: Bearer abcdef12345", "Authorization: Bearer ***"),
        ("postgresql://router:hunter2@db/x failed", "postgresql://router:***@db/x failed"),
        ("redis://:hunter2@cache:6379", "redis://:***@cache:6379"),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-nature", "jwt eyJ***"),
        ("the bearer of news", "the bearer of news"),
    ],
)
def test_texts(text: str, masked: str) -> None:
    """What looks like a secret is masked in any text."""
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "api_key",
        "key",
        "Authorization",
        "Set-Cookie",
        "internalToken",
        "client_secret",
        "X-API-Key",
        "X-Miosa-Debug",
        "PASSWORD",
    ],
)
def test_names_of_secrets(name: str) -> None:
    """Values under these names are secrets."""
    assert is_secret(name)


@pytest.mark.parametrize("name", ["keys", "host", "keyboard", "tokenizer", "event", "", "monkey", "task"])
def test_names_of_other_things(name: str) -> None:
    """Values under these names are not."""
    assert not is_secret(name)

"""Patterns of claims: what fits, and which rules a stranger's pipeline would meet."""

from typing import Any

import pytest

from router.tenancy.claim_patterns import matches, refusal_of

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("acme/shop", "acme/shop", True),
        ("acme/shop", "Acme/shop", False),
        ("acme/shop", "acme/shop ", False),
        ("acme/shop", "evil/acme/shop", False),
        ("acme/*", "acme/shop", True),
        ("acme/*", "acme/", True),
        ("acme/*", "acme", False),
        ("acme/*", "acme-evil/shop", False),
        ("acme/*", "evil/acme/shop", False),
        ("*", "", True),
        ("*", "anything\n", True),
        ("**", "x", True),
        ("*/shop", "acme/shop", True),
        ("*/shop", "acme/shop/evil", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*b*b", "ab", False),
        ("ab*ba", "aba", False),
        ("repo:acme/*:ref:refs/heads/*", "repo:acme/shop:ref:refs/heads/main", True),
        ("repo:acme/*:ref:refs/heads/*", "repo:acme/shop:pull_request", False),
        ("a.c", "abc", False),
        ("[a-z]", "a", False),
        ("?", "x", False),
        ("a\\*", "a*", False),
        ("main", "main\nmain", False),
        ("5", 5, True),
        ("5", 5.0, False),
        ("5", True, False),
        ("1", True, False),
        ("true", True, True),
        ("True", True, False),
        ("false", False, True),
        ("0", False, False),
        ("null", None, False),
        ("*", None, False),
        ("*", {}, False),
        ("*", {"a": "b"}, False),
        ("b", ["a", "b"], True),
        ("b*", ["a", 5, None, "bc"], True),
        ("b", [["b"]], False),
        ("*", [], False),
        ("5", [5], True),
        ("b", ["b"] * 1001, False),
        ("*a" * 100, "a" * 4000, True),
        ("*a" * 100 + "b", "a" * 4000, False),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_pattern(pattern: str, value: Any, fits: bool) -> None:
    """`*` stands for any characters, nothing else has a meaning of its own, and no pattern takes long."""
    assert matches({"claim": pattern}, {"claim": value}) is fits


def test_every_pattern_counts() -> None:
    """A claim that is not there fits nothing."""
    rule = {"repository": "acme/*", "ref": "refs/heads/main"}
    assert matches(rule, {"repository": "acme/shop", "ref": "refs/heads/main", "more": 1})
    assert not matches(rule, {"repository": "acme/shop", "ref": "refs/heads/dev"})
    assert not matches(rule, {"repository": "acme/shop"})


@pytest.mark.parametrize(
    ("issuer", "claims", "taken"),
    [
        (GITHUB, {"repository": "acme/shop"}, True),
        (GITHUB, {"repository": "acme/*"}, True),
        (GITHUB, {"repository": "acme/*", "ref": "*"}, True),
        (GITHUB, {"repository_owner": "acme"}, True),
        (GITHUB, {"repository_owner_id": "1234"}, True),
        (GITHUB, {"sub": "repo:acme/shop:*"}, True),
        (GITHUB, {"repository": "*"}, False),
        (GITHUB, {"repository": "*/shop"}, False),
        (GITHUB, {"repository": "acme*"}, False),
        (GITHUB, {"repository": "acme*/shop"}, False),
        (GITHUB, {"repository": "acme"}, False),
        (GITHUB, {"repository_owner": "acme*"}, False),
        (GITHUB, {"repository_owner_id": "12*"}, False),
        (GITHUB, {"sub": "repo:*"}, False),
        (GITHUB, {"sub": "repo:acme*"}, False),
        (GITHUB, {"sub": "*repo:acme/shop:*"}, False),
        (GITHUB, {"ref": "refs/heads/main"}, False),
        (GITHUB, {"actor": "ada"}, False),
        (GITHUB, {"environment": "production", "workflow": "deploy"}, False),
        (GITHUB, {"project_path": "acme/shop"}, False),
        (GITHUB, {}, False),
        (f"{GITHUB}/acme", {"ref": "x"}, False),
        ("https://TOKEN.actions.githubusercontent.COM", {"ref": "x"}, False),
        ("https://token.actions.githubusercontent.com:443", {"ref": "x"}, False),
        (GITLAB, {"project_path": "acme/shop"}, True),
        (GITLAB, {"project_path": "acme/*"}, True),
        (GITLAB, {"namespace_path": "acme"}, True),
        (GITLAB, {"namespace_path": "acme/*"}, True),
        (GITLAB, {"project_id": "22"}, True),
        (GITLAB, {"sub": "project_path:acme/shop:*"}, True),
        (GITLAB, {"project_path": "*"}, False),
        (GITLAB, {"project_path": "acme*"}, False),
        (GITLAB, {"namespace_path": "acme*"}, False),
        (GITLAB, {"namespace_path": "*"}, False),
        (GITLAB, {"sub": "project_path:*"}, False),
        (GITLAB, {"ref_protected": "true"}, False),
        (f"{GITLAB}/", {"ref": "x"}, False),
        ("https://gitlab.example.com", {"ref": "main"}, True),
        ("https://gitlab.example.com", {"sub": "*"}, True),
        ("https://gitlab.example.com", {}, False),
    ],
)
def test_rules_that_strangers_would_meet(issuer: str, claims: dict[str, str], taken: bool) -> None:
    """At an issuer that serves everybody a rule has to say whose pipelines it means."""
    assert (refusal_of(issuer, claims) is None) is taken

"""Whose a name is: every combination of what the records show and what other tenants have to do with it."""

import itertools

import pytest

from router.domains.checks.proof import NONE, Evidence, Need, Others, needed, why
from router.domains.targets import is_own, is_target, own_target, token_of

TARGETS = ("verify.miosa.ai", "proxy.miosa.ai")
TOKEN, OTHER = "0a" * 16, "0b" * 16
KINDS = ("target", "claimed", "recent", "around", "domain")


def test_a_proof_of_one_s_own_is_always_enough() -> None:
    """Whatever others claim, had or have, and wherever the answer comes from."""
    for held in itertools.product([False, True], repeat=len(KINDS)):
        for wildcard in (False, True):
            evidence = Evidence(own=True, names=("app.example.com",), wildcard=wildcard)
            assert needed(evidence, Others(**dict(zip(KINDS, held, strict=True)))) is None


def test_shared_records_are_enough_where_nobody_else_can_be_meant() -> None:
    """Any one thing that another tenant has to do with the name, or a wildcard, is a reason for a proof."""
    for held in itertools.product([False, True], repeat=len(KINDS)):
        for wildcard in (False, True):
            evidence = Evidence(own=False, names=("app.example.com",), wildcard=wildcard)
            need = needed(evidence, Others(**dict(zip(KINDS, held, strict=True))))
            assert (need is None) == (not wildcard and not any(held))


@pytest.mark.parametrize(
    ("others", "wildcard", "need"),
    [
        (Others(target=True, claimed=True, domain=True), True, Need.ANOTHERS_TARGET),
        (Others(claimed=True, recent=True, domain=True), True, Need.CLAIMED),
        (Others(recent=True, around=True), False, Need.RECENT),
        (Others(around=True, domain=True), False, Need.AROUND),
        (Others(domain=True), True, Need.DOMAIN),
        (NONE, True, Need.WILDCARD),
    ],
)
def test_the_reason_that_says_most_is_told(others: Others, wildcard: bool, need: Need) -> None:
    """One of them, in words that don't say who the other tenant is."""
    assert needed(Evidence(own=False, names=("app.example.com",), wildcard=wildcard), others) is need
    assert why(need)


def test_targets() -> None:
    """Ours are the targets, and one level below them what has the form of a token; nothing else that looks like it."""
    for target in TARGETS:
        assert is_target(target, TARGETS)
        own = own_target(TOKEN, target)
        assert is_target(own, TARGETS)
        assert token_of(own, TARGETS) == TOKEN
        assert is_own(own, TOKEN, TARGETS)
        assert not is_own(own, OTHER, TARGETS)
        assert not is_own(target, TOKEN, TARGETS)
        assert not is_own(own, "", TARGETS)
    for name in (
        f"x.{TARGETS[0]}",
        f"{TOKEN}.x.{TARGETS[0]}",
        f"{TOKEN}0.{TARGETS[0]}",
        f"{TOKEN}.verify.miosa.ai.example.com",
        f"{TOKEN}.miosa.ai",
        TOKEN,
        "",
        f".{TARGETS[0]}",
    ):
        assert not is_target(name, TARGETS)
        assert token_of(name, TARGETS) is None

"""Tokens of CI systems as a worker meets them: whose they say they are, and what is made of what is known of one."""

import base64
import json
from typing import Any

import pytest

from router import errors
from router.access.brought import MAX_TOKEN, Brought
from router.access.ci_tokens import CiOutcome, CiVerdict, audiences_of, stated_origin
from router.access.cookies import Cookies
from router.access.decision import decide
from router.access.entry import Entry, Way
from router.access.judging import judge_entry
from router.access.rules import AccessRules
from router.access.verdicts import Allowed, LookUp, Refused, Verdict
from router.errors import Problem
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.access import MemoryKeys, ci_rule, ci_token, policies, secret, signing
from tests.support.records import resource
from tests.unit.http1.messages import read

NOW = 1_000_000.0
TOKEN = ci_token("repo:acme/shop")
GOOD = CiVerdict(CiOutcome.ACCEPTED, (("job", 1),), "repo:acme/shop", NOW + 300)


def part(value: object) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def with_payload(payload: object) -> bytes:
    return b".".join([part({"alg": "RS256"}), part(payload), b"x"])


@pytest.mark.parametrize(
    ("token", "stated"),
    [
        (with_payload({"iss": "i", "aud": "a"}), ("i", ("a",))),
        (with_payload({"iss": "i", "aud": ["a", "b"]}), ("i", ("a", "b"))),
        (with_payload({"iss": "i", "aud": ["a", 5, None]}), ("i", ("a",))),
        (with_payload({"iss": "i", "aud": "ä"}), ("i", ("ä",))),
        (with_payload({"iss": "i", "aud": []}), None),
        (with_payload({"iss": "i", "aud": ["a"] * 51}), None),
        (with_payload({"iss": "i", "aud": {"a": 1}}), None),
        (with_payload({"iss": "i"}), None),
        (with_payload({"aud": "a"}), None),
        (with_payload({"iss": 5, "aud": "a"}), None),
        (with_payload({"iss": ["i"], "aud": "a"}), None),
        (with_payload([]), None),
        (with_payload("text"), None),
        (with_payload(None), None),
        (with_payload(b"{"), None),
        (with_payload(b"\xff\xfe"), None),
        (with_payload(b"[" * 3000), None),
        (with_payload(b'{"a":' * 500), None),
        (with_payload(b"9" * 3000), None),
        (with_payload(b"NaN"), None),
        (with_payload(b'{"iss":"\\ud800","aud":"a"}'), ("\ud800", ("a",))),
        (with_payload({"iss": "i", "aud": "a", "more": "x" * MAX_TOKEN}), None),
        (b"a.b.c", None),
        (b"..", None),
        (b"", None),
        (b"a.%b" % part({"iss": "i", "aud": "a"}), None),
        (with_payload({"iss": "i", "aud": "a"}) + b".x", None),
        (b"a.\xff\x00*.c", None),
        (b"a." + b"x" * 4000 + b".c", None),
    ],
)
def test_whose_a_token_says_it_is(token: bytes, stated: object) -> None:
    """Its issuer and its audiences, or nothing; whatever it is given."""
    assert stated_origin(token) == stated


@pytest.mark.parametrize(("claim", "audiences"), [("a", ("a",)), (["a"], ("a",)), (None, ()), (5, ()), ({}, ())])
def test_whom_a_token_is_for(claim: object, audiences: object) -> None:
    """A text or a list of texts."""
    assert audiences_of(claim) == audiences


def rules_of(*issuers: Any, **changes: Any) -> AccessRules:
    shop = resource(policies=policies(secret("ci"), issuers=issuers, **changes))
    decision = Decision(Level.PLATFORM, "served", None, shop, 3000, "miosa.app")
    route = Route("shop.miosa.app", decision, keys=(), source="memory", expires=60.0)
    assert route.policy is not None
    return AccessRules(route, route.policy, shop, ())


def verdict(rules: AccessRules, *lines: bytes, known: CiVerdict | None = None, token: str = TOKEN) -> Verdict:
    keys = MemoryKeys()
    if known is not None:
        keys.verified[rules.issuers_mark, token] = known
    head = read(*(lines or (b"Authorization: Bearer " + token.encode(),)))
    return decide(rules, Brought(head), "10.0.0.1", keys, Cookies(), NOW, secure=True)


@pytest.mark.parametrize("visibility", ["private", "tenant", "key"])
def test_a_token_that_meets_a_rule(visibility: str) -> None:
    """It lets in until it expires, as whom the CI system says, and is taken out."""
    given = verdict(rules_of(ci_rule(), visibility=visibility), known=GOOD)
    assert isinstance(given, Allowed)
    assert given.consumed == {b"Bearer " + TOKEN.encode()}
    assert (given.entry.how, given.entry.subject) == (Way.CI, "repo:acme/shop")
    assert (given.entry.until, given.entry.issuers) == (NOW + 300, (ci_rule(),))


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        (CiVerdict(CiOutcome.WRONG), errors.TOKEN_WRONG),
        (CiVerdict(CiOutcome.ACCEPTED, (), "x", NOW + 300), errors.TOKEN_WRONG),
        (CiVerdict(CiOutcome.ACCEPTED, (("job", 2),), "x", NOW + 300), errors.TOKEN_WRONG),
        (CiVerdict(CiOutcome.ACCEPTED, (("other", 1),), "x", NOW + 300), errors.TOKEN_WRONG),
        (CiVerdict(CiOutcome.EXPIRED, (("job", 1),), "x", NOW - 1), errors.TOKEN_EXPIRED),
        (CiVerdict(CiOutcome.EXPIRED, (("other", 1),), "x", NOW - 1), errors.TOKEN_WRONG),
        (CiVerdict(CiOutcome.ACCEPTED, (("job", 1),), "x", NOW), errors.TOKEN_EXPIRED),
    ],
)
def test_a_token_that_opens_nothing(known: CiVerdict, problem: Problem) -> None:
    """By the rules as they are for this resource now; that it has expired hears only who could have come in by it."""
    given = verdict(rules_of(ci_rule()), known=known)
    assert isinstance(given, Refused)
    assert given.problem is problem
    hidden = verdict(rules_of(ci_rule(), hide=True), known=known)
    assert isinstance(hidden, Refused)
    assert hidden.problem is (errors.HOST_NOT_FOUND if problem is errors.TOKEN_WRONG else problem)


def test_a_token_that_is_not_known() -> None:
    """The control process is asked for it, and for nothing else."""
    given = verdict(rules_of(ci_rule()))
    assert isinstance(given, LookUp)
    assert (given.key, given.ci_token) == ("", TOKEN)


@pytest.mark.parametrize(
    ("issuers", "claims"),
    [
        ((), {}),
        ((ci_rule(),), {"aud": "https://another.example"}),
        ((ci_rule(),), {"iss": "https://ci.example.org"}),
        ((ci_rule(),), {"iss": "https://ci.example.com/"}),
        ((ci_rule(), ci_rule("second", issuer="https://b.example", audience="b")), {"aud": "b"}),
    ],
)
def test_tokens_that_are_the_programs(issuers: Any, claims: dict[str, Any]) -> None:
    """Where no rule is for that issuer and that audience, nobody is asked, and the visitor has brought nothing."""
    token = ci_token("job", **claims)
    assert verdict(rules_of(*issuers), token=token).problem is errors.TOKEN_MISSING  # type: ignore[union-attr]
    beside = verdict(
        rules_of(*issuers), b"Authorization: Bearer " + token.encode(), b"X-Miosa-Preview-Token: mpt_ci" + b"-" * 41
    )
    assert isinstance(beside, Allowed)
    assert beside.consumed == frozenset()


def test_rules_have_a_mark() -> None:
    """The same on all hosts that they open; another where one of them changes. Without rules there is none."""
    assert rules_of(ci_rule()).issuers_mark == rules_of(ci_rule(), generation=5).issuers_mark
    marks = {
        rules_of(*issuers).issuers_mark for issuers in ((), (ci_rule(),), (ci_rule(generation=2),), (ci_rule("b"),))
    }
    assert len(marks) == 4
    assert rules_of().issuers_mark == b""
    assert rules_of(ci_rule(), visibility="public", until=NOW + 1).issuers_mark == b""


ENTRY = Entry(issuers=(ci_rule(), ci_rule("second")), until=NOW + 1, how=Way.CI)


@pytest.mark.parametrize(
    ("issuers", "changes", "expected"),
    [
        ((ci_rule(),), {}, None),
        ((ci_rule("second"), ci_rule("third")), {}, None),
        ((ci_rule(),), {"generation": 7, "visibility": "key"}, None),
        ((), {"visibility": "public", "until": NOW + 60}, None),
        ((), {}, errors.TOKEN_REVOKED),
        ((ci_rule("third"),), {}, errors.TOKEN_REVOKED),
        ((ci_rule(generation=2),), {}, errors.TOKEN_REVOKED),
        ((ci_rule(),), {"until": NOW}, errors.PREVIEW_EXPIRED),
        ((ci_rule(),), {"networks": ("192.0.2.0/24",)}, errors.ADDRESS_NOT_ALLOWED),
    ],
)
def test_judged_again(issuers: Any, changes: dict[str, Any], expected: Problem | None) -> None:
    """Who came in stays while one of the rules that let them in is as it was."""
    assert judge_entry(rules_of(*issuers, **changes), ENTRY, "10.0.0.1", NOW, signing("first")) == expected


def test_judged_again_by_time() -> None:
    """From when the token expires they are out."""
    assert judge_entry(rules_of(ci_rule()), ENTRY, "10.0.0.1", NOW + 1, None) is errors.TOKEN_EXPIRED

"""May this visitor open this preview: the table."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from router import errors
from router.access.brought import Brought
from router.access.cookies import Cookies
from router.access.decision import decide
from router.access.entry import OPEN, Entry, Way, way_of
from router.access.judging import judge_entry, judge_key
from router.access.rules import AccessRules
from router.access.tokens import Claims
from router.access.verdicts import Allowed, AtLogin, Confirm, Exchanged, LookUp, Preflight, Refused, UseUp, Verdict
from router.base.preview_secrets import digest
from router.errors import Problem
from router.routes.chain import Decision, Level
from router.routes.policies import Cors, SecretKind
from router.routes.route import Route
from tests.support.access import (
    API_KEY,
    FAR,
    MemoryKeys,
    api_key,
    cookie,
    grant,
    plain,
    policies,
    secret,
    session,
    signing,
)
from tests.support.records import resource
from tests.unit.http1.messages import read

NOW = 1_000_000.0
JWT = "head.claims.signature"
W1, P1, ANOTHER = (str(uuid.UUID(int=number)) for number in (1, 2, 9))

SECRETS = (
    secret("ci"),
    secret("ci-past", until=NOW),
    secret("ci-soon", until=NOW + 1),
    secret("ci-revoked", revoked=True, until=NOW - 5),
    secret("mail", "link"),
    secret("mail-past", "link", until=NOW),
    secret("mail-revoked", "link", revoked=True),
    secret("once", "once"),
    secret("once-used", "once", used=True),
    secret("once-past", "once", until=NOW),
    secret("once-revoked", "once", revoked=True),
)


def rules_of(*secrets: Any, shared: tuple[str, ...] = (), **changes: Any) -> AccessRules:
    shop = resource(policies=policies(*(secrets or SECRETS), **changes), workspace_id=W1, project_id=P1)
    decision = Decision(Level.PLATFORM, "served", None, shop, 3000, "miosa.app")
    route = Route("shop.miosa.app", decision, keys=(), source="memory", expires=60.0)
    assert route.policy is not None
    return AccessRules(route, route.policy, shop, shared)


def verdict(
    rules: AccessRules,
    *lines: bytes,
    target: bytes = b"/",
    method: bytes = b"GET",
    keys: MemoryKeys | None = None,
    client: str = "10.0.0.1",
    **options: Any,
) -> Verdict:
    head = read(*lines, first=method + b" " + target + b" HTTP/1.1")
    return decide(rules, Brought(head), client, keys or MemoryKeys(), Cookies(), NOW, secure=True, **options)


def outcome(given: Verdict) -> object:
    """A verdict in a word: a problem, or what it is."""
    return given.problem if isinstance(given, Refused) else type(given)


def token(name: str, kind: str = "program") -> bytes:
    return b"X-Miosa-Preview-Token: " + plain(name, kind).encode()


def link(name: str, kind: str = "link") -> bytes:
    return b"/?miosa_token=" + plain(name, kind).encode()


def by_cookie(name: str, **changes: Any) -> bytes:
    values = {"issued": NOW, "until": NOW + 60} | changes
    return cookie(grant(name, **values), signing("first"), NOW)


# What was brought → what comes of it, by visibility: private, tenant, key.
MISSING, WRONG, EXPIRED, REVOKED = errors.TOKEN_MISSING, errors.TOKEN_WRONG, errors.TOKEN_EXPIRED, errors.TOKEN_REVOKED
BROUGHT: list[tuple[str, dict[str, Any], object, object, object]] = [
    ("nothing", {}, MISSING, MISSING, MISSING),
    ("a program's token", {"line": token("ci")}, Allowed, Allowed, Allowed),
    ("one with a second left", {"line": token("ci-soon")}, Allowed, Allowed, Allowed),
    ("an expired one", {"line": token("ci-past")}, EXPIRED, EXPIRED, EXPIRED),
    ("one revoked that has expired since", {"line": token("ci-revoked")}, REVOKED, REVOKED, REVOKED),
    ("one that never was", {"line": token("none")}, WRONG, WRONG, WRONG),
    ("a link's token as a program's", {"line": token("mail", "link")}, Allowed, Allowed, WRONG),
    ("a one-time link's as a program's", {"line": token("once", "once")}, WRONG, WRONG, WRONG),
    ("a link", {"target": link("mail")}, Exchanged, Exchanged, WRONG),
    ("a link, HEAD", {"target": link("mail"), "method": b"HEAD"}, Exchanged, Exchanged, WRONG),
    ("a link, POST", {"target": link("mail"), "method": b"POST"}, Allowed, Allowed, WRONG),
    ("a link, fetched", {"target": link("mail"), "line": b"Sec-Fetch-Mode: cors"}, Allowed, Allowed, WRONG),
    ("an expired link", {"target": link("mail-past")}, EXPIRED, EXPIRED, EXPIRED),
    ("a revoked link", {"target": link("mail-revoked")}, REVOKED, REVOKED, REVOKED),
    ("a program's token as a link", {"target": link("ci", "program")}, Exchanged, Exchanged, Allowed),
    ("a one-time link", {"target": link("once", "once")}, Confirm, Confirm, WRONG),
    ("a one-time link, HEAD", {"target": link("once", "once"), "method": b"HEAD"}, Confirm, Confirm, WRONG),
    ("a one-time link, POST", {"target": link("once", "once"), "method": b"POST"}, UseUp, UseUp, WRONG),
    ("a one-time link, PUT", {"target": link("once", "once"), "method": b"PUT"}, WRONG, WRONG, WRONG),
    ("one that is used", {"target": link("once-used", "once")}, REVOKED, REVOKED, WRONG),
    ("one that is used, POST", {"target": link("once-used", "once"), "method": b"POST"}, REVOKED, REVOKED, WRONG),
    ("one that is past", {"target": link("once-past", "once")}, EXPIRED, EXPIRED, EXPIRED),
    ("one that is revoked", {"target": link("once-revoked", "once")}, REVOKED, REVOKED, REVOKED),
    ("a cookie", {"line": by_cookie("mail")}, Allowed, Allowed, MISSING),
    ("a cookie of a program's token", {"line": by_cookie("ci")}, Allowed, Allowed, MISSING),
    ("a cookie of a link that is used", {"line": by_cookie("once-used")}, Allowed, Allowed, MISSING),
    ("an expired cookie", {"line": by_cookie("mail", until=NOW)}, EXPIRED, EXPIRED, MISSING),
    ("a cookie of an expired link", {"line": by_cookie("mail-past")}, EXPIRED, EXPIRED, MISSING),
    ("a cookie of a revoked link", {"line": by_cookie("mail-revoked")}, REVOKED, REVOKED, MISSING),
    ("a cookie of a link that is gone", {"line": by_cookie("gone")}, REVOKED, REVOKED, MISSING),
    ("a cookie of another port", {"line": by_cookie("mail", port=3001)}, WRONG, WRONG, MISSING),
    ("a cookie of another resource", {"line": by_cookie("mail", resource_id="x")}, WRONG, WRONG, MISSING),
    ("a cookie of another generation", {"line": by_cookie("mail", generation=1)}, REVOKED, REVOKED, MISSING),
    ("a cookie of nobody's", {"line": b"Cookie: __Host-miosa-preview=x"}, WRONG, WRONG, MISSING),
]


@pytest.mark.parametrize("visibility", ["private", "tenant", "key"])
@pytest.mark.parametrize("row", BROUGHT, ids=[row[0] for row in BROUGHT])
def test_what_was_brought(row: tuple[str, dict[str, Any], object, object, object], visibility: str) -> None:
    """Secrets and cookies, each with the visibility that it meets."""
    _, request, private, tenant, key = row
    said = dict(request)
    lines = [said.pop("line")] if "line" in said else []
    expected = {"private": private, "tenant": tenant, "key": key}[visibility]
    assert outcome(verdict(rules_of(visibility=visibility), *lines, **said)) == expected


KEYS: list[tuple[dict[str, Any], object, object]] = [
    ({}, Allowed, Allowed),
    ({"scope": "platform", "tenant_id": "", "scope_id": ""}, Allowed, Allowed),
    ({"scope": "workspace", "scope_id": W1}, Allowed, Allowed),
    ({"scope": "workspace", "scope_id": ANOTHER}, WRONG, Allowed),
    ({"scope": "project", "scope_id": P1}, Allowed, Allowed),
    ({"scope": "project", "scope_id": ANOTHER}, WRONG, Allowed),
    ({"scope": "project", "scope_id": W1}, WRONG, Allowed),
    ({"tenant_id": "other", "scope_id": "other"}, WRONG, WRONG),
    ({"tenant_id": "other", "scope": "workspace", "scope_id": W1}, WRONG, WRONG),
    ({"scope": "unheard of"}, WRONG, Allowed),
    ({"revoked": True}, REVOKED, REVOKED),
    ({"until": NOW}, EXPIRED, EXPIRED),
    ({"until": NOW + 1}, Allowed, Allowed),
    ({"revoked": True, "tenant_id": "other"}, WRONG, WRONG),
]


@pytest.mark.parametrize("place", ["Authorization: Bearer ", "X-Miosa-Preview-Token: "])
@pytest.mark.parametrize("visibility", ["private", "tenant", "key"])
@pytest.mark.parametrize(("changes", "reaching", "any_of_tenant"), KEYS)
def test_api_keys(
    changes: dict[str, Any], reaching: object, any_of_tenant: object, visibility: str, place: str
) -> None:
    """Those that reach the resource; with `tenant` any of its tenant. Strangers' ends are nobody's business."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(**changes), known=True)
    expected = any_of_tenant if visibility == "tenant" else reaching
    given = verdict(rules_of(visibility=visibility), (place + API_KEY).encode(), keys=keys)
    assert outcome(given) == expected
    if isinstance(given, Allowed):
        assert given.entry.key == digest(API_KEY)
        assert given.consumed == ({f"Bearer {API_KEY}".encode()} if place[0] == "A" else set())


def test_an_api_key_that_is_not_known() -> None:
    """It has to be looked up; that there is none is known afterwards. In a link none is taken."""
    keys = MemoryKeys()
    bearer = b"Authorization: Bearer " + API_KEY.encode()
    given = verdict(rules_of(), bearer, keys=keys)
    assert isinstance(given, LookUp)
    assert given.key == digest(API_KEY)
    keys.known[digest(API_KEY)] = None
    assert outcome(verdict(rules_of(), bearer, keys=keys)) is WRONG
    keys.put(API_KEY, api_key(), known=True)
    assert outcome(verdict(rules_of(), target=b"/?miosa_token=" + API_KEY.encode(), keys=keys)) is WRONG


CLAIMS: list[tuple[str, str, object, object]] = [
    ("acme", "tenant", Allowed, Allowed),
    ("acme-slug", "tenant", Allowed, Allowed),
    ("other", "tenant", WRONG, WRONG),
    ("other", "platform", Allowed, Allowed),
    ("acme", f"workspace:{W1}", Allowed, Allowed),
    ("acme-slug", f"project:{P1}", Allowed, Allowed),
    ("acme", f"project:{ANOTHER}", WRONG, Allowed),
    ("other", f"project:{P1}", WRONG, WRONG),
    ("acme", "project:", WRONG, WRONG),
    ("acme", "read everything", WRONG, WRONG),
]


@pytest.mark.parametrize("place", ["Authorization: Bearer ", "X-Miosa-Preview-Token: "])
@pytest.mark.parametrize("visibility", ["private", "tenant", "key"])
@pytest.mark.parametrize(("tenant", "scope", "reaching", "any_of_tenant"), CLAIMS)
def test_json_web_tokens(
    tenant: str, scope: str, reaching: object, any_of_tenant: object, visibility: str, place: str
) -> None:
    """As API keys; the tenant may be named by its id or its slug."""
    keys = MemoryKeys()
    keys.tokens[JWT] = Claims("me", tenant, scope, NOW + 60)
    given = verdict(rules_of(visibility=visibility), (place + JWT).encode(), keys=keys)
    assert outcome(given) == (any_of_tenant if visibility == "tenant" else reaching)
    if isinstance(given, Allowed):
        assert given.entry.until == NOW + 60


def test_other_json_web_tokens() -> None:
    """One of the program's own in Authorization is none of ours: it counts as nothing, beside whatever else there is. Ours
    that has expired is told so."""
    keys = MemoryKeys()
    bearer = b"Authorization: Bearer a.b.c"
    assert outcome(verdict(rules_of(), bearer, keys=keys)) is MISSING
    beside = verdict(rules_of(), bearer, by_cookie("mail"), keys=keys)
    assert isinstance(beside, Allowed)
    assert beside.consumed == frozenset()
    assert outcome(verdict(rules_of(), b"X-Miosa-Preview-Token: a.b.c", keys=keys)) is WRONG
    keys.expired_tokens["a.b.c"] = Claims("me", "acme", "tenant", 5.0)
    for line in (bearer, b"X-Miosa-Preview-Token: a.b.c"):
        assert outcome(verdict(rules_of(), line, keys=keys)) is EXPIRED


SEVERAL = errors.SEVERAL_TOKENS
BESIDES: list[tuple[tuple[bytes, ...], bytes, object]] = [
    ((token("ci"), token("ci")), b"/", Allowed),
    ((token("ci"), b"Authorization: Bearer " + plain("ci").encode()), b"/", Allowed),
    ((token("ci"), token("ci-soon")), b"/", SEVERAL),
    ((token("ci"), token("none")), b"/", SEVERAL),
    ((token("ci"), b"Authorization: Bearer msk_x"), b"/", SEVERAL),
    ((token("ci"), b"Authorization: Bearer " + JWT.encode()), b"/", SEVERAL),
    ((token("ci"),), link("mail"), SEVERAL),
    ((token("ci"), b"Authorization: Basic eDp5"), b"/", Allowed),
    ((token("ci"), b"Authorization: Bearer their-own"), b"/", Allowed),
    ((b"Authorization: Bearer msk_x", b"Authorization: Bearer msk_y"), b"/", SEVERAL),
    ((token("none"), by_cookie("mail")), b"/", WRONG),
    ((token("ci-past"), by_cookie("mail")), b"/", EXPIRED),
    ((by_cookie("mail"),), link("mail-revoked"), REVOKED),
    ((token("ci"), b"Cookie: __Host-miosa-preview=x"), b"/", Allowed),
    ((by_cookie("mail", until=NOW), by_cookie("mail")), b"/", Allowed),
    ((b"Cookie: __Host-miosa-preview=x", by_cookie("mail")), b"/", Allowed),
    ((by_cookie("mail", until=NOW), by_cookie("mail-revoked")), b"/", REVOKED),
    ((b"Cookie: __Host-miosa-preview=x", by_cookie("mail", until=NOW)), b"/", EXPIRED),
    ((b"Cookie: __Host-miosa-preview=x",) * 4 + (by_cookie("mail"),), b"/", WRONG),
    ((by_cookie("once-used"),), link("once-used", "once"), Exchanged),
    ((by_cookie("mail"),), link("once-used", "once"), REVOKED),
    ((by_cookie("once-used", until=NOW),), link("once-used", "once"), REVOKED),
    ((b"X-Miosa-Preview-Token:", by_cookie("mail")), b"/?miosa_token=", Allowed),
    ((b"X-Miosa-Preview-Token: " + b"x" * 4097,), b"/", WRONG),
]


@pytest.mark.parametrize(("lines", "target", "expected"), BESIDES)
def test_several_at_once(lines: tuple[bytes, ...], target: bytes, expected: object) -> None:
    """One token twice is one. Different ones are refused, and so is a wrong one, whatever stands beside it; of cookies one
    that is right is enough, and otherwise the most telling refusal is told."""
    keys = MemoryKeys()
    keys.tokens[JWT] = Claims("me", "acme", "tenant", NOW + 60)
    assert outcome(verdict(rules_of(), *lines, target=target, keys=keys)) == expected


SESSIONS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], object]] = [
    # what the session is, the cookie, the policy
    ({}, {}, {}, Allowed),
    ({"email": None}, {}, {}, Allowed),
    ({"until": NOW + 1}, {}, {}, Allowed),
    ({"until": NOW}, {}, {}, EXPIRED),
    ({}, {"until": NOW}, {}, EXPIRED),
    ({"revoked": True}, {}, {}, REVOKED),
    ({"revoked": True, "until": NOW}, {}, {}, REVOKED),
    ({"tenant_id": "other"}, {}, {}, WRONG),
    ({"tenant_id": "other", "revoked": True}, {}, {}, WRONG),
    ({}, {"port": 3001}, {}, WRONG),
    ({}, {"resource_id": "x"}, {}, WRONG),
    ({}, {"generation": 1}, {}, REVOKED),
    ({}, {}, {"generation": 1}, REVOKED),
    ({}, {}, {"login": False}, REVOKED),
    ({}, {}, {"visibility": "tenant"}, Allowed),
    ({}, {}, {"visibility": "key"}, MISSING),
    ({}, {}, {"hide": True}, Allowed),
    ({"revoked": True}, {}, {"hide": True}, REVOKED),
    ({"tenant_id": "other"}, {}, {"hide": True}, errors.HOST_NOT_FOUND),
]


@pytest.mark.parametrize(("is_now", "of_cookie", "of_policy", "expected"), SESSIONS)
def test_sessions(
    is_now: dict[str, Any], of_cookie: dict[str, Any], of_policy: dict[str, Any], expected: object
) -> None:
    """Who has signed in gets in by a cookie that names their session, at a preview of that tenant that takes its login."""
    keys = MemoryKeys()
    keys.put_session(session(**is_now), known=True)
    given = verdict(rules_of(**{"login": True} | of_policy), by_cookie("ses_ada", **of_cookie), keys=keys)
    assert outcome(given) == expected
    if isinstance(given, Allowed):
        entry = given.entry
        assert (entry.session_id, entry.secret_id, entry.signed_by) == ("ses_ada", "", "first")
        assert entry.until == min(NOW + 60, is_now.get("until", FAR))
        assert (entry.how, entry.subject, entry.email) == (
            Way.LOGIN,
            "sub-ses_ada",
            "" if "email" in is_now else "ada@example.com",
        )


def test_a_session_that_is_not_known() -> None:
    """It has to be looked up, unless the cookie opens nothing here whatever it is; one that is not there any more has ended."""
    keys = MemoryKeys()
    given = verdict(rules_of(login=True), by_cookie("ses_ada"), keys=keys)
    assert isinstance(given, LookUp)
    assert (given.key, given.session_id) == ("", "ses_ada")
    for changes in ({"port": 3001}, {"generation": 1}, {"until": NOW}):
        assert not isinstance(verdict(rules_of(login=True), by_cookie("ses_ada", **changes), keys=keys), LookUp)
    assert outcome(verdict(rules_of(), by_cookie("ses_ada"), keys=keys)) is REVOKED
    keys.known_sessions["ses_ada"] = None
    assert outcome(verdict(rules_of(login=True), by_cookie("ses_ada"), keys=keys)) is REVOKED


def test_another_site_does_nothing_in_the_name_of_who_has_signed_in() -> None:
    """As with any cookie: what changes something has to come from a page of the preview's owner."""
    keys = MemoryKeys()
    keys.put_session(session(), known=True)
    lines = (by_cookie("ses_ada"), b"Origin: https://evil.example", b"Sec-Fetch-Site: cross-site")
    assert outcome(verdict(rules_of(login=True), *lines, keys=keys)) is Allowed
    assert outcome(verdict(rules_of(login=True), *lines, method=b"POST", keys=keys)) is errors.ORIGIN_NOT_ALLOWED


def test_keys_for_cookies_have_to_be_known() -> None:
    """Where a cookie, or a link that becomes one, is to be judged; nowhere else."""
    keys = MemoryKeys()
    keys.signing = None
    for lines, target in (((by_cookie("mail"),), b"/"), ((), link("mail")), ((), link("once", "once"))):
        given = verdict(rules_of(), *lines, target=target, keys=keys)
        assert isinstance(given, LookUp)
        assert given.key == ""
    assert outcome(verdict(rules_of(), token("ci"), keys=keys)) is Allowed
    assert outcome(verdict(rules_of(), keys=keys)) is MISSING


def test_early_data() -> None:
    """A link that works once is not used up by what may be a replay; a look at it, and everything else, may be early."""
    early = b"Early-Data: 1"
    assert outcome(verdict(rules_of(), early, target=link("once", "once"), method=b"POST")) is errors.TOO_EARLY
    assert outcome(verdict(rules_of(), early, target=link("once", "once"))) is Confirm
    assert outcome(verdict(rules_of(), early, target=link("mail"))) is Exchanged


# Who came in by what, and for how long.

ENTRIES: list[tuple[tuple[bytes, ...], Entry]] = [
    ((token("ci"),), Entry(secret_id="ci")),
    ((token("ci-soon"),), Entry(secret_id="ci-soon", until=NOW + 1)),
    ((by_cookie("mail", until=NOW + 7),), Entry(secret_id="mail", signed_by="first", until=NOW + 7)),
]


@pytest.mark.parametrize(("lines", "expected"), ENTRIES)
def test_entries(lines: tuple[bytes, ...], expected: Entry) -> None:
    """What an open exchange is judged by later."""
    given = verdict(rules_of(), *lines)
    assert isinstance(given, Allowed)
    entry = given.entry
    fields = (entry.secret_id, entry.key, bool(entry.signed_by), entry.until)
    assert fields == (expected.secret_id, expected.key, bool(expected.signed_by), expected.until)


# Who a visitor is, by each way in.
WHO: list[tuple[bytes, Way, str]] = [
    (token("ci"), Way.TOKEN, "ci"),
    (token("mail", "link"), Way.LINK, "mail"),
    (by_cookie("ci"), Way.TOKEN, "ci"),
    (by_cookie("mail"), Way.LINK, "mail"),
    (by_cookie("once-used"), Way.ONCE, "once-used"),
    (b"Authorization: Bearer " + API_KEY.encode(), Way.API_KEY, api_key().id),
    (b"Authorization: Bearer " + JWT.encode(), Way.JWT, "me"),
]


@pytest.mark.parametrize(("line", "how", "subject"), WHO)
def test_who_came_in(line: bytes, how: Way, subject: str) -> None:
    """How they did and who that says they are: the same whether a secret stood in a header or was handed on as a cookie."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    keys.tokens[JWT] = Claims("me", "acme", "tenant", NOW + 60)
    given = verdict(rules_of(), line, keys=keys)
    assert isinstance(given, Allowed)
    assert (given.entry.how, given.entry.subject, given.entry.email) == (how, subject, "")


def test_everybody_is_nobody() -> None:
    """Who opens what everybody may open is not asked who they are, whatever they bring."""
    given = verdict(rules_of(visibility="public", until=NOW + 1), token("ci"))
    assert isinstance(given, Allowed)
    assert (given.entry.how, given.entry.subject, given.entry.email) == (Way.PUBLIC, "", "")


@pytest.mark.parametrize("kind", [SecretKind.PROGRAM, SecretKind.LINK, SecretKind.ONCE])
def test_every_kind_of_secret_is_a_way_in(kind: SecretKind) -> None:
    """A new kind has to say which."""
    assert way_of(kind) is not Way.PUBLIC


# Before anything that was brought.

PREFLIGHT = (b"Origin: https://a.b", b"Access-Control-Request-Method: PUT")
HIDDEN = errors.HOST_NOT_FOUND
OTHER = "192.0.2.1"
NET = ("10.0.0.0/8", "2001:db8::/32")
FIRST: list[tuple[dict[str, Any], str, str, object]] = [
    # policy, what was brought, from where
    ({"visibility": "public", "until": NOW + 1}, "nothing", "10.0.0.1", Allowed),
    ({"visibility": "public", "until": NOW}, "nothing", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"until": NOW}, "token", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"until": NOW}, "nothing", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"until": NOW}, "wrong", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"until": NOW + 1}, "token", "10.0.0.1", Allowed),
    ({"visibility": "public", "networks": NET}, "nothing", "10.0.0.1", Allowed),
    ({"visibility": "public", "networks": NET}, "nothing", "2001:db8::5", Allowed),
    ({"visibility": "public", "networks": NET}, "token", OTHER, errors.ADDRESS_NOT_ALLOWED),
    ({"networks": NET}, "token", OTHER, errors.ADDRESS_NOT_ALLOWED),
    ({"networks": NET}, "nothing", "10.0.0.1", MISSING),
    ({"networks": NET}, "token", "10.0.0.1", Allowed),
    ({"networks": ("10.0.0.5/8",)}, "token", "10.0.0.1", Allowed),
    ({"networks": ("rubbish",)}, "token", "10.0.0.1", errors.ADDRESS_NOT_ALLOWED),
    ({"networks": NET}, "token", "not an address", errors.ADDRESS_NOT_ALLOWED),
    ({}, "preflight", "10.0.0.1", Preflight),
    ({"until": NOW}, "preflight", "10.0.0.1", Preflight),
    ({"networks": NET}, "preflight", OTHER, Preflight),
    ({"visibility": "public", "networks": NET}, "preflight", OTHER, errors.ADDRESS_NOT_ALLOWED),
    ({"visibility": "public", "networks": NET}, "preflight", "10.0.0.1", Allowed),
    ({"visibility": "public", "cors": Cors.ALLOWLIST}, "preflight", "10.0.0.1", Preflight),
    ({"hide": True}, "nothing", "10.0.0.1", HIDDEN),
    ({"hide": True}, "wrong", "10.0.0.1", HIDDEN),
    ({"hide": True}, "revoked", "10.0.0.1", REVOKED),
    ({"hide": True}, "token", "10.0.0.1", Allowed),
    ({"hide": True}, "preflight", "10.0.0.1", HIDDEN),
    ({"hide": True, "networks": NET}, "token", OTHER, HIDDEN),
    ({"hide": True, "until": NOW}, "nothing", "10.0.0.1", HIDDEN),
    ({"hide": True, "until": NOW}, "wrong", "10.0.0.1", HIDDEN),
    ({"hide": True, "until": NOW}, "token", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"hide": True, "visibility": "public", "until": NOW}, "nothing", "10.0.0.1", errors.PREVIEW_EXPIRED),
    ({"hide": True, "visibility": "public", "cors": Cors.ALLOWLIST}, "preflight", "10.0.0.1", Preflight),
]
LINES: dict[str, tuple[bytes, ...]] = {
    "nothing": (),
    "token": (token("ci"),),
    "wrong": (token("none"),),
    "revoked": (token("ci-revoked"),),
    "preflight": PREFLIGHT,
}


@pytest.mark.parametrize(("changes", "brought", "client", "expected"), FIRST)
def test_before_what_was_brought(changes: dict[str, Any], brought: str, client: str, expected: object) -> None:
    """Preflights, the preview's end, addresses, public ones; and what `hide` makes of each refusal."""
    method = b"OPTIONS" if brought == "preflight" else b"GET"
    assert outcome(verdict(rules_of(**changes), *LINES[brought], client=client, method=method)) == expected


def test_a_friend_may_act_by_a_cookie() -> None:
    """The pages that the owner lets read responses, by the preview's `cors`."""
    lines = (by_cookie("mail"), b"Origin: https://app.example", b"Sec-Fetch-Site: cross-site")
    assert outcome(verdict(rules_of(), *lines, method=b"POST")) is errors.ORIGIN_NOT_ALLOWED
    assert outcome(verdict(rules_of(), *lines, method=b"POST", friend=True)) is Allowed


# Judged again.

AGAIN: list[tuple[Entry, dict[str, Any], Problem | None]] = [
    (OPEN, {}, MISSING),
    (OPEN, {"hide": True}, HIDDEN),
    (OPEN, {"visibility": "public", "until": NOW + 1}, None),
    (OPEN, {"visibility": "public", "until": NOW}, errors.PREVIEW_EXPIRED),
    (OPEN, {"visibility": "public", "networks": ("192.0.2.0/24",)}, errors.ADDRESS_NOT_ALLOWED),
    (Entry(secret_id="ci"), {}, None),
    (Entry(secret_id="ci", generation=3), {}, None),
    (Entry(secret_id="ci", until=NOW), {}, EXPIRED),
    (Entry(secret_id="ci-past"), {}, EXPIRED),
    (Entry(secret_id="ci-revoked"), {}, REVOKED),
    (Entry(secret_id="gone"), {}, REVOKED),
    (Entry(secret_id="gone"), {"visibility": "public", "until": NOW + 1}, None),
    (Entry(secret_id="ci"), {"visibility": "key"}, None),
    (Entry(secret_id="mail"), {"visibility": "key"}, REVOKED),
    (Entry(secret_id="ci", signed_by="first"), {"visibility": "key"}, REVOKED),
    (Entry(secret_id="mail", signed_by="first"), {}, None),
    (Entry(secret_id="mail", signed_by="first"), {"generation": 1}, REVOKED),
    (Entry(secret_id="mail"), {"generation": 1}, None),
    (Entry(secret_id="mail", signed_by="withdrawn"), {}, WRONG),
    (Entry(secret_id="once-used", signed_by="first"), {}, None),
    (Entry(secret_id="once-revoked", signed_by="first"), {}, REVOKED),
    (Entry(session_id="ses_ada", signed_by="first"), {"login": True}, None),
    (Entry(session_id="ses_ada", signed_by="first"), {}, REVOKED),
    (Entry(session_id="ses_ada", signed_by="first"), {"login": True, "generation": 1}, REVOKED),
    (Entry(session_id="ses_ada", signed_by="first", until=NOW), {"login": True}, EXPIRED),
    (Entry(session_id="ses_ada", signed_by="withdrawn"), {"login": True}, WRONG),
    (Entry(session_id="ses_ada", signed_by="first"), {"visibility": "public", "until": NOW + 1}, None),
    (Entry(key="k"), {"generation": 1}, None),
    (Entry(key="k", until=NOW), {}, EXPIRED),
    (Entry(claims=Claims("me", "acme", "tenant", NOW + 1)), {}, None),
    (Entry(claims=Claims("me", "other", "tenant", NOW + 1)), {}, WRONG),
    (Entry(claims=Claims("me", "acme", f"project:{ANOTHER}", NOW + 1)), {"visibility": "tenant"}, None),
    (Entry(claims=Claims("me", "acme", f"project:{ANOTHER}", NOW + 1)), {}, WRONG),
]


@pytest.mark.parametrize(("entry", "changes", "expected"), AGAIN)
def test_judged_again(entry: Entry, changes: dict[str, Any], expected: Problem | None) -> None:
    """What let somebody in, against the policy as it is now."""
    assert judge_entry(rules_of(**changes), entry, "10.0.0.1", NOW, signing("first")) == expected


def test_who_came_in_may_stay() -> None:
    """Under the same policy, whatever they came in by: what `decide` allows, `judge_entry` does not end."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    keys.tokens[JWT] = Claims("me", "acme", "tenant", NOW + 60)
    ways = [token("ci"), token("mail", "link"), by_cookie("mail"), by_cookie("once-used"), by_cookie("ci")]
    ways += [b"Authorization: Bearer " + text.encode() for text in (API_KEY, JWT)]
    for visibility in ("private", "tenant", "key"):
        rules = rules_of(visibility=visibility)
        for way in ways:
            given = verdict(rules, way, keys=keys)
            if isinstance(given, Allowed):
                assert judge_entry(rules, given.entry, "10.0.0.1", NOW, None) is None


def test_no_key_is_as_good_as_none() -> None:
    """A key that was deleted opens nothing."""
    assert judge_key(rules_of(), None, NOW) is WRONG
    assert judge_key(rules_of(), replace(api_key()), NOW) is None


LOGIN, ARRIVE, LOGOUT = (b"/.well-known/miosa/" + word for word in (b"login", b"arrive?code=x", b"logout"))
SCRIPT = b"Sec-Fetch-Mode: cors"
ELSEWHERE = b"Sec-Fetch-Site: cross-site"
NOT_ALLOWED, NO_METHOD = errors.ORIGIN_NOT_ALLOWED, errors.METHOD_NOT_ALLOWED
AT_LOGIN: list[tuple[str, dict[str, Any], object, object, object, object]] = [
    # what is asked for                                             with a login  without one  hidden              for programs
    ("to sign in", {"target": LOGIN}, AtLogin, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("to sign in, with next", {"target": LOGIN + b"?next=/"}, AtLogin, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("a script", {"target": LOGIN, "line": SCRIPT}, MISSING, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("by POST", {"target": LOGIN, "method": b"POST"}, NO_METHOD, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("in early data", {"target": LOGIN, "line": b"Early-Data: 1"}, errors.TOO_EARLY, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("with a wrong token", {"target": LOGIN, "line": token("none")}, AtLogin, WRONG, errors.HOST_NOT_FOUND, WRONG),
    ("with a right one", {"target": LOGIN, "line": token("ci")}, AtLogin, Allowed, Allowed, Allowed),
    ("to arrive", {"target": ARRIVE}, AtLogin, MISSING, AtLogin, MISSING),
    ("to arrive by a script", {"target": ARRIVE, "line": SCRIPT}, MISSING, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("to arrive by POST", {"target": ARRIVE, "method": b"POST"}, NO_METHOD, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("to arrive in early data", {"target": ARRIVE, "line": b"Early-Data: 1"}, errors.TOO_EARLY, MISSING, errors.HOST_NOT_FOUND, MISSING),
    ("to log out", {"target": LOGOUT}, AtLogin, AtLogin, errors.HOST_NOT_FOUND, MISSING),
    ("to log out, signed in", {"target": LOGOUT, "line": by_cookie("mail")}, AtLogin, AtLogin, AtLogin, MISSING),
    ("its button", {"target": LOGOUT, "method": b"POST", "line": b"Sec-Fetch-Site: same-origin"}, AtLogin, AtLogin, errors.HOST_NOT_FOUND, MISSING),
    ("another site's", {"target": LOGOUT, "method": b"POST", "line": ELSEWHERE}, NOT_ALLOWED, NOT_ALLOWED, errors.HOST_NOT_FOUND, MISSING),
    ("by DELETE", {"target": LOGOUT, "method": b"DELETE"}, NO_METHOD, NO_METHOD, errors.HOST_NOT_FOUND, MISSING),
]  # fmt: skip


@pytest.mark.parametrize("row", AT_LOGIN, ids=lambda row: row[0])
def test_paths_of_a_login(row: tuple[str, dict[str, Any], object, object, object, object]) -> None:
    """The edge answers them where the tenant has a login, or there is something to log out from; elsewhere they are as all
    others."""
    _, asked, *expected = row
    asked = dict(asked)
    lines = (asked.pop("line"),) if "line" in asked else ()
    kinds: list[dict[str, Any]] = [{"login": True}, {}, {"login": True, "hide": True}, {"visibility": "key"}]
    for changes, becomes in zip(kinds, expected, strict=True):
        assert outcome(verdict(rules_of(**changes), *lines, **asked)) == becomes, changes
    if asked["target"] is not LOGOUT:
        ended = verdict(rules_of(login=True, until=NOW), *lines, **asked)
        assert outcome(ended) == errors.PREVIEW_EXPIRED
        hidden = outcome(verdict(rules_of(login=True, hide=True, until=NOW), *lines, **asked))
        assert hidden == (errors.PREVIEW_EXPIRED if lines == (token("ci"),) else HIDDEN)


def test_a_form_for_a_hidden_preview() -> None:
    """It is that of no host, also after the preview's end."""
    for until in (NOW, NOW + 1):
        rules = rules_of(hide=True, until=until)
        assert outcome(verdict(rules, target=b"/.well-known/miosa/password", method=b"POST")) == HIDDEN

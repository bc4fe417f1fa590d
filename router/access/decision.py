"""May this visitor open this preview? One pure function of the policy, of what was brought, and of the time.

In this order, and the first that applies decides:

    a preflight             the edge answers it: it brings nothing, and the program behind a private preview must not be reached
    the preview expired     410, whoever asks
    the address             one that is in none of the preview's networks is refused
    public                  everybody may
    a path of a login       the edge answers it, whatever else was brought
    the form of our page    its password is looked at by those who can (`TakePassword`), and nothing else that it brings
    a token                 one that opens the preview lets in; any other is refused, whatever stands beside it
    a cookie                one of several is enough, see `cookies.py`
    nothing                 401

A token that is wrong is never passed over for a cookie that is right: who sends one means it, and would wonder which of
the two was looked at. Two different tokens are refused for the same reason. With `hide` those who bring nothing that ever
opened the preview hear what they would hear of a host that does not exist.

    visibility              tokens of the preview    its links and cookies    API keys, JSON Web Tokens
    private                 yes                      yes                      that reach the resource
    tenant                  yes                      yes                      any of the tenant
    key                     yes                      no                       that reach the resource

A cookie is a link's, or of who has signed in by the tenant's login: then it holds as long as their session does.
Tokens of CI systems open all three, by the rules of the resource's tenant that are for where the resource is.
"""

from typing import Final

from router import errors
from router.access.brought import MAX_TOKEN, Brought
from router.access.ci_tokens import CiOutcome
from router.access.cookies import Cookies, Grant
from router.access.entry import OPEN, Entry, Way, way_of
from router.access.judging import claims_reach, heard, judge_grant, judge_key, judge_session
from router.access.keys import UNKNOWN, AccessKeys
from router.access.reserved import LOGIN, LOGOUT, is_form, login_path
from router.access.rules import AccessRules
from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError
from router.access.verdicts import (
    Allowed,
    AtLogin,
    Confirm,
    Exchanged,
    LookUp,
    Preflight,
    Refused,
    TakePassword,
    UseUp,
    Verdict,
)
from router.base.preview_secrets import digest, kind_of
from router.errors import Problem
from router.routes.policies import AccessSecret, SecretKind
from router.routes.records import SESSION_ID, SessionRecord

_FOREVER: Final = float("inf")
_API_KEY: Final = b"msk_"
_MAX_BEARERS: Final = 4  # that may stand beside each other: a signature takes a tenth of a millisecond to verify
_MAX_COOKIES: Final = 4  # that are looked at: browsers may send one of each of their jars

# The most telling first: which of several refusals a visitor hears.
_TELLING: Final = (errors.TOKEN_REVOKED, errors.TOKEN_EXPIRED, errors.TOKEN_WRONG)


_ALLOWED_OPEN: Final = Allowed(OPEN)
_PREFLIGHT: Final = Preflight()
_CONFIRM: Final = Confirm()
_CLEANED: Final = Exchanged(None)
_UNKNOWN_SIGNING: Final = LookUp()


def decide(
    rules: AccessRules,
    brought: Brought,
    client: str,
    keys: AccessKeys,
    cookies: Cookies,
    now: float,
    *,
    secure: bool,
    friend: bool = False,
) -> Verdict:
    """See the module. `client` is the visitor's address, `now` in seconds of the epoch. `secure`: it came by https; `friend`:
    from a page that may read the preview's responses, as its `cors` says."""
    # Hidden from some addresses only: those are asked for first.
    if brought.preflight and not rules.passes_preflights and not (rules.public and rules.hide):
        return Refused(errors.HOST_NOT_FOUND) if rules.hide else _PREFLIGHT
    if not rules.hide and now >= rules.until:
        return Refused(errors.PREVIEW_EXPIRED)
    if not rules.takes_address(client):
        return _refuse(rules, errors.ADDRESS_NOT_ALLOWED)
    if rules.public:
        if now >= rules.until:
            return Refused(errors.PREVIEW_EXPIRED)
        return _PREFLIGHT if not rules.passes_preflights and brought.preflight else _by_an_open_door(brought)
    path = login_path(brought.head.target)
    at_login = _at_login(rules, brought, path, now, secure=secure) if path and not rules.programs_only else None
    if at_login is not None:
        return _hidden(rules, at_login) if isinstance(at_login, Refused) else at_login
    if is_form(brought.head):
        verdict = _by_form(rules, brought, now, secure=secure)
        return _hidden(rules, verdict) if isinstance(verdict, Refused) else verdict
    verdict = _by_what_was_brought(rules, brought, keys, cookies, now, secure=secure, friend=friend)
    if isinstance(verdict, Refused):
        return _refuse(rules, verdict.problem)
    if path == LOGOUT and isinstance(verdict, Allowed) and rules.hide and not rules.programs_only:
        return AtLogin(path)
    if now >= rules.until and not isinstance(verdict, LookUp):
        return Refused(errors.PREVIEW_EXPIRED)
    return verdict


def _at_login(rules: AccessRules, brought: Brought, path: bytes, now: float, *, secure: bool) -> Verdict | None:
    """None where the path means nothing here, or nothing to strangers: then it is one as all others are."""
    head = brought.head
    if path == LOGOUT:
        if rules.hide:
            return None
        if head.method == b"POST":
            ours = rules.is_same_party(head.value(b"origin"), head.value(b"sec-fetch-site"), secure=secure)
            return AtLogin(path) if ours else Refused(errors.ORIGIN_NOT_ALLOWED)
        return AtLogin(path) if head.method in (b"GET", b"HEAD") else Refused(errors.METHOD_NOT_ALLOWED)
    if not rules.login or (path == LOGIN and rules.hide):
        return None
    if now >= rules.until:
        return Refused(errors.PREVIEW_EXPIRED)
    if not brought.navigates:  # a script can't sign anybody in
        return Refused(errors.TOKEN_MISSING)
    if head.method != b"GET":
        return Refused(errors.METHOD_NOT_ALLOWED)
    return Refused(errors.TOO_EARLY) if brought.early else AtLogin(path)


def _by_form(rules: AccessRules, brought: Brought, now: float, *, secure: bool) -> Verdict:
    """The form is for us whoever sends it, and whatever they bring: no program gets to see what was typed into it."""
    if now >= rules.until:
        return Refused(errors.PREVIEW_EXPIRED)
    password, head = rules.password, brought.head
    if password is None or rules.programs_only or rules.hide:
        return Refused(errors.TOKEN_MISSING)
    if not rules.is_same_party(head.value(b"origin"), head.value(b"sec-fetch-site"), secure=secure):
        return Refused(errors.ORIGIN_NOT_ALLOWED)
    if password.until is not None and now >= password.until:
        return Refused(errors.TOKEN_EXPIRED)
    return TakePassword(password)


def _refuse(rules: AccessRules, problem: Problem) -> Refused:
    return Refused(heard(rules, problem))


def _hidden(rules: AccessRules, refused: Refused) -> Refused:
    """Of a path that the edge answers to whoever asks: with `hide` no refusal shows that somebody answers there."""
    return Refused(errors.HOST_NOT_FOUND) if rules.hide else refused


def _by_an_open_door(brought: Brought) -> Verdict:
    """Where everybody may come in. What opens other ports, or opens this one when it is private again, does not reach the
    program all the same, and leaves the address."""
    if brought.link and brought.head.method in (b"GET", b"HEAD") and brought.navigates:
        return _CLEANED
    consumed = [value for value, token in brought.bearer.items() if kind_of(_text(token)) is not None]
    return Allowed(OPEN, frozenset(consumed)) if consumed else _ALLOWED_OPEN


def _by_what_was_brought(
    rules: AccessRules,
    brought: Brought,
    keys: AccessKeys,
    cookies: Cookies,
    now: float,
    *,
    secure: bool,
    friend: bool,
) -> Verdict:
    if len(brought.bearer) > _MAX_BEARERS:
        return Refused(errors.SEVERAL_TOKENS)
    tokens = set(brought.tokens)
    consumed = []
    claims: Claims | None = None
    expired = False
    ci_token = b""
    for value, token in brought.bearer.items():
        if token.startswith(_API_KEY) or kind_of(_text(token)) is not None:
            consumed.append(value)
            tokens.add(token)
        elif len(token) <= MAX_TOKEN and token.count(b".") == 2:
            try:
                found = keys.verify_jwt(_text(token))
                early = False
            except ExpiredTokenError as error:
                found, expired, early = error.claims, True, False
            except EarlyTokenError:
                found, early = None, True
            if found is not None:
                claims = found
            elif not early:
                if not rules.trusted_in(token):
                    continue
                ci_token = token
            consumed.append(value)
            tokens.add(token)
    if len(tokens) > 1:
        return Refused(errors.SEVERAL_TOKENS)
    if not tokens:
        return _by_cookies(rules, brought, keys, cookies, now, secure=secure, friend=friend)
    token = tokens.pop()
    if len(token) > MAX_TOKEN:
        return Refused(errors.TOKEN_WRONG)
    if claims is None and token not in brought.bearer.values() and token.count(b".") == 2:
        try:
            claims = keys.verify_jwt(_text(token))
        except ExpiredTokenError as error:
            claims, expired = error.claims, True
        except EarlyTokenError:
            return Refused(errors.TOKEN_WRONG)
    if claims is not None:
        return _by_claims(rules, claims, brought, frozenset(consumed), expired=expired)
    if token == ci_token:
        return _by_ci_token(rules, _text(token), brought, keys, now, frozenset(consumed))
    hashed = digest(_text(token))
    secret = rules.secrets.get(hashed)
    if secret is not None:
        return _by_secret(rules, secret, brought, keys, cookies, now, frozenset(consumed))
    if token.startswith(_API_KEY) and not brought.link:
        return _by_key(rules, hashed, keys, now, frozenset(consumed))
    return Refused(errors.TOKEN_WRONG)


def _text(token: bytes) -> str:
    return token.decode("latin-1")


def _by_secret(
    rules: AccessRules,
    secret: AccessSecret,
    brought: Brought,
    keys: AccessKeys,
    cookies: Cookies,
    now: float,
    consumed: frozenset[bytes],
) -> Verdict:
    if secret.revoked:
        return Refused(errors.TOKEN_REVOKED)
    if secret.until is not None and now >= secret.until:
        return Refused(errors.TOKEN_EXPIRED)
    by_link = bool(brought.link)
    if secret.kind is not SecretKind.PROGRAM and rules.programs_only:
        return Refused(errors.TOKEN_WRONG)
    if secret.kind is SecretKind.ONCE:
        return _once(rules, secret, brought, keys, cookies, now) if by_link else Refused(errors.TOKEN_WRONG)
    if by_link and not rules.programs_only and brought.head.method in (b"GET", b"HEAD") and brought.navigates:
        return _UNKNOWN_SIGNING if keys.signing is None else Exchanged(secret)
    until = _FOREVER if secret.until is None else secret.until
    return Allowed(Entry(secret_id=secret.id, until=until, how=way_of(secret.kind), subject=secret.id), consumed)


def _once(
    rules: AccessRules, secret: AccessSecret, brought: Brought, keys: AccessKeys, cookies: Cookies, now: float
) -> Verdict:
    """A link that works once. Only a form that a person sends uses it up: no HEAD, no robot, no prefetch."""
    method = brought.head.method
    if keys.signing is None:
        return _UNKNOWN_SIGNING
    if not brought.navigates or method not in (b"GET", b"HEAD", b"POST"):
        return Refused(errors.TOKEN_WRONG)
    if secret.used:
        # Who has used it may follow it again, and find what they have found before.
        for cookie in brought.cookies[:_MAX_COOKIES]:
            grant = cookies.read(cookie, keys.signing, now)
            if grant is not None and grant.secret_id == secret.id and judge_grant(rules, grant, now) is None:
                return Exchanged(None)
        return Refused(errors.TOKEN_REVOKED)
    if method != b"POST":
        return _CONFIRM
    return Refused(errors.TOO_EARLY) if brought.early else UseUp(secret)


def _by_key(rules: AccessRules, hashed: str, keys: AccessKeys, now: float, consumed: frozenset[bytes]) -> Verdict:
    record = keys.peek(hashed)
    if record is UNKNOWN:
        return LookUp(hashed)
    problem = judge_key(rules, record, now)
    if problem is not None or record is None:
        return Refused(problem or errors.TOKEN_WRONG)
    until = _FOREVER if record.until is None else record.until
    return Allowed(Entry(key=hashed, until=until, how=Way.API_KEY, subject=record.id), consumed)


def _by_claims(
    rules: AccessRules, claims: Claims, brought: Brought, consumed: frozenset[bytes], *, expired: bool
) -> Verdict:
    if brought.link or not claims_reach(rules, claims):
        return Refused(errors.TOKEN_WRONG)
    if expired:
        return Refused(errors.TOKEN_EXPIRED)
    return Allowed(Entry(claims=claims, until=claims.until, how=Way.JWT, subject=claims.subject), consumed)


def _by_ci_token(
    rules: AccessRules, token: str, brought: Brought, keys: AccessKeys, now: float, consumed: frozenset[bytes]
) -> Verdict:
    """A token of a CI system that the tenant has a rule for: who sends one means it."""
    verdict = keys.peek_ci(rules.issuers_mark, token)
    if verdict is UNKNOWN:
        return LookUp(ci_token=token)
    met = tuple(rule for rule in rules.issuers if (rule.id, rule.generation) in verdict.met)
    if brought.link or not met:
        return Refused(errors.TOKEN_WRONG)
    if verdict.outcome is not CiOutcome.ACCEPTED or now >= verdict.until:
        return Refused(errors.TOKEN_EXPIRED)
    return Allowed(Entry(issuers=met, until=verdict.until, how=Way.CI, subject=verdict.subject), consumed)


def _by_cookies(
    rules: AccessRules,
    brought: Brought,
    keys: AccessKeys,
    cookies: Cookies,
    now: float,
    *,
    secure: bool,
    friend: bool,
) -> Verdict:
    if not brought.cookies or rules.programs_only:
        return Refused(errors.TOKEN_MISSING)
    signing = keys.signing
    if signing is None:
        return _UNKNOWN_SIGNING
    worst: Problem = errors.TOKEN_WRONG
    for cookie in brought.cookies[:_MAX_COOKIES]:
        grant = cookies.read(cookie, signing, now)
        problem = errors.TOKEN_WRONG if grant is None else judge_grant(rules, grant, now)
        session: SessionRecord | None = None
        if grant is not None and problem is None and grant.secret_id.startswith(SESSION_ID):
            found = keys.peek_session(grant.secret_id)
            if found is UNKNOWN:
                return LookUp(session_id=grant.secret_id)
            session, problem = found, judge_session(rules, found, now)
        if grant is not None and problem is None:
            head = brought.head
            if not (
                friend
                or brought.safe
                or rules.is_same_party(head.value(b"origin"), head.value(b"sec-fetch-site"), secure=secure)
            ):
                return Refused(errors.ORIGIN_NOT_ALLOWED)
            if session is not None:
                return Allowed(_entry_of_session(grant, session))
            return Allowed(
                Entry(
                    secret_id=grant.secret_id,
                    signed_by=grant.signed_by,
                    generation=grant.generation,
                    until=grant.until,
                    how=way_of(rules.secrets_by_id[grant.secret_id].kind),
                    subject=grant.secret_id,
                )
            )
        if problem is not None and _TELLING.index(problem) < _TELLING.index(worst):
            worst = problem
    return Refused(worst)


def _entry_of_session(grant: Grant, session: SessionRecord) -> Entry:
    return Entry(
        session_id=session.id,
        signed_by=grant.signed_by,
        generation=grant.generation,
        until=min(grant.until, session.until),
        how=Way.LOGIN,
        subject=session.subject,
        email=session.email or "",
    )

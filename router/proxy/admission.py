"""Who may open the preview that a request is for: the decision of `router/access`, carried out on an exchange.

    admitted      decide; the exchange goes on, or is answered, or waits for a look-up and is admitted once more
    judge_again   an open exchange or tunnel, after something has changed

Functions rather than methods, as in `response.py`. Called for routes with a policy only: no other request pays for it.
"""

import math
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from router import errors
from router.access.brought import Brought, brings_nothing, sole_credential
from router.access.ci_tokens import CiOutcome
from router.access.decision import decide
from router.access.entry import OPEN, Entry
from router.access.judging import judge_entry, judge_key, judge_session
from router.access.keys import UNKNOWN
from router.access.reserved import is_reserved
from router.access.rules import AccessRules, origin_host
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
from router.errors import Problem, StoreUnavailableError
from router.observe import endings
from router.proxy import local_responses, password_form, preview_login
from router.proxy.admission_work import cookie_for, wait
from router.proxy.guard import Guard, Visit, guard_of
from router.proxy.password_form import asks_password, take_form
from router.routes.policies import AccessSecret, Cors, issuer_use

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.routes.route import Route

_MAX_LOOK_UPS: Final = 4  # of keys for one exchange: what was looked up may have changed again
_MOMENT: Final = 1.0  # seconds: as often as open exchanges are judged again
# Refusals that somebody of the preview's team need not hear.
_SIGN_IN_INSTEAD: Final = frozenset(
    (
        "token_missing",
        "token_wrong",
        "token_expired",
        "token_revoked",
        "login_failed",
        "password_wrong",
        "too_many_tries",
    )
)
_VARY: Final = b"Vary: Origin"

_log = structlog.get_logger("router.proxy")


def admitted(exchange: "Exchange", route: "Route") -> bool:
    """Whether the request may go on; else it is answered, or will be."""
    worker = exchange.worker
    guard = guard_of(worker, route)
    if guard is None:
        return True
    rules, visit, credential = guard.rules, exchange.visit, b""
    if rules.open and brings_nothing(exchange.head):
        return True
    if visit is None:
        if rules.by_credential and not is_reserved(exchange.head.target):
            credential = sole_credential(exchange.head)
            known = guard.known(credential, worker.now, worker.access.signing) if credential else None
            if (
                known is not None
                and known.entry is not None
                and _goes_on(exchange, rules, known.entry)
                and _told(exchange, guard, known.entry)
            ):
                exchange.visit = known
                if known.consumed:
                    exchange.head = exchange.head.without_authorization(known.consumed)
                return True
        visit = exchange.visit = Visit(restricted=rules.restricted)
    elif visit.entry is not None:  # it was let in, and waited for a place: what it brought is no longer in its head
        problem = _judge(exchange, rules, visit.entry)
        if problem is not None:
            worker.metrics.count("access_refusals", problem.code)
            exchange.respond(problem, endings.EDGE_IN_ADMISSION)
        elif not _told(exchange, guard, visit.entry):
            _wait_to_tell(exchange, visit)
            return False
        return problem is None
    if rules.cors is not Cors.PASSTHROUGH and not _settle_origin(exchange, visit, rules):
        return False
    now = worker.date()
    brought = Brought(exchange.head)
    verdict = decide(
        rules,
        brought,
        exchange.client,
        worker.access,
        worker.cookies,
        now,
        secure=exchange.scheme == "https",
        friend=visit.friend is True,
    )
    if route.decision.redirect_to is not None and _is_redirected(verdict, rules, now):
        return True
    if isinstance(verdict, Allowed):
        if not _told(exchange, guard, verdict.entry):
            _wait_to_tell(exchange, visit)
            return False
        visit.entry = entry = verdict.entry
        visit.until = min(entry.until, rules.until_for(entry.secret_id))
        if entry.session_id:
            worker.access.note_use(entry.session_id, key=False)
        elif entry.key or (entry.secret_id and not entry.signed_by):
            worker.access.note_use(entry.key or entry.secret_id, key=bool(entry.key))
        for rule in entry.issuers:
            worker.access.note_use(issuer_use(rule.id), key=False)
        exchange.head = brought.forward(consumed=verdict.consumed)
        if credential and (entry.secret_id or entry.session_id or entry.key):
            visit.consumed = verdict.consumed
            guard.remember(credential, visit, worker.now + min(_MOMENT, visit.until - now))
        return True
    if isinstance(verdict, Refused):
        worker.metrics.count("access_refusals", verdict.problem.code)
        exchange.respond(verdict.problem, endings.EDGE_IN_ADMISSION)
    elif isinstance(verdict, Preflight):
        _answer_preflight(exchange, visit, rules)
    elif isinstance(verdict, Exchanged):
        _exchange_link(exchange, rules, brought, verdict.secret)
    elif isinstance(verdict, Confirm):
        exchange.answer(local_responses.confirmation(worker.pages, exchange.head, route, exchange.id))
    elif isinstance(verdict, AtLogin):
        preview_login.answer(exchange, route, rules, verdict.path)
    elif isinstance(verdict, UseUp):
        wait(exchange, "use up a link", partial(_use_up, exchange, rules, brought, verdict.secret))
    elif isinstance(verdict, TakePassword):
        take_form(exchange, visit, rules, verdict.secret)
    elif visit.look_ups < _MAX_LOOK_UPS:
        visit.look_ups += 1
        if verdict.ci_token:
            wait(exchange, "verify a token", partial(_verify_ci, exchange, rules, verdict.ci_token))
        else:
            wait(exchange, "look up a key", partial(_look_up, exchange, verdict))
    else:
        exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
    return False


def login_target(exchange: "Exchange", problem: Problem) -> bytes:
    """Where on this host whoever gets this problem may sign in instead, and come back; empty where that opens nothing."""
    route = exchange.route
    guard = None if route is None else guard_of(exchange.worker, route)
    if guard is None or problem.code not in _SIGN_IN_INSTEAD:
        return b""
    return preview_login.target(exchange, guard.rules)


def _is_redirected(verdict: Verdict, rules: AccessRules, now: float) -> bool:
    """Whether the visitor is sent on from a host that redirects: to where what they brought is looked at, or where they are
    asked for a password."""
    if isinstance(verdict, Refused):
        return verdict.problem is errors.TOKEN_MISSING and asks_password(rules, now)
    return not isinstance(verdict, LookUp)


def after_form(exchange: "Exchange", visit: Visit, problem: Problem) -> bytes | None:
    """Where the visitor goes from the form for a password on this problem's page; None where it has none."""
    route = exchange.route
    guard = None if route is None else guard_of(exchange.worker, route)
    return None if guard is None else password_form.after_form(exchange, visit, guard.rules, problem)


def judge_again(exchange: "Exchange", route: "Route") -> Problem | None:
    """Why an exchange or a tunnel of this host has to end, as its route is now; None where it may go on."""
    guard, visit = guard_of(exchange.worker, route), exchange.visit
    if guard is None:
        if visit is not None:
            visit.until = math.inf
        return None
    if visit is None:
        visit = exchange.visit = Visit(restricted=guard.rules.restricted)
        visit.entry = OPEN
    visit.restricted = guard.rules.restricted
    entry = visit.entry or OPEN
    problem = _judge(exchange, guard.rules, entry)
    visit.until = min(entry.until, guard.rules.until_for(entry.secret_id))
    record = exchange.worker.access.peek(entry.key) if entry.key else None
    if record is not None and record is not UNKNOWN and record.until is not None:
        visit.until = min(visit.until, record.until)
    return problem


def _judge(exchange: "Exchange", rules: AccessRules, entry: Entry) -> Problem | None:
    worker = exchange.worker
    now = worker.date()
    problem = judge_entry(rules, entry, exchange.client, now, worker.access.signing)
    if problem is None and entry.key and not rules.public:
        record = worker.access.peek(entry.key)
        if record is not UNKNOWN:
            return judge_key(rules, record, now)
    if problem is None and entry.session_id and not rules.public:
        session = worker.access.peek_session(entry.session_id)
        if session is not UNKNOWN:
            return judge_session(rules, session, now)
    return problem


def _goes_on(exchange: "Exchange", rules: AccessRules, entry: Entry) -> bool:
    """Whether what let somebody in a moment ago is neither a session nor an API key, or one that is known to do so still."""
    access = exchange.worker.access
    if entry.session_id:
        session = access.peek_session(entry.session_id)
        return session is not UNKNOWN and judge_session(rules, session, exchange.worker.date()) is None
    if entry.key:
        key = access.peek(entry.key)
        return key is not UNKNOWN and judge_key(rules, key, exchange.worker.date()) is None
    return True


# Who the visitor is.


def _told(exchange: "Exchange", guard: Guard, entry: Entry) -> bool:
    """Have the program told who came in by `entry`, where its owner wants that; False: there is nothing yet to sign it with."""
    lines = guard.identity
    if lines is None:
        return True
    worker = exchange.worker
    line = lines.of(entry, worker.access.identity, worker.now, worker.date)
    if line is None:
        return False
    exchange.client_info = exchange.client_info.with_identity(line)
    return True


def _wait_to_tell(exchange: "Exchange", visit: Visit) -> None:
    """The request goes on when there is, and never without."""
    if visit.look_ups < _MAX_LOOK_UPS:
        visit.look_ups += 1
        wait(exchange, "read identity keys", partial(_read_identity_keys, exchange))
    else:
        exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)


async def _read_identity_keys(exchange: "Exchange") -> bool:
    await exchange.worker.access.identity_ready()
    return True


# Cross-origin requests.


def _settle_origin(exchange: "Exchange", visit: Visit, rules: AccessRules) -> bool:
    """Find out whether the owner lets the page read responses that the request comes from; False where it takes a while."""
    origin = exchange.head.value(b"origin")
    if visit.friend is None:
        if origin is None:
            visit.friend = False
        elif rules.cors is Cors.ALLOWLIST:
            visit.friend = rules.is_listed(origin)
        else:
            host = origin_host(origin, secure=exchange.scheme == "https")
            if host is None:
                visit.friend = False
            else:
                raw = host.encode("ascii")
                route = exchange.worker.resolver.peek(raw)
                if route is None:
                    wait(exchange, "look up an origin", partial(_look_up_origin, exchange, visit, rules, raw))
                    return False
                visit.friend = _has_owner(route, rules)
    visit.cors = (_VARY,)
    if visit.friend and origin is not None:
        visit.cors = (b"Access-Control-Allow-Origin: " + origin, b"Access-Control-Allow-Credentials: true", _VARY)
    return True


def _has_owner(route: "Route", rules: AccessRules) -> bool:
    """Whether that host leads to something of the owner of this one."""
    hidden = route.problem in (errors.HOST_NOT_FOUND, errors.BLOCKED)
    return route.resource is not None and not hidden and route.resource.tenant_id == rules.tenant_id


def _answer_preflight(exchange: "Exchange", visit: Visit, rules: AccessRules) -> None:
    if rules.cors is Cors.PASSTHROUGH or visit.friend:
        credentials = rules.cors is not Cors.PASSTHROUGH
        exchange.answer(local_responses.preflight(exchange.head, exchange.id, credentials=credentials))
    else:
        exchange.worker.metrics.count("access_refusals", errors.ORIGIN_NOT_ALLOWED.code)
        exchange.respond(errors.ORIGIN_NOT_ALLOWED, endings.EDGE_IN_ADMISSION)


# Links.


def _exchange_link(exchange: "Exchange", rules: AccessRules, brought: Brought, secret: AccessSecret | None) -> None:
    """Send the visitor to the same address without the link's token, with a cookie in its place."""
    cookie = None
    if secret is not None:
        cookie = cookie_for(exchange, rules, secret)
        if cookie is None:
            exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
            return
        exchange.worker.access.note_use(secret.id, key=False)
    exchange.answer(
        local_responses.without_link(exchange.head, brought.target, exchange.scheme, exchange.id, cookie=cookie)
    )


async def _use_up(exchange: "Exchange", rules: AccessRules, brought: Brought, secret: AccessSecret) -> bool:
    first = await exchange.worker.access.visitors.use_up(secret.id)
    exchange.waiting = None
    if not exchange.over:
        if first:
            _exchange_link(exchange, rules, brought, secret)
        else:
            exchange.worker.metrics.count("access_refusals", errors.TOKEN_REVOKED.code)
            exchange.respond(errors.TOKEN_REVOKED, endings.EDGE_IN_ADMISSION)
    return False


# What takes time.


async def _look_up(exchange: "Exchange", wanted: LookUp) -> bool:
    access = exchange.worker.access
    if wanted.key:
        await access.resolve(wanted.key)
    elif wanted.session_id:
        await access.resolve_session(wanted.session_id)
    else:
        await access.ready()
    return True


async def _verify_ci(exchange: "Exchange", rules: AccessRules, token: str) -> bool:
    verdict = await exchange.worker.access.verify_ci(rules.tenant_id, rules.issuers_mark, token)
    if verdict.outcome is not CiOutcome.UNAVAILABLE:
        return True
    exchange.waiting = None
    if not exchange.over:
        exchange.respond(errors.CI_SYSTEM_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
    return False


async def _look_up_origin(exchange: "Exchange", visit: Visit, rules: AccessRules, host: bytes) -> bool:
    route = await exchange.worker.resolver.resolve(host)
    if route.problem is errors.RESOLVER_UNAVAILABLE:
        raise StoreUnavailableError("the host of an origin could not be looked up")
    visit.friend = _has_owner(route, rules)
    return True

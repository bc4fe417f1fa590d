"""Signing in by the tenant's login, as far as it happens at a preview's own host (`access/login.py`).

GET        /.well-known/miosa/login   to the login host, with a cookie that the browser is known by when it comes back
GET        /.well-known/miosa/arrive  back from there: the code is taken, and a cookie of the preview given for it
GET, POST  /.well-known/miosa/logout  a page with a button, and what it does
"""

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from router import errors
from router.access.cookies import NAME
from router.access.login import COOKIE, COOKIE_TIME, binding_of, cookies_by_name, is_cookie, parameters_of
from router.access.reserved import ARRIVE, LOGIN, safe_next
from router.access.rules import AccessRules
from router.errors import Problem
from router.observe import endings
from router.pages import LOG_OUT, LOGGED_OUT
from router.proxy import local_responses
from router.proxy.admission_work import cookie_of, wait
from router.routes.records import SESSION_ID

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.routes.route import Route

_MAX_COOKIES: Final = 4  # that are looked at in a log-out


def target(exchange: "Exchange", rules: AccessRules) -> bytes:
    """The path at which a visitor of this host may sign in, who comes back to what they have asked for; empty where that opens
    nothing."""
    if not rules.login or rules.hide or exchange.worker.date() >= rules.until:
        return b""
    head = exchange.head
    after = safe_next(head.target) if head.method in (b"GET", b"HEAD") else b"/"
    return LOGIN if after == b"/" else LOGIN + b"?next=" + quote(after, safe="/").encode("ascii")


def answer(exchange: "Exchange", route: "Route", rules: AccessRules, path: bytes) -> None:
    """Answer a request to one of the three, by a visitor who may send it."""
    if path == LOGIN:
        _leave(exchange, route)
    elif path == ARRIVE:
        _arrive(exchange, route, rules)
    elif exchange.head.method == b"POST":
        _log_out(exchange, route, rules)
    else:
        page = local_responses.notice(exchange.worker.pages, LOG_OUT, route, exchange.id)
        exchange.answer(page)


def _leave(exchange: "Exchange", route: "Route") -> None:
    parameters = parameters_of(exchange.head.target) or {}
    # Several tabs set out at the same time, and come back in any order: so they share the cookie.
    before = _login_cookie(exchange)
    secret = before if is_cookie(before) else secrets.token_urlsafe(32).encode("ascii")
    query = urlencode(
        {"host": route.host, "next": _next(parameters).decode("ascii"), "binding": binding_of(secret)}, quote_via=quote
    )
    location = b"%b/start?%b" % (exchange.worker.login_url, query.encode("ascii"))
    cookie = b"%b=%b; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=None; Partitioned" % (COOKIE, secret, COOKIE_TIME)
    exchange.answer(local_responses.see_other(location, exchange.id, (cookie,)))


def _arrive(exchange: "Exchange", route: "Route", rules: AccessRules) -> None:
    parameters, secret = parameters_of(exchange.head.target), _login_cookie(exchange)
    if parameters is None or not parameters.get("code") or not is_cookie(secret):
        exchange.respond(_failure(rules), endings.EDGE_IN_ADMISSION)
        return
    work = partial(_take, exchange, route.host, rules, parameters["code"], binding_of(secret), _next(parameters))
    wait(exchange, "take a hand-over", work)


async def _take(exchange: "Exchange", host: str, rules: AccessRules, code: str, binding: str, target: bytes) -> bool:
    access = exchange.worker.access
    found = await access.visitors.take_hand_over(code, host, binding)
    if access.signing is None:
        await access.ready()
    exchange.waiting = None
    if exchange.over:
        return False
    if found is None or found.tenant_id != rules.tenant_id:
        exchange.respond(_failure(rules), endings.EDGE_IN_ADMISSION)
        return False
    cookie = cookie_of(exchange, rules, found.session_id, found.until)
    if cookie is None:
        exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
        return False
    exchange.answer(local_responses.without_link(exchange.head, target, exchange.scheme, exchange.id, cookie=cookie))
    return False


def _log_out(exchange: "Exchange", route: "Route", rules: AccessRules) -> None:
    """The session of this browser's cookie ends, everywhere; a cookie that was given for something else goes from this browser
    alone."""
    worker, credentials = exchange.worker, exchange.head.credentials
    signing = worker.access.signing
    ends = []
    if signing is not None and credentials is not None:
        for value in credentials.cookies[:_MAX_COOKIES]:
            grant = worker.cookies.read(value, signing, worker.date())
            if grant is not None and grant.resource_id == rules.resource_id and grant.secret_id.startswith(SESSION_ID):
                ends.append(grant.secret_id)
    if ends or signing is None:
        wait(exchange, "log out", partial(_end, exchange, route, rules, ends))
    else:
        _say_logged_out(exchange, route)


async def _end(exchange: "Exchange", route: "Route", rules: AccessRules, session_ids: list[str]) -> bool:
    access = exchange.worker.access
    if access.signing is None:
        await access.ready()
        exchange.waiting = None
        if not exchange.over:
            _log_out(exchange, route, rules)
        return False
    for session_id in session_ids:
        await access.visitors.end_session(session_id)
    exchange.waiting = None
    if not exchange.over:
        _say_logged_out(exchange, route)
    return False


def _say_logged_out(exchange: "Exchange", route: "Route") -> None:
    cookies = tuple(
        b"%b=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=None; Partitioned" % name for name in (NAME, COOKIE)
    )
    exchange.answer(local_responses.notice(exchange.worker.pages, LOGGED_OUT, route, exchange.id, cookies=cookies))


def _login_cookie(exchange: "Exchange") -> bytes:
    credentials = exchange.head.credentials
    if credentials is None:
        return b""
    return cookies_by_name(credentials.of_login).get(COOKIE.decode("ascii"), "").encode("latin-1")


def _next(parameters: dict[str, str]) -> bytes:
    return safe_next(parameters.get("next", "/").encode("latin-1", "replace"))


def _failure(rules: AccessRules) -> Problem:
    """Who is hidden from hears nothing by a code that is wrong."""
    return errors.HOST_NOT_FOUND if rules.hide else errors.LOGIN_FAILED

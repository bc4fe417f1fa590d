"""The host where people sign in by their tenant's login, as a worker serves it: it looks at what was sent, has the process that
has the store do the rest, and answers.

    GET        /                 what this host is
    GET        /errors           what each error code means: `docs_url` of errors leads here
    GET        /start            somebody wants into a preview (`access/login.py`)
    GET        /console          somebody wants into the console
    GET        /callback/TENANT  they come back from their provider
    GET, POST  /logout           a page with a button, and what it does: this browser's sessions end, everywhere
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from router import errors
from router.access.login import (
    CONSOLE_PATH,
    MAX_TARGET,
    LoginRequest,
    LoginResponse,
    LoginStep,
    cookies_by_name,
    is_binding,
    parameters_of,
)
from router.access.reserved import safe_next
from router.errors import EDGE_PROBLEMS
from router.hostname import InvalidHostError, parse_host
from router.observe import endings
from router.pages import LOG_OUT, LOGGED_OUT, LOGIN_HOST, Notice, reference
from router.proxy import local_responses
from router.proxy.admission_work import wait

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange

MAX_UNDER_WAY: Final = 32  # steps of one worker, for whom the control process is asked
_REFERENCE: Final = reference.PATH.encode("ascii")
_CALLBACK: Final = b"/callback/"
_CONSOLE: Final = CONSOLE_PATH.encode("ascii")
_PROBLEMS: Final = {problem.reason or problem.code: problem for problem in EDGE_PROBLEMS}


def answer(exchange: "Exchange") -> None:
    """Answer a request to the login host, at once or soon."""
    head = exchange.head
    path = head.target.partition(b"?")[0]
    if len(head.target) > MAX_TARGET:
        exchange.respond(errors.URI_TOO_LONG, endings.EDGE_IN_ADMISSION)
    elif head.method == b"POST" and path == b"/logout":
        _log_out(exchange)
    elif head.method not in (b"GET", b"HEAD"):
        exchange.respond(errors.METHOD_NOT_ALLOWED, endings.EDGE_IN_ADMISSION)
    elif path == b"/logout":
        _show(exchange, LOG_OUT)
    elif path == _REFERENCE:
        exchange.answer(local_responses.reference(exchange.id))
    elif path == b"/start" and head.method == b"GET":
        _begin(exchange, LoginStep.START)
    elif path == _CONSOLE and head.method == b"GET":
        _begin(exchange, LoginStep.CONSOLE)
    elif path.startswith(_CALLBACK) and head.method == b"GET":
        _begin(exchange, LoginStep.CALLBACK, path[len(_CALLBACK) :].decode("ascii", "replace"))
    else:
        _show(exchange, LOGIN_HOST, status=200 if path == b"/" else 404)


def _begin(exchange: "Exchange", step: LoginStep, tenant_id: str = "") -> None:
    parameters = parameters_of(exchange.head.target)
    if parameters is None:
        exchange.respond(errors.LOGIN_FAILED, endings.EDGE_IN_ADMISSION)
        return
    if step is not LoginStep.START:
        _ask(exchange, _request(exchange, step, parameters, tenant_id))
        return
    try:
        host = parse_host(parameters.get("host", "").encode("ascii"))
    except (InvalidHostError, UnicodeError):
        host = ""
    binding = parameters.get("binding", "")
    if not host or not is_binding(binding):
        exchange.respond(errors.LOGIN_FAILED, endings.EDGE_IN_ADMISSION)
        return
    path = safe_next(parameters.get("next", "").encode("latin-1", "replace")).decode("ascii")
    known = {"host": host, "next": path, "binding": binding}
    if _has_room(exchange):
        wait(exchange, "look up where a login leads", partial(_start, exchange, known))


def _request(exchange: "Exchange", step: LoginStep, parameters: dict[str, str], tenant_id: str = "") -> LoginRequest:
    credentials = exchange.head.credentials
    return LoginRequest(
        step=step,
        client=exchange.client,
        parameters=parameters,
        cookies=cookies_by_name(credentials.of_login) if credentials is not None else {},
        tenant_id=tenant_id,
    )


async def _start(exchange: "Exchange", parameters: dict[str, str]) -> bool:
    """Only to a preview that its tenant's login opens, and that is nothing to hide from strangers."""
    worker = exchange.worker
    worker.logins += 1
    try:
        route = await worker.resolver.resolve(parameters["host"].encode("ascii"))
        if route.problem is errors.RESOLVER_UNAVAILABLE:
            exchange.waiting = None
            exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
            return False
        policy, resource = route.policy, route.resource
        if policy is None or resource is None or not policy.login or policy.hide:
            exchange.waiting = None
            exchange.respond(errors.LOGIN_FAILED, endings.EDGE_IN_ADMISSION)
            return False
        request = _request(exchange, LoginStep.START, parameters, resource.tenant_id)
        _answer(exchange, await worker.access.visitors.login(request))
    finally:
        worker.logins -= 1
    return False


def _log_out(exchange: "Exchange") -> None:
    """The button of our page. Another site's page must not end anybody's sessions."""
    head = exchange.head
    site, origin = head.value(b"sec-fetch-site"), head.value(b"origin")
    ours = exchange.scheme.encode("ascii") + b"://" + head.host
    if (site is not None and site.lower() not in (b"same-origin", b"none")) or (site is None and origin != ours):
        exchange.respond(errors.ORIGIN_NOT_ALLOWED, endings.EDGE_IN_ADMISSION)
    else:
        _ask(exchange, _request(exchange, LoginStep.LOG_OUT, {}))


def _ask(exchange: "Exchange", request: LoginRequest) -> None:
    if _has_room(exchange):
        wait(exchange, f"login: {request.step}", partial(_step, exchange, request))


def _has_room(exchange: "Exchange") -> bool:
    """Whether one more step may be under way; else it is answered."""
    if exchange.worker.logins < MAX_UNDER_WAY:
        return True
    exchange.respond(errors.OVERLOADED, endings.EDGE_IN_ADMISSION)
    return False


async def _step(exchange: "Exchange", request: LoginRequest) -> bool:
    worker = exchange.worker
    worker.logins += 1
    try:
        _answer(exchange, await worker.access.visitors.login(request))
    finally:
        worker.logins -= 1
    return False


def _answer(exchange: "Exchange", response: LoginResponse) -> None:
    exchange.waiting = None
    if exchange.over:
        return
    cookies = tuple(cookie.encode("ascii") for cookie in response.cookies)
    if response.problem:
        exchange.new_cookies = cookies
        exchange.login = response.location.encode("ascii")
        exchange.respond(_PROBLEMS.get(response.problem, errors.LOGIN_FAILED), endings.EDGE_IN_ADMISSION)
    elif response.location:
        exchange.answer(local_responses.see_other(response.location.encode("ascii"), exchange.id, cookies))
    else:
        _show(exchange, LOGGED_OUT, cookies=cookies)


def _show(exchange: "Exchange", notice: Notice, *, status: int = 200, cookies: tuple[bytes, ...] = ()) -> None:
    exchange.answer(
        local_responses.notice(exchange.worker.pages, notice, None, exchange.id, status=status, cookies=cookies)
    )

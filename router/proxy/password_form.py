"""Lets visitors in by a password, on an exchange: the form of our page comes, and a cookie goes back.

asks_password   whether the page of a problem has the form, and where the visitor goes from there
take_form       the form has come: it is read, its password compared where the store is, and answered
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from router import errors
from router.access.password_form import MAX_SIZE, FormError, read_form
from router.access.reserved import safe_next
from router.access.rules import AccessRules
from router.errors import Problem
from router.observe import endings
from router.proxy import local_responses
from router.proxy.admission_work import cookie_for, wait
from router.proxy.form_body import FormBody
from router.routes.policies import AccessSecret

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.guard import Visit

# Problems of which the page asks for the password: with it the visitor would come in.
_ASKING: Final = frozenset(
    ("token_missing", "token_wrong", "token_expired", "token_revoked", "password_wrong", "too_many_tries")
)


def asks_password(rules: AccessRules, now: float) -> bool:
    """Whether a password opens it at this time."""
    password = rules.password
    if password is None or rules.programs_only or rules.hide:
        return False
    return now < rules.until and (password.until is None or now < password.until)


def after_form(exchange: "Exchange", visit: "Visit", rules: AccessRules, problem: Problem) -> bytes | None:
    """Where the visitor goes from the form on the page of this problem; None where it has none."""
    if problem.code not in _ASKING or not asks_password(rules, exchange.worker.date()):
        return None
    if visit.next:
        return visit.next
    return safe_next(exchange.head.target) if exchange.head.method in (b"GET", b"HEAD") else b"/"


def take_form(exchange: "Exchange", visit: "Visit", rules: AccessRules, secret: AccessSecret) -> None:
    """Read the form, and go on with it."""
    FormBody(exchange, MAX_SIZE, partial(_read, exchange, visit, rules, secret)).read()


def _read(exchange: "Exchange", visit: "Visit", rules: AccessRules, secret: AccessSecret, body: bytes) -> None:
    try:
        password, after = read_form(exchange.head.value(b"content-type"), body)
    except FormError as error:
        exchange.worker.refusals.info(
            "password form refused", why=str(error), client=exchange.client, request_id=exchange.request_id
        )
        exchange.respond(errors.FORM_WRONG, endings.EDGE_IN_ADMISSION)
        return
    visit.next = safe_next(after)
    wait(exchange, "check a password", partial(_check, exchange, visit, rules, secret, password))


async def _check(exchange: "Exchange", visit: "Visit", rules: AccessRules, secret: AccessSecret, password: str) -> bool:
    access = exchange.worker.access
    checked = await access.visitors.check_password(secret.id, password, exchange.client)
    if checked.right and access.signing is None:
        await access.ready()
    exchange.waiting = None
    if exchange.over:
        return False
    if checked.wait:
        exchange.worker.metrics.count("access_refusals", "too_many_tries")
        exchange.respond(errors.too_many_tries(checked.wait), endings.EDGE_IN_ADMISSION)
    elif not checked.right:
        exchange.worker.metrics.count("access_refusals", errors.PASSWORD_WRONG.code)
        exchange.respond(errors.PASSWORD_WRONG, endings.EDGE_IN_ADMISSION)
    else:
        cookie = cookie_for(exchange, rules, secret)
        if cookie is None:
            exchange.respond(errors.RESOLVER_UNAVAILABLE, endings.EDGE_IN_ADMISSION)
        else:
            access.note_use(secret.id, key=False)
            exchange.answer(
                local_responses.without_link(exchange.head, visit.next, exchange.scheme, exchange.id, cookie=cookie)
            )
    return False

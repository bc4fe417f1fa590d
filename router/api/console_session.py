"""/console/session: how somebody who has signed in by their tenant's login gets into the console (`access/login.py` has the whole way).

`/console/login` sets a cookie by which the browser is known, and sends it to the login host. It sets out from the console's own page
alone: a link or a form of another site could sign somebody in as somebody else. The login host sends the browser back with a code, and the
page asks for the session's token with it.
"""

import secrets
from typing import Annotated, Final
from urllib.parse import quote, urlencode

from aiohttp.web import BaseRequest, Response
from pydantic import Field

from router.access.login import CONSOLE_COOKIE, CONSOLE_PATH, COOKIE_TIME, binding_of, is_cookie
from router.api.listener import Page
from router.api.models import Exact, Instant, Out
from router.api.operations import Auth, Call, Data, Handlers, Rate, operation
from router.api.principal import Access
from router.api.responses import HEADERS
from router.audit.entry import Actor, ActorType, Via
from router.audit.log import AuditLog
from router.errors import FORBIDDEN, RouterError
from router.tenancy.hand_overs import HandOvers
from router.tenancy.sessions import Sessions

LOGIN_PATH: Final = "/console/login"
_MAX_SLUG: Final = 80  # characters


class PostSession(Exact):
    code: Annotated[
        str, Field(min_length=1, max_length=128, description="What the login host sent the browser back with.")
    ]


class ConsoleTokenOut(Out):
    """`token` is sent as an API key is, and shown this once."""

    token: str
    expires_at: Instant


class SessionEndedOut(Out):
    ended: Annotated[bool, Field(description="False for a key or a JSON Web Token, which are no sessions.")]


class ConsoleLoginApi(Handlers):
    tag = "Console"
    prefix = "/api/v1/console"
    auth = Auth.NONE

    def __init__(self, *, hand_overs: HandOvers, sessions: Sessions, audit: AuditLog, origin: str | None) -> None:
        """`origin` is the console's; None: nobody signs in to it."""
        self._hand_overs = hand_overs
        self._sessions = sessions
        self._audit = audit
        self._origin = origin

    @operation("POST", "/session", "Begin a session of the console", status=201, problems=(FORBIDDEN,), rate=Rate.AUTH)
    async def begin(self, call: Call[PostSession]) -> Data[ConsoleTokenOut]:
        """For the console's own page, whose cookie has to come along. A code works once, for a minute, in the browser that has set out."""
        cookie = call.browser.encode("latin-1", "replace")
        token = None
        if self._origin is not None and is_cookie(cookie):
            session = await self._hand_overs.take(call.body.code, host=self._origin, binding=binding_of(cookie))
            token = None if session is None else await self._sessions.open_console(session)
        if token is None or session is None:
            raise RouterError(FORBIDDEN, "This sign-in is over, or was begun in another browser. Sign in once more.")
        who = Actor(
            type=ActorType.PERSON, id=session.subject, name=session.email, scope=f"tenant ({session.console_role})"
        )
        await self._audit.add(
            who, "session.begin", via=Via.API, tenant_id=session.tenant_id, resource_id=session.id, wait=True
        )
        return Data(ConsoleTokenOut(token=token, expires_at=session.expires_at))


class ConsoleSessionApi(Handlers):
    tag = "Console"
    prefix = "/api/v1/console"

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @operation("DELETE", "/session", "End one's own session of the console", access=Access.PROJECT, for_readers=True)
    async def end(self, call: Call) -> Data[SessionEndedOut]:
        """Its token opens nothing from now on."""
        kind, _, session_id = call.principal.id.partition(":")
        if kind == "session":
            await self._sessions.end(session_id)
        return Data(SessionEndedOut(ended=kind == "session"))


def login_page(origin: str, login_url: str) -> Page:
    """`/console/login?organization=SLUG`. `origin` is the console's, `login_url` the login host's."""
    headers = {**HEADERS, "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'"}

    def show(request: BaseRequest) -> Response:
        slugs: list[str] = list(request.query.getall("organization", []))
        slug = slugs[0][:_MAX_SLUG] if len(slugs) == 1 else ""
        asked = urlencode({"organization": slug}, quote_via=quote)
        ours = request.headers.getall("Sec-Fetch-Site", []) == ["same-origin"] and request.method == "GET"
        if not ours or not slug:  # the form, where a person presses the button
            return Response(status=303, headers={**headers, "Location": f"{origin}/console/?{asked}"})
        secret = request.cookies.get(CONSOLE_COOKIE, "").encode("latin-1", "replace")
        if not is_cookie(secret):
            secret = secrets.token_urlsafe(32).encode("ascii")
        kept = f"{CONSOLE_COOKIE}={secret.decode('ascii')}; Path=/; Max-Age={COOKIE_TIME}; Secure; HttpOnly; SameSite=Strict"
        location = f"{login_url}{CONSOLE_PATH}?{asked}&binding={binding_of(secret)}"
        return Response(status=303, headers={**headers, "Location": location, "Set-Cookie": kept})

    return show

"""/tenant/login, /tenant/sessions: by which provider people sign in at the tenant's private previews, and who has."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from router.api.authorization import tenant_of
from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.models import NOT_BLANK, Choice, Deleted, Exact, HostName, Instant, Out, stripped
from router.api.operations import Bare, Call, Data, Handlers, Paged, operation
from router.api.principal import Access
from router.errors import CONFLICT, NOT_FOUND
from router.tenancy.logins import (
    GROUPS_CLAIM,
    MAX_DOMAINS,
    MAX_GROUPS,
    MAX_HOURS,
    ConsoleRole,
    Login,
    Logins,
    NewLogin,
)
from router.tenancy.sessions import Session, Sessions

Words = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(stripped), Field(json_schema_extra=NOT_BLANK)
]
Issuer = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="The provider's issuer, as its discovery document has it: https, at a public address, without a query.",
        json_schema_extra={"format": "uri"},
        examples=["https://login.example.com/realms/acme"],
    ),
]
Secret = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    Field(
        description="Kept encrypted, and never shown. Where it is not sent the stored one stays, if `issuer` and `client_id` do.",
        json_schema_extra=NOT_BLANK | {"writeOnly": True},
    ),
]


class PutConsole(Exact):
    """Who may enter the console by the login, of those who may visit previews, and what they may do there."""

    role: Annotated[
        Choice[ConsoleRole],
        Field(
            description="`read`: change nothing. `write`: all that a key of the whole tenant may, API keys included."
        ),
    ]
    groups: Annotated[
        list[Words],
        Field(max_length=MAX_GROUPS, description="One of them is enough; empty: all. Required with `anyone`."),
    ] = Field(default_factory=list)


class ConsoleOut(Out):
    role: ConsoleRole
    groups: list[str]


class PutLogin(Exact):
    """Who may come in has to be said: `email_domains`, `groups`, or `anyone`. Each list that is not empty narrows."""

    issuer: Issuer
    client_id: Annotated[Words, Field(description="As the provider calls this router.")]
    client_secret: Secret | None = None
    email_domains: Annotated[
        list[HostName],
        Field(
            max_length=MAX_DOMAINS,
            description="Domains of e-mail addresses that the provider has verified; subdomains are others.",
            examples=[["example.com"]],
        ),
    ] = Field(default_factory=list)
    groups: Annotated[
        list[Words], Field(max_length=MAX_GROUPS, description="One of them is enough.", examples=[["engineering"]])
    ] = Field(default_factory=list)
    groups_claim: Annotated[Words, Field(description="The claim of the ID token that has a person's groups.")] = (
        GROUPS_CLAIM
    )
    anyone: Annotated[bool, Field(description="Everybody may come in whom the provider lets sign in.")] = False
    session_hours: Annotated[
        int, Field(ge=1, le=MAX_HOURS, description="After so many hours a person has to sign in again.")
    ] = MAX_HOURS
    console: Annotated[
        PutConsole | None, Field(description="Null: nobody enters the console by it, as is the default.")
    ] = None


class LoginOut(Out):
    """`redirect_uri` is what the provider has to know of this router. `has_secret` is false where the router no longer has the
    key that the client's secret was encrypted with: then nobody can sign in until it is set again."""

    issuer: str
    client_id: str
    has_secret: bool
    email_domains: list[str]
    groups: list[str]
    groups_claim: str
    anyone: bool
    session_hours: int
    console: ConsoleOut | None
    redirect_uri: str
    created_at: Instant
    updated_at: Instant


class SessionOut(Out):
    """`subject` is the person's id at the provider; `email` is null where that has verified none. `groups` are those of theirs
    that the login asks for. `console_role` is what they may do in the console, whose sessions are apart from those of previews, where it
    is null."""

    id: str
    subject: str
    email: str | None
    groups: list[str]
    created_at: Instant
    last_used_at: Instant | None
    expires_at: Instant
    console_role: ConsoleRole | None


class EndedOut(Out):
    ended: Annotated[int, Field(description="How many sessions were ended.")]


class SessionQuery(CursorPaging):
    cursor: MomentCursor | None = None


class LoginApi(Handlers):
    tag = "Login"
    prefix = "/api/v1/tenant"

    def __init__(self, *, logins: Logins, sessions: Sessions, redirect_uri: Callable[[str], str]) -> None:
        """`redirect_uri` says that of a tenant, by its id."""
        self._logins = logins
        self._sessions = sessions
        self._redirect_uri = redirect_uri

    @operation("GET", "/login", "Get the tenant's login", access=Access.TENANT, problems=(NOT_FOUND,))
    async def get(self, call: Call) -> Data[LoginOut]:
        return Data(self._shown(await self._logins.get(tenant_of(call.principal))))

    @operation("PUT", "/login", "Set the tenant's login", access=Access.TENANT, problems=(CONFLICT,))
    async def put(self, call: Call[PutLogin]) -> Data[LoginOut]:
        """People sign in by it at previews whose visibility is `private` or `tenant`, as soon as this answers. A change of
        anything but the client's secret ends everybody's session."""
        body = call.body
        new = NewLogin(
            issuer=body.issuer,
            client_id=body.client_id,
            client_secret=body.client_secret,
            email_domains=body.email_domains,
            groups=body.groups,
            groups_claim=body.groups_claim,
            anyone=body.anyone,
            session_hours=body.session_hours,
            console_role=None if body.console is None else body.console.role,
            console_groups=() if body.console is None else body.console.groups,
        )
        return Data(self._shown(await self._logins.put(tenant_of(call.principal), new)))

    @operation("DELETE", "/login", "Remove the tenant's login", access=Access.TENANT, problems=(NOT_FOUND,))
    async def delete(self, call: Call) -> Bare[Deleted]:
        """And end everybody's session, with the connections that are open by it."""
        await self._logins.remove(tenant_of(call.principal))
        return Bare(Deleted(deleted=True))

    @operation("GET", "/sessions", "List who has signed in", access=Access.TENANT)
    async def sessions(self, call: Call[None, SessionQuery]) -> Paged[SessionOut]:
        """The newest first, those that go on. `last_used_at` is to the minute."""
        query = call.query
        window = query.part(from_cursor=query.cursor is not None)
        found = await self._sessions.list(tenant_of(call.principal), window, after=read_moment(query.cursor))
        items, cursor = query.cut(found.items, lambda session: moment_cursor(session.created_at, session.id))
        return Paged([_session(session) for session in items], found.total, cursor)

    @operation("DELETE", "/sessions", "End all sessions", access=Access.TENANT)
    async def end_all(self, call: Call) -> Data[EndedOut]:
        """Everybody has to sign in again."""
        return Data(EndedOut(ended=await self._sessions.revoke_all(tenant_of(call.principal))))

    @operation("DELETE", "/sessions/{session_id:text}", "End a session", access=Access.TENANT)
    async def end(self, call: Call) -> Data[SessionOut]:
        """Within two seconds it opens nothing on any node, and what is open by it is closed. One that has ended stays so."""
        return Data(_session(await self._sessions.revoke(tenant_of(call.principal), call.ids["session_id"])))

    def _shown(self, login: Login) -> LoginOut:
        return LoginOut(
            issuer=login.issuer,
            client_id=login.client_id,
            has_secret=self._logins.has_secret(login),
            email_domains=list(login.email_domains),
            groups=list(login.groups),
            groups_claim=login.groups_claim,
            anyone=login.anyone,
            session_hours=login.session_hours,
            console=(
                None
                if login.console_role is None
                else ConsoleOut(role=login.console_role, groups=list(login.console_groups))
            ),
            redirect_uri=self._redirect_uri(login.tenant_id),
            created_at=login.created_at,
            updated_at=login.updated_at,
        )


def _session(session: Session) -> SessionOut:
    return SessionOut(
        id=session.id,
        subject=session.subject,
        email=session.email,
        groups=list(session.groups),
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        console_role=session.console_role,
    )

"""Sessions: who has signed in by a tenant's login, until when.

A person who signs in gets one session. Each of the tenant's previews that they open gives them a cookie in its name, which is
worth nothing once the session has ended. Its own secret, a cookie of the login host, lets them into the next preview without
asking the provider again; it is kept as a hash. A session that has ended is kept for a day, so that who still comes by it can
be told.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.preview_secrets import digest
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError
from router.routes.records import SESSION_ID
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.logins import ConsoleRole, Login
from router.tenancy.transaction import Tx

MAX_SUBJECT: Final = 255  # characters (OpenID Connect Core 1.0 §2, `sub`)
MAX_EMAIL: Final = 320  # characters (RFC 3696, erratum 1690)
KEPT: Final = timedelta(days=1)  # how long those that have ended are known

CONSOLE_PREFIX: Final = "mcs_"  # how a token of the console begins
CONSOLE_TIME: Final = timedelta(hours=1)  # after which a person signs in to the console again
_MAX_TOKEN: Final = 128  # characters; what is longer is none

_MAX_OF_TENANT: Final = 10_000  # with those that have ended
_MAX_OF_SUBJECT: Final = 100  # as well: one person pushes out nobody else's


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session. `id` begins with `ses_`: cookies of previews name it where they name a secret otherwise.

    `subject` is the person's id at the provider, `email` what that has verified, `groups` those of theirs that count for the
    login. `digest` is the hash of the login host's cookie. With `console_role` it is a session of the console and of nothing else:
    `digest` is then the hash of its token.
    """

    id: str
    tenant_id: str
    login_id: str
    subject: str
    email: str | None = None
    groups: tuple[str, ...] = ()
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    console_role: ConsoleRole | None = None

    def lives(self, now: datetime) -> bool:
        """Whether it has neither been ended nor come to its end."""
        return self.revoked_at is None and now < self.expires_at


class SessionRows(Protocol):
    """Stored sessions. One that is added, ended or deleted is a record that changes."""

    async def add(self, session: Session) -> None: ...

    async def get(self, session_id: str) -> Session | None: ...

    async def by_digest(self, digest: str) -> Session | None: ...

    async def list(
        self, tenant_id: str, now: datetime, window: Window, *, after: tuple[datetime, str] | None = None
    ) -> Listing[Session]:
        """Those that live, the newest first. `after` leaves out the session of that `created_at` and id, and those that come
        before it; the total counts them."""

    async def revoke(self, session_id: str, now: datetime) -> None:
        """End one, unless it has ended."""

    async def revoke_all(self, tenant_id: str, now: datetime) -> int:
        """End all that live; how many they were."""

    async def revoke_console(self, now: datetime) -> int:
        """End all of the console, of all tenants; how many they were."""

    async def give_token(self, session_id: str, digest: str, now: datetime) -> bool:
        """Store the hash of a token, from `now` in use; whether the session still lived."""

    async def make_room(self, tenant_id: str, most: int, *, subject: str | None = None) -> None:
        """Delete sessions until the tenant, or one person of it, has at most `most`: first those that were ended, then the
        oldest."""

    async def used(self, session_id: str, at: datetime) -> None:
        """Store when it let somebody in; an older instant than the stored one is ignored."""


class Sessions:
    """The service of sessions. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def start(
        self,
        login: Login,
        *,
        subject: str,
        email: str | None,
        groups: Collection[str],
        console_role: ConsoleRole | None = None,
    ) -> tuple[Session, str] | None:
        """A session of somebody who has signed in and whom the login admits, and the secret for the login host's cookie: the only
        time that it is seen. None where the tenant's login is another one by now: they have to start anew.

        Where there are as many as may be, the oldest ends. With `console_role` it is one of the console, and its secret opens nothing:
        `open_console` makes the one that does.
        """
        now = self._clock.now()
        plain = secrets.token_urlsafe(32)
        async with self._store.begin() as tx:
            current = await tx.logins.get(login.tenant_id)  # locked: no session starts while it changes
            if current is None or current.id != login.id:
                return None
            session = Session(
                id=SESSION_ID + new_id(),
                tenant_id=login.tenant_id,
                login_id=login.id,
                subject=subject[:MAX_SUBJECT],
                email=None if email is None else email[:MAX_EMAIL],
                groups=login.groups_of(groups),
                digest=digest(plain),
                created_at=now,
                expires_at=now + (timedelta(hours=login.session_hours) if console_role is None else CONSOLE_TIME),
                console_role=console_role,
            )
            await tx.sessions.make_room(login.tenant_id, _MAX_OF_SUBJECT - 1, subject=session.subject)
            await tx.sessions.make_room(login.tenant_id, _MAX_OF_TENANT - 1)
            await tx.sessions.add(session)
            return session, plain

    async def by_secret(self, plain: str) -> Session | None:
        """The session of a login host's cookie; None where it is none, or has ended."""
        session = await self._living(plain)
        return session if session is not None and session.console_role is None else None

    async def by_console_token(self, token: str) -> Session | None:
        """The console's session of a token; None where it is none, or has ended."""
        if not token.startswith(CONSOLE_PREFIX) or len(token) > _MAX_TOKEN:
            return None
        session = await self._living(token)
        return session if session is not None and session.console_role is not None else None

    @retry_on_deadlock
    async def open_console(self, session: Session) -> str | None:
        """The token of a session of the console: the only time that it is seen. None where it has ended."""
        if session.console_role is None:
            return None
        token = CONSOLE_PREFIX + secrets.token_urlsafe(32)
        async with self._store.begin() as tx:
            given = await tx.sessions.give_token(session.id, digest(token), self._clock.now())
        return token if given else None

    async def _living(self, plain: str) -> Session | None:
        async with self._store.read() as tx:
            session = await tx.sessions.by_digest(digest(plain))
        return session if session is not None and session.lives(self._clock.now()) else None

    async def list(
        self, tenant_id: str, window: Window = FIRST, *, after: tuple[datetime, str] | None = None
    ) -> Listing[Session]:
        """Those that live, the newest first; with `after`, those behind the one of that `created_at` and id."""
        async with self._store.read() as tx:
            return await tx.sessions.list(tenant_id, self._clock.now(), window, after=after)

    @retry_on_deadlock
    async def end(self, session_id: str) -> None:
        """End a session everywhere, as at a log-out; one that has ended, or that nobody knows, stays as it is."""
        async with self._store.begin() as tx:
            await tx.sessions.revoke(session_id, self._clock.now())

    @retry_on_deadlock
    async def revoke(self, tenant_id: str, session_id: str) -> Session:
        """End a session of the tenant's; one that has ended stays as it is. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            session = await tx.sessions.get(session_id)
            if session is None or session.tenant_id != tenant_id:
                raise RouterError(NOT_FOUND, "session not found")
            await tx.sessions.revoke(session_id, self._clock.now())
            return session

    @retry_on_deadlock
    async def revoke_all(self, tenant_id: str) -> int:
        """End all sessions of the tenant; how many they were."""
        async with self._store.begin() as tx:
            await tx.logins.get(tenant_id)  # locked: none starts meanwhile
            return await tx.sessions.revoke_all(tenant_id, self._clock.now())

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        """Store when sessions last let somebody in, by their ids; unknown ones are ignored."""
        if seen:
            async with self._store.begin() as tx:
                for session_id, at in sorted(seen.items()):
                    await tx.sessions.used(session_id, at)

"""A tenant's login: the OpenID Connect provider by which people come into its previews that are `private` or `tenant`, and which
of those that the provider knows may.

A tenant has at most one. Whatever changes of it but the client's secret ends everybody's session: who came in by what it was
before has to sign in by what it is now.
"""

import enum
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.secret_box import NO_SECRETS_KEY, NoSecretsKeyError, SecretBox, SecretLostError
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.hostname import InvalidNameError, canonical_name
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.destinations import Destinations
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields

MAX_HOURS: Final = 12  # of a session
MAX_DOMAINS: Final = 100
MAX_GROUPS: Final = 100
GROUPS_CLAIM: Final = "groups"

_MAX_ISSUER: Final = 500
_MAX_TEXT: Final = 255  # characters of a client's id, a group, a claim's name
_MAX_SECRET: Final = 1000
_CHUNK: Final = 100  # logins that one transaction seals anew


class ConsoleRole(enum.StrEnum):
    """What a person may do in the console: read, or all that a key of the whole tenant may."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One tenant's login. `id` is another one whenever sessions end: a session is one of the login with that id.

    `issuer` is without a slash at its end only where it was given so: it is compared as it is. `client_secret` is sealed
    (`Logins.open` opens it). Who is signed in may come in where `admits` says so, and into the console, with `console_role`, where
    `role_of` says so; None: nobody.
    """

    id: str
    tenant_id: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    email_domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    groups_claim: str = GROUPS_CLAIM
    anyone: bool = False
    session_hours: int = MAX_HOURS
    console_role: ConsoleRole | None = None
    console_groups: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime

    def admits(self, email: str | None, groups: Collection[str]) -> bool:
        """Whether a person may come in. `email` is None where the provider has not verified it.

        Each list that is not empty has to have something of theirs; subdomains of a domain are others. Where both are empty
        anybody may whom the provider knows, if `anyone` says so.
        """
        if self.email_domains and (email is None or _domain_of(email) not in self.email_domains):
            return False
        if self.groups and not self.groups_of(groups):
            return False
        return bool(self.email_domains or self.groups) or self.anyone

    def role_of(self, email: str | None, groups: Collection[str]) -> ConsoleRole | None:
        """What a person may do in the console; None where they may not enter it. Whoever may has to be admitted, and to be in one
        of `console_groups` where there are any."""
        if not self.admits(email, groups) or (self.console_groups and not set(self.console_groups) & set(groups)):
            return None
        return self.console_role

    def groups_of(self, groups: Collection[str]) -> tuple[str, ...]:
        """Those of a person's groups that count here."""
        return tuple(group for group in self.groups if group in groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLogin:
    """What a caller sets. `client_secret` None keeps the one that is stored, where issuer and client are the same."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    email_domains: Sequence[str] = ()
    groups: Sequence[str] = ()
    groups_claim: str = GROUPS_CLAIM
    anyone: bool = False
    session_hours: int = MAX_HOURS
    console_role: ConsoleRole | None = None
    console_groups: Sequence[str] = ()


class LoginRows(Protocol):
    """Stored logins, by their tenants. A login that is added or removed changes all records of the tenant's resources."""

    async def get(self, tenant_id: str) -> Login | None: ...

    async def put(self, login: Login) -> None:
        """Store it in the place of the tenant's."""

    async def delete(self, tenant_id: str) -> None: ...

    async def after(self, tenant_id: str, limit: int) -> Sequence[Login]:
        """Those of the tenants behind this one, by tenant; all from "" on."""

    async def reseal(self, login_id: str, before: str, after: str) -> None:
        """Replace a sealed secret, unless it is another one than `before` by now. No record changes by it."""


class Logins:
    """The service of logins. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, box: SecretBox, destinations: Destinations) -> None:
        """`destinations` says where providers may be."""
        self._store = store
        self._clock = clock
        self._box = box
        self._destinations = destinations

    async def get(self, tenant_id: str) -> Login:
        """Raises RouterError: NOT_FOUND."""
        login = await self.find(tenant_id)
        if login is None:
            raise RouterError(NOT_FOUND, "This tenant has no login. PUT one here.")
        return login

    async def find(self, tenant_id: str) -> Login | None:
        """The tenant's login; None where it has none."""
        async with self._store.read() as tx:
            return await tx.logins.get(tenant_id)

    async def for_console(self, slug: str) -> Login | None:
        """The login by which people of the organization may enter the console; None where there is no such organization, or
        nobody of it may."""
        async with self._store.read() as tx:
            tenant = await tx.tenants.by_slug(slug)
            login = None if tenant is None or tenant.deleted_at is not None else await tx.logins.get(tenant.id)
        return None if login is None or login.console_role is None else login

    def open(self, login: Login) -> str:
        """The client's secret, for a request to the provider. Raises SecretLostError."""
        return self._box.open(login.client_secret, purpose=_purpose(login.tenant_id))

    def has_secret(self, login: Login) -> bool:
        """Whether the client's secret can be opened: it can't once the key is gone that it was sealed with."""
        try:
            self.open(login)
        except SecretLostError:
            return False
        return True

    @retry_on_deadlock
    async def put(self, tenant_id: str, new: NewLogin) -> Login:
        """Set the tenant's login; the record of each of its resources says so when this returns.

        Raises RouterError: VALIDATION_FAILED, CONFLICT where this router has no key to encrypt the secret with.
        """
        domains = self._check(new)
        now = self._clock.now()
        async with self._store.begin() as tx:
            tenant = await tx.tenants.get(tenant_id)  # locked: two that set it at the same time
            if tenant is None:
                raise RouterError(NOT_FOUND, "tenant not found")
            old = await tx.logins.get(tenant_id)
            login = Login(
                id=new_id() if old is None else old.id,
                tenant_id=tenant_id,
                issuer=new.issuer,
                client_id=new.client_id,
                client_secret=self._sealed(tenant_id, new, old),
                email_domains=domains,
                groups=tuple(dict.fromkeys(new.groups)),
                groups_claim=new.groups_claim,
                anyone=new.anyone,
                session_hours=new.session_hours,
                console_role=new.console_role,
                console_groups=tuple(dict.fromkeys(new.console_groups)),
                created_at=now if old is None else old.created_at,
                updated_at=now,
            )
            if old is not None and replace(login, updated_at=old.updated_at) == old:
                return old
            if old is not None and _matters(login) != _matters(old):
                login = replace(login, id=new_id())
                await tx.sessions.revoke_all(tenant_id, now)
            await tx.logins.put(login)
            await tx.events.emit("tenant.login_updated", now, tenant_id=tenant_id, data=_event(login))
            return login

    @retry_on_deadlock
    async def remove(self, tenant_id: str) -> None:
        """Remove the tenant's login, and end all its sessions. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            await tx.tenants.get(tenant_id)
            login = await tx.logins.get(tenant_id)
            if login is None:
                raise RouterError(NOT_FOUND, "This tenant has no login.")
            await tx.sessions.revoke_all(tenant_id, now)
            await tx.logins.delete(tenant_id)
            await tx.events.emit("tenant.login_removed", now, tenant_id=tenant_id, data=_event(login))

    async def reseal(self, *, chunk: int = _CHUNK) -> tuple[int, int]:
        """Seal every secret anew that another key than the first has sealed; how many they were, and how many could not be
        opened, which stay as they are. Raises RouterError: CONFLICT where this router has no key."""
        if not self._box.can_seal:
            raise RouterError(CONFLICT, NO_SECRETS_KEY)
        done, lost, last = 0, 0, ""
        while True:
            async with self._store.begin() as tx:
                logins = await tx.logins.after(last, chunk)
                for login in logins:
                    last, before = login.tenant_id, login.client_secret
                    if self._box.is_current(before):
                        continue
                    try:
                        secret = self.open(login)
                    except SecretLostError:
                        lost += 1
                        continue
                    await tx.logins.reseal(login.id, before, self._box.seal(secret, purpose=_purpose(last)))
                    done += 1
            if len(logins) < chunk:
                return done, lost

    def _check(self, new: NewLogin) -> tuple[str, ...]:
        """The domains, in canonical form. Raises RouterError: VALIDATION_FAILED."""
        fields = Fields()
        fields.text("issuer", new.issuer, max_length=_MAX_ISSUER, required=True)
        if new.issuer.strip():
            refusal = self._destinations.refusal_of(new.issuer)
            if refusal is None and ("?" in new.issuer or "#" in new.issuer):
                refusal = "must not have a query or a fragment"
            if refusal is not None:
                fields.add("issuer", refusal)
        fields.text("client_id", new.client_id, max_length=_MAX_TEXT, required=True)
        if new.client_secret is not None:
            fields.text("client_secret", new.client_secret, max_length=_MAX_SECRET, required=True)
        fields.text("groups_claim", new.groups_claim, max_length=_MAX_TEXT, required=True)
        if len(new.groups) > MAX_GROUPS:
            fields.add("groups", f"should have at most {MAX_GROUPS} groups")
        for group in new.groups[:MAX_GROUPS]:
            fields.text("groups", group, max_length=_MAX_TEXT, required=True)
        if len(new.console_groups) > MAX_GROUPS:
            fields.add("console", f"should have at most {MAX_GROUPS} groups")
        for group in new.console_groups[:MAX_GROUPS]:
            fields.text("console", group, max_length=_MAX_TEXT, required=True)
        if new.anyone and new.console_role is not None and not new.console_groups:
            fields.add(
                "console",
                "must name groups where anyone is true: else whoever the provider knows would enter the console",
            )
        if not 1 <= new.session_hours <= MAX_HOURS:
            fields.add("session_hours", f"must be between 1 and {MAX_HOURS}")
        if new.anyone and (new.email_domains or new.groups):
            fields.add("anyone", "must not be true beside email_domains or groups: those would say nothing")
        if not (new.anyone or new.email_domains or new.groups):
            fields.add(
                "email_domains",
                "can't be blank where groups is too: name one of them, or set anyone to true for whoever can sign in",
            )
        domains = _domains(fields, new.email_domains)
        fields.check()
        return domains

    def _sealed(self, tenant_id: str, new: NewLogin, old: Login | None) -> str:
        if new.client_secret is None:
            if old is None or (old.issuer, old.client_id) != (new.issuer, new.client_id):
                fields = Fields()
                fields.add("client_secret", BLANK if old is None else "must be given for another issuer or client_id")
                fields.check()
                raise AssertionError("there was a mistake")
            return old.client_secret
        if old is not None and self._box.is_current(old.client_secret) and self._opens_to(old, new.client_secret):
            return old.client_secret
        try:
            return self._box.seal(new.client_secret, purpose=_purpose(tenant_id))
        except NoSecretsKeyError as error:
            raise RouterError(CONFLICT, NO_SECRETS_KEY) from error

    def _opens_to(self, login: Login, secret: str) -> bool:
        try:
            return hmac.compare_digest(self.open(login).encode(), secret.encode())
        except SecretLostError:
            return False


def _purpose(tenant_id: str) -> str:
    return f"login {tenant_id}"


def _matters(login: Login) -> tuple[object, ...]:
    """What nobody's session outlives a change of."""
    return (
        *(login.issuer, login.client_id, frozenset(login.email_domains), frozenset(login.groups)),
        *(login.groups_claim, login.anyone, login.session_hours),
        *(login.console_role, frozenset(login.console_groups)),
    )


def _event(login: Login) -> dict[str, object]:
    return {"issuer": login.issuer, "client_id": login.client_id}


def _domain_of(email: str) -> str | None:
    """The domain of an address, in canonical form; None where it has none."""
    person, at, domain = email.rpartition("@")
    if not person or not at:
        return None
    try:
        return canonical_name(domain)
    except InvalidNameError:
        return None


def _domains(fields: Fields, domains: Sequence[str]) -> tuple[str, ...]:
    if len(domains) > MAX_DOMAINS:
        fields.add("email_domains", f"should have at most {MAX_DOMAINS} domains")
    found: dict[str, None] = {}
    for domain in domains[:MAX_DOMAINS]:
        try:
            found[canonical_name(domain)] = None
        except InvalidNameError as error:
            fields.add("email_domains", f"{domain!r} {error}")
    return tuple(found)

"""The service of log drains: their owners make, change, test and delete them."""

from dataclasses import replace
from typing import Final, Protocol, TypedDict, Unpack

from yarl import URL

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.secret_box import NO_SECRETS_KEY, NoSecretsKeyError, SecretBox, SecretLostError
from router.base.transactions import Transactions
from router.drains.batch import Line, trial_line
from router.drains.credentials import (
    LOST,
    MAX_HEADERS,
    Credentials,
    is_structured_data,
    open_credentials,
    purpose_of,
    refusal_of_header,
    seal_credentials,
)
from router.drains.log_drain import BatchFormat, DrainKind, DrainState, LogDrain
from router.drains.transaction import Tx
from router.errors import CONFLICT, NOT_FOUND, NOT_SERVED_HERE, RouterError
from router.records.kept import KeptRecords
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import MAX_URL, Destinations
from router.tenancy.signatures import GRACE, new_secret
from router.tenancy.validation import Fields, invalid

MAX_DRAINS: Final = 10  # of a tenant
MAX_NAME: Final = 255
SYSLOG_TLS: Final = "syslog+tls"
SYSLOG_PLAIN: Final = "syslog"
DEFAULT_PORTS: Final = {SYSLOG_TLS: 6514, SYSLOG_PLAIN: 514}  # RFC 5425 §4.1; what is usual over TCP

_CHUNK: Final = 100  # drains that one transaction seals anew
_NONE: Final = Credentials()


class DrainSender(Protocol):
    async def send(
        self, drain: LogDrain, batch_id: str, lines: "list[Line]", secrets: tuple[str, ...], credentials: Credentials
    ) -> Attempt:
        """Send lines. Ends within seconds; whatever goes wrong is in the result, never raised."""


class DrainChanges(TypedDict, total=False):
    """What an owner may change."""

    name: str
    url: str
    format: BatchFormat
    resource_id: str | None
    errors_only: bool
    state: DrainState


class LogDrains:
    """Every method may raise StoreUnavailableError. `kept` None: requests are not recorded here."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        kept: KeptRecords | None,
        sender: DrainSender,
        destinations: Destinations,
        box: SecretBox,
    ) -> None:
        self._store = store
        self._clock = clock
        self._kept = kept
        self._sender = sender
        self._destinations = destinations
        self._box = box

    async def create(
        self,
        tenant_id: str,
        *,
        kind: DrainKind = DrainKind.HTTP,
        credentials: Credentials = _NONE,
        **given: Unpack[DrainChanges],
    ) -> LogDrain:
        """A new one, with its secret. It begins with the records from now on.

        Raises RouterError: VALIDATION_FAILED, NOT_FOUND, NOT_SERVED_HERE where requests are not recorded, CONFLICT where the
        tenant has as many as it may or nothing here can seal credentials.
        """
        position = await self._on().newest()
        now = self._clock.now()
        drain = LogDrain(
            **{"name": "", "url": "", **given},  # type: ignore[arg-type]  # checked below
            id=new_id(),
            tenant_id=tenant_id,
            kind=kind,
            secret=new_secret(),
            position=position,
            created_at=now,
            updated_at=now,
        )
        self._check(drain, credentials)
        drain = self._with(drain, credentials)
        async with self._store.begin() as tx:
            if await tx.tenants.get(tenant_id) is None:  # locked: two that come together count each other
                raise RouterError(NOT_FOUND, "tenant not found")
            await _check_resource(tx, drain)
            if (await tx.log_drains.list(Window(limit=0), tenant_id=tenant_id)).total >= MAX_DRAINS:
                raise RouterError(CONFLICT, f"An organization has at most {MAX_DRAINS} log drains. Delete one first.")
            await tx.log_drains.add(drain)
            await tx.events.emit("log_drain.created", now, tenant_id=tenant_id, data=_event(drain))
        return drain

    async def get(self, tenant_id: str, drain_id: str) -> LogDrain:
        """Raises RouterError: NOT_FOUND, also for one of another tenant."""
        async with self._store.read() as tx:
            return _found(await tx.log_drains.get(drain_id), tenant_id)

    async def list(self, tenant_id: str, window: Window = FIRST) -> Listing[LogDrain]:
        """The oldest first."""
        async with self._store.read() as tx:
            return await tx.log_drains.list(window, tenant_id=tenant_id)

    async def update(
        self,
        tenant_id: str,
        drain_id: str,
        *,
        credentials: Credentials | None = None,
        rotate_secret: bool = False,
        **changes: Unpack[DrainChanges],
    ) -> LogDrain:
        """Change what is given; `credentials` None keeps them. A drain that is made active again begins with the records from then
        on. Raises RouterError as `create` does."""
        newest = await self._on().newest()
        async with self._store.begin() as tx:
            old = _found(await tx.log_drains.get(drain_id), tenant_id)
            now = self._clock.now()
            new = replace(old, **changes, updated_at=now)
            self._check(new, credentials or _NONE)
            if credentials is None and old.credentials is not None and _place_of(new.url) != _place_of(old.url):
                which = "headers" if old.kind is DrainKind.HTTP else "structured_data"
                raise invalid(which, "must be set again, because the URL leads to another host")
            if new.resource_id != old.resource_id:
                await _check_resource(tx, new)
            if credentials is not None:
                new = self._with(new, credentials)
            if rotate_secret:
                new = replace(new, secret=new_secret(), old_secret=old.secret, old_secret_until=now + GRACE)
            if new.state is DrainState.ACTIVE:
                resumed = old.state is DrainState.PAUSED
                position = newest if resumed else old.position
                new = replace(
                    new, position=position, failures=0, next_at=None, last_error=None if resumed else old.last_error
                )
            await tx.log_drains.save(new)
            await tx.events.emit("log_drain.updated", now, tenant_id=tenant_id, data=_event(new))
            return new

    async def delete(self, tenant_id: str, drain_id: str) -> LogDrain:
        """What it has not sent is not sent. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            drain = _found(await tx.log_drains.get(drain_id), tenant_id)
            await tx.log_drains.delete(drain_id)
            await tx.events.emit("log_drain.deleted", self._clock.now(), tenant_id=tenant_id, data=_event(drain))
            return drain

    async def test(self, tenant_id: str, drain_id: str) -> Attempt:
        """Send one line now; what came of it. Raises RouterError: NOT_FOUND."""
        drain = await self.get(tenant_id, drain_id)
        now = self._clock.now()
        try:
            credentials = open_credentials(self._box, drain)
        except SecretLostError as error:
            return Attempt(error=LOST + f": {error}")
        line = trial_line(int(now.timestamp() * 1e6), tenant_id)
        return await self._sender.send(drain, f"{drain.id}-test-{new_id()}", [line], drain.secrets(now), credentials)

    async def reseal(self, *, chunk: int = _CHUNK) -> tuple[int, int]:
        """Seal every drain's credentials anew that another key than the first has sealed; how many they were, and how many could not
        be opened, which stay as they are. Raises RouterError: CONFLICT where this router has no key."""
        if not self._box.can_seal:
            raise RouterError(CONFLICT, NO_SECRETS_KEY)
        done, lost, last = 0, 0, ""
        while True:
            async with self._store.begin() as tx:
                drains = await tx.log_drains.after(last, chunk)
                for drain in drains:
                    last, before = drain.id, drain.credentials or ""
                    if self._box.is_current(before):
                        continue
                    try:
                        text = self._box.open(before, purpose=purpose_of(drain.id))
                    except SecretLostError:
                        lost += 1
                        continue
                    await tx.log_drains.reseal(drain.id, before, self._box.seal(text, purpose=purpose_of(drain.id)))
                    done += 1
            if len(drains) < chunk:
                return done, lost

    def _on(self) -> KeptRecords:
        if self._kept is None:
            raise RouterError(NOT_SERVED_HERE, "Requests are not recorded here (records.enabled).")
        return self._kept

    def _with(self, drain: LogDrain, credentials: Credentials) -> LogDrain:
        """The drain with these credentials, sealed. Raises RouterError: CONFLICT where nothing here can seal them."""
        try:
            sealed = seal_credentials(self._box, drain.id, credentials)
        except NoSecretsKeyError:
            raise RouterError(CONFLICT, NO_SECRETS_KEY) from None
        return replace(drain, credentials=sealed, credential_names=credentials.names)

    def _check(self, drain: LogDrain, credentials: Credentials) -> None:
        """Raises RouterError VALIDATION_FAILED."""
        fields = Fields()
        fields.text("name", drain.name, max_length=MAX_NAME, required=True)
        fields.text("url", drain.url, max_length=MAX_URL, required=True)
        refusal = self._refusal_of(drain) if drain.url.strip() else None
        if refusal is not None:
            fields.add("url", refusal)
        if drain.kind is DrainKind.SYSLOG:
            if drain.format is not BatchFormat.JSON:
                fields.add("format", "is for HTTP drains; syslog lines are JSON")
            if credentials.headers:
                fields.add("headers", "are for HTTP drains")
        elif credentials.structured_data is not None:
            fields.add("structured_data", "is for syslog drains")
        if len(credentials.headers) > MAX_HEADERS:
            fields.add("headers", f"should have at most {MAX_HEADERS} item(s)")
        for name, value in credentials.headers.items():
            wrong = refusal_of_header(name, value)
            if wrong is not None:
                fields.add("headers", f"{name[:80]!r} {wrong}")
        data = credentials.structured_data
        if data is not None and not is_structured_data(data):
            fields.add("structured_data", 'must be as RFC 5424 has it: [TOKEN@41058 tag="edge"]')
        fields.check()

    def _refusal_of(self, drain: LogDrain) -> str | None:
        scheme, separator, _ = drain.url.partition("://")
        if drain.kind is DrainKind.HTTP:
            return self._destinations.refusal_of(drain.url)
        schemes = (SYSLOG_TLS, SYSLOG_PLAIN) if self._destinations.private else (SYSLOG_TLS,)
        if not separator or scheme not in schemes:
            return f"must begin with {' or '.join(f'{one}://' for one in schemes)}"
        try:
            judged = judged_url(drain.url)
        except ValueError:
            return "is not a URL"
        if judged.path not in {"", "/"} or judged.query_string:
            return "must end behind its host and port"
        return self._destinations.refusal_of(drain.url.replace(scheme, judged.scheme, 1))


def judged_url(url: str) -> URL:
    """A drain's URL as `Destinations` judges it: syslog over TLS as https, without as http, with its port. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    if scheme not in DEFAULT_PORTS:
        return URL(url)
    found = URL(f"{'https' if scheme == SYSLOG_TLS else 'http'}{separator}{rest}")
    return found if found.explicit_port else found.with_port(DEFAULT_PORTS[scheme])


def _place_of(url: str) -> tuple[str | None, int | None]:
    """To which host and port credentials go."""
    judged = judged_url(url)
    return judged.raw_host, judged.port


def _event(drain: LogDrain) -> dict[str, object]:
    return {"log_drain_id": drain.id, "name": drain.name, "kind": drain.kind.value, "state": drain.state.value}


def _found(drain: LogDrain | None, tenant_id: str) -> LogDrain:
    if drain is None or drain.tenant_id != tenant_id:
        raise RouterError(NOT_FOUND, "drain not found")
    return drain


async def _check_resource(tx: Tx, drain: LogDrain) -> None:
    """Raises RouterError NOT_FOUND."""
    if drain.resource_id is None:
        return
    resource = await tx.resources.get(drain.resource_id)
    if resource is None or resource.tenant_id != drain.tenant_id or resource.deleted_at is not None:
        raise RouterError(NOT_FOUND, "resource not found")

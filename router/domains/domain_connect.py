"""Domain Connect: a link at the DNS provider that sets all records of a domain, and the way back from there.

    the API shows a domain        with `apply_url`, where the provider of its zone is known and has our template
    its owner follows the link    and agrees at the provider, which verifies our signature and sets the records
    the provider sends them back  to our return page, with the `state` of the link: the domain is checked now, and as often as
                                  one that was just registered, until its records are there

Nobody waits for a provider to show a domain: what is not known yet is found out in the background (`Discovery`).

`state` says which domain a link was made for, and is authenticated with its tenant: nobody can make one up, one of a domain
that another tenant has now is void, and it opens nothing but an early check.
"""

import base64
import binascii
import enum
import hashlib
import hmac
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from cachetools import LRUCache

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.domains.checks.schedule import ASK_EVERY, CheckState, asked, too_soon
from router.domains.connect_templates import Service
from router.domains.custom import CustomDomain
from router.domains.diagnosis.delegation_snapshot import Delegations
from router.domains.preview_domains import PreviewDomain
from router.domains.transaction import Tx

if TYPE_CHECKING:
    from router.base.rs256 import RsaKey

VALID_DAYS = 7  # for which the state of a link holds, and a day more where it was made late
_DAY = 86_400
_MAC_BYTES = 16
_MAX_SIGNED = 10_000  # links that are kept: a signature takes a millisecond, and lists show a hundred domains
_STATE = struct.Struct(">cH16s")
_PURPOSE = b"state of domain connect links"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the provider of a domain's zone offers: `services` are those of our templates that it has, of the ones that fit the
    domain."""

    zone: str
    provider: str
    sync_url: str
    services: frozenset[Service]


class Discovery(Protocol):
    """Finds out what a domain's DNS provider offers. What was found holds for an hour, that there is nothing for some minutes."""

    def begin(self, name: str, *, tenant_id: str, is_zone: bool, again: bool = False) -> None:
        """Find it out in the background for this tenant, unless that is known; `again` also where nothing was found a moment ago. Does
        nothing while as many are under way as may be, over all or for this tenant."""

    def known(self, name: str, *, is_zone: bool) -> Offer | None:
        """What was found. Asks nobody."""

    async def wait(self, name: str, until: float, *, is_zone: bool) -> None:
        """Until what is under way for that name has ended, or the instant of the monotonic clock. Raises nothing."""


class Subject(enum.Enum):
    """What a state is about."""

    CUSTOM = b"c"
    PREVIEW = b"p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How links are made: our name as a provider of services, the key that signs and the label at which its public half is, and
    where people come back to."""

    provider_id: str
    key: "RsaKey"
    key_name: str
    return_url: str


class DomainConnect:
    """See the module. Methods that are awaited may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        link: Link,
        discovery: Discovery,
        delegations: Delegations | None = None,
        ask_every: float = ASK_EVERY,
    ) -> None:
        """Without `delegations` no link sets up a zone's certificate. `ask_every` is how many seconds lie between two requested checks of one domain."""
        self._store = store
        self._clock = clock
        self._link = link
        self._discovery = discovery
        self._delegations = delegations
        self._ask_every = ask_every
        self._secret = link.key.derive(_PURPOSE)
        self._signed: LRUCache[str, str] = LRUCache(_MAX_SIGNED)

    def of_custom(self, domain: CustomDomain) -> str | None:
        """The link for a custom domain that does not route yet; None where there is none, or none is known yet."""
        if domain.removed_at is not None or domain.status.routes:
            return None
        offer = self._offer(domain.fqdn, domain.tenant_id, is_zone=False)
        if offer is None:
            return None
        service = Service.APEX if domain.fqdn == offer.zone else Service.HOST
        state = self._state(Subject.CUSTOM, domain.id, domain.tenant_id)
        return self._url(offer, service, domain.fqdn, {"token": domain.token}, state)

    async def of_preview(self, preview: PreviewDomain) -> str | None:
        """The link for a preview domain: with the records of its certificate, where the provider has the template for that."""
        offer = self._offer(preview.domain, preview.tenant_id, is_zone=True)
        if offer is None:
            return None
        state = self._state(Subject.PREVIEW, preview.id, preview.tenant_id)
        if self._delegations is not None and Service.WILDCARD in offer.services:
            delegated = await self._delegations.delegated(preview.domain, preview.tenant_id)
            if delegated is not None:
                variables = {"token": preview.token, "delegation": delegated.target.partition(".")[0]}
                return self._url(offer, Service.WILDCARD, preview.domain, variables, state)
        return self._url(offer, Service.ZONE, preview.domain, {"token": preview.token}, state)

    def begin(self, name: str, *, tenant_id: str, is_zone: bool) -> None:
        """Somebody asks about the domain: find out what its provider offers, also where nothing was found a moment ago."""
        self._discovery.begin(name, tenant_id=tenant_id, is_zone=is_zone, again=True)

    async def wait(self, name: str, seconds: float, *, is_zone: bool) -> None:
        """Give what `begin` has begun that long to end."""
        await self._discovery.wait(name, self._clock.monotonic() + seconds, is_zone=is_zone)

    async def returned(self, state: str) -> str | None:
        """Somebody comes back from a provider: check the domain of their link now, and gently again from there. Its name;
        None where the state is none of ours, or void."""
        read = _read_state(state)
        now = self._clock.now()
        if read is None:
            return None
        subject, day, domain_id, mac = read
        if not 0 <= _day_of(now) - day <= VALID_DAYS:
            return None
        async with self._store.begin() as tx:
            if subject is Subject.CUSTOM:
                domain = await tx.custom_domains.get(domain_id)
                if domain is None or domain.removed_at is not None:
                    return None
                if not self._is_ours(mac, subject, domain.id, domain.tenant_id, day):
                    return None
                if not domain.status.routes:
                    check = await self._soon(tx, domain.check, domain.fqdn, domain.tenant_id, now)
                    await tx.custom_domains.save(replace(domain, check=check), routed=False)
                return domain.fqdn
            preview = await tx.preview_domains.by_id(domain_id)
            if preview is None or not self._is_ours(mac, subject, preview.id, preview.tenant_id, day):
                return None
            check = await self._soon(tx, preview.check, preview.domain, preview.tenant_id, now)
            await tx.preview_domains.put(replace(preview, check=check))
        if self._delegations is not None:
            await self._delegations.check_soon(preview.domain, preview.tenant_id)
        return preview.domain

    async def _soon(self, tx: Tx, state: CheckState, name: str, tenant_id: str, now: datetime) -> CheckState:
        """The next check is due now, and those after it come as if the domain were new. Where one was asked for just before, it is due
        as soon as one may be asked for again: reloading the page asks for no more."""
        left = too_soon(state, now, self._ask_every)
        if left is not None:
            return replace(state, next_check_at=min(state.next_check_at, now + timedelta(seconds=left)))
        contested = await tx.claims.foreign(name, tenant_id, now)
        return replace(asked(state, now, contested=contested), next_check_at=now)

    def _offer(self, name: str, tenant_id: str, *, is_zone: bool) -> Offer | None:
        self._discovery.begin(name, tenant_id=tenant_id, is_zone=is_zone)
        return self._discovery.known(name, is_zone=is_zone)

    def _url(self, offer: Offer, service: Service, name: str, variables: Mapping[str, str], state: str) -> str | None:
        if service not in offer.services:
            return None
        host = name.removesuffix(offer.zone).rstrip(".")
        asked_for = {"domain": offer.zone, "redirect_uri": self._link.return_url, "state": state, **variables}
        if host:
            asked_for["host"] = host
        template = f"{offer.sync_url}/v2/domainTemplates/providers/{self._link.provider_id}/services/{service}/apply"
        query = canonical_query(asked_for)
        url = f"{template}?{query}"
        if url not in self._signed:
            signature = base64.b64encode(self._link.key.sign(query.encode())).decode()
            self._signed[url] = f"{url}&sig={quote(signature, safe='')}&key={self._link.key_name}"
        return self._signed[url]

    def _state(self, subject: Subject, domain_id: str, tenant_id: str) -> str:
        """The same for a whole day, so that its link need not be signed anew each time that a domain is shown."""
        day = _day_of(self._clock.now())
        packed = _STATE.pack(subject.value, day, uuid.UUID(domain_id).bytes)
        mac = self._mac(subject, domain_id, tenant_id, day)
        return base64.urlsafe_b64encode(packed + mac).rstrip(b"=").decode()

    def _mac(self, subject: Subject, domain_id: str, tenant_id: str, day: int) -> bytes:
        message = b"\0".join((subject.value, domain_id.encode(), tenant_id.encode(), str(day).encode()))
        return hmac.new(self._secret, message, hashlib.sha256).digest()[:_MAC_BYTES]

    def _is_ours(self, mac: bytes, subject: Subject, domain_id: str, tenant_id: str, day: int) -> bool:
        return hmac.compare_digest(mac, self._mac(subject, domain_id, tenant_id, day))


def canonical_query(parameters: Mapping[str, str]) -> str:
    """A query as it is signed (draft-ietf-dconn-domainconnect, "Signing Procedure"): encoded as in RFC 3986, and sorted by name."""
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _day_of(now: datetime) -> int:
    return int(now.timestamp()) // _DAY


def _read_state(text: str) -> tuple[Subject, int, str, bytes] | None:
    size = _STATE.size + _MAC_BYTES
    if len(text) > 2 * size or not text.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    if len(raw) != size:
        return None
    kind, day, domain_id = _STATE.unpack(raw[: _STATE.size])
    subject = next((one for one in Subject if one.value == kind), None)
    return None if subject is None else (subject, day, str(uuid.UUID(bytes=domain_id)), raw[_STATE.size :])

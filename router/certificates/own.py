"""Certificates that customers bring for their custom domains and preview domains.

    upload    chain and key, or a chain alone for a key that is kept: of a request that the router made, or of the certificate that is
              replaced
    request   the router makes a key and a request (CSR) for it, so that the key never travels
    remove    visitors get the certificate that the router sees to itself, which was kept meanwhile (`fallback`)

A domain has at most one, so a tenant has at most as many as it may have domains. It ends with the owner's hold on the name, in that same
transaction (`store/letting_go.py`). Keys are sealed, and no answer has them.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from router.base.clock import Clock, iso
from router.base.ids import new_id
from router.base.leases import GuardedTransactions, Lease
from router.base.secret_box import NO_SECRETS_KEY, NoSecretsKeyError, SecretBox, SecretLostError
from router.certificates.findings import Finding, RefusedCertificateError, remark
from router.certificates.held import HeldCertificate, Origin, key_purpose, upload_name
from router.certificates.keys import make_csr, new_key
from router.certificates.pem import SOON, inspect, partly
from router.certificates.request import CertificateRequest, request_key_purpose
from router.certificates.subject import Subject, SubjectRef, Tx, find_by_key
from router.domains.certificates import CertificateStatus
from router.domains.names import registrable
from router.errors import CERTIFICATE_REFUSED, CONFLICT, NOT_FOUND, RouterError
from router.tenancy.deadlocks import retry_on_deadlock

WARNED_AT: Final = (30, 14, 3, 1)  # days before the end

_CHUNK: Final = 100  # certificates that one transaction warns of


class Fallback(enum.StrEnum):
    """What visitors get without an uploaded certificate: the zone's own wildcard, or one for each host."""

    WILDCARD = "wildcard"
    PER_HOST = "per_host"


class UploadState(enum.StrEnum):
    """How an uploaded certificate stands. `expiring`: it has less than 30 days left."""

    NONE = "none"
    ACTIVE = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """What a domain's owner has brought, and what else there is. `managed` is the zone's own wildcard; `remarks` are about the upload."""

    subject: Subject
    certificate: HeldCertificate | None
    request: CertificateRequest | None
    managed: HeldCertificate | None
    remarks: tuple[Finding, ...]
    now: datetime

    @property
    def state(self) -> UploadState:
        if self.certificate is None:
            return UploadState.NONE
        left = self.certificate.not_after - self.now
        if left <= timedelta():
            return UploadState.EXPIRED
        return UploadState.EXPIRING if left < SOON else UploadState.ACTIVE

    @property
    def served(self) -> Origin:
        """Which one visitors get now."""
        uploaded = self.certificate is not None and self.certificate.valid(self.now)
        return Origin.UPLOADED if uploaded else Origin.MANAGED

    @property
    def fallback(self) -> Fallback:
        return Fallback.PER_HOST if self.managed is None else Fallback.WILDCARD

    @property
    def fallback_ready(self) -> bool:
        """Whether there is one already that visitors get without the uploaded one; else the first visit gets it."""
        if self.managed is not None:
            return self.managed.valid(self.now)
        seen = self.subject.seen
        if seen is None or seen.status not in {CertificateStatus.ISSUED, CertificateStatus.EXPIRING}:
            return False
        return self.certificate is None or seen.serial != self.certificate.serial


class OwnCertificates:
    """The service. Every method may raise StoreUnavailableError, and RouterError NOT_FOUND where the domain is gone."""

    def __init__(self, store: GuardedTransactions[Tx], clock: Clock, *, box: SecretBox) -> None:
        self._store = store
        self._clock = clock
        self._box = box

    async def get(self, ref: SubjectRef) -> OwnCertificate:
        async with self._store.read() as tx:
            return await self._shown(tx, await ref.find(tx))

    async def named(self, name: str) -> Sequence[OwnCertificate]:
        """Those of the custom domain and of the preview domain of that name. Raises RouterError: NOT_FOUND where it is neither,
        VALIDATION_FAILED."""
        fqdn = registrable(name, (), field="domain")
        async with self._store.read() as tx:
            subjects = [await find_by_key(tx, key) for key in (fqdn, upload_name(fqdn))]
            found = [await self._shown(tx, subject) for subject in subjects if subject is not None]
        if not found:
            raise RouterError(NOT_FOUND, "domain not found")
        return found

    async def subject(self, ref: SubjectRef) -> Subject:
        """Whose it is, for the question who may change it."""
        async with self._store.read() as tx:
            return await ref.find(tx)

    @retry_on_deadlock
    async def upload(self, ref: SubjectRef, certificate: str, private_key: str | None) -> OwnCertificate:
        """Take a certificate in the place of the one before; the same one again changes nothing.

        Raises RouterError: CERTIFICATE_REFUSED with `findings`, CONFLICT where this router has no key to encrypt the key with.
        """
        if not self._box.can_seal:
            raise RouterError(CONFLICT, NO_SECRETS_KEY)
        now = self._clock.now()
        async with self._store.begin() as tx:
            subject = await ref.find(tx)
            old = await tx.held_certificates.get(subject.key, Origin.UPLOADED)
            request = await tx.certificate_requests.get(subject.key)
            old_key, request_key = self._key_of(old), self._key_of_request(request)
            kept = tuple(key for key in (request_key, old_key) if key is not None)
            try:
                found = inspect(certificate, private_key, wanted=subject.wanted, now=now, kept_keys=kept)
            except RefusedCertificateError as error:
                raise _refused(error) from None
            if request is not None and found.key == request_key:
                await tx.certificate_requests.remove(subject.key)
            if old is not None and (old.chain, old_key) == (found.chain, found.key):
                return await self._shown(tx, subject, found.remarks)
            certificate_id = new_id()
            new = HeldCertificate(
                id=certificate_id,
                domain=subject.key,
                tenant_id=subject.tenant_id,
                origin=Origin.UPLOADED,
                names=found.names,
                issuer=found.issuer,
                serial=found.serial,
                not_before=found.not_before,
                not_after=found.not_after,
                chain=found.chain,
                sealed_key=self._box.seal(found.key, purpose=key_purpose(certificate_id)),
                warned_days=_mark(found.not_after - now),
                created_at=now,
            )
            await tx.held_certificates.put(new)
            await _emit_event(tx, subject, new, "certificate.uploaded", now)
            return await self._shown(tx, subject, found.remarks)

    @retry_on_deadlock
    async def remove(self, ref: SubjectRef) -> OwnCertificate:
        """Give up the uploaded certificate and its key; a request stays. Raises RouterError NOT_FOUND where there is none."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            subject = await ref.find(tx)
            old = await tx.held_certificates.get(subject.key, Origin.UPLOADED)
            if old is None:
                raise RouterError(NOT_FOUND, "This domain has no certificate of its owner's.")
            await tx.held_certificates.remove(subject.key, Origin.UPLOADED, now)
            await _emit_event(tx, subject, old, "certificate.upload_removed", now)
            return await self._shown(tx, subject)

    @retry_on_deadlock
    async def request(self, ref: SubjectRef, *, renew: bool = False) -> tuple[CertificateRequest, bool]:
        """The domain's request for a certificate, and whether it is new: the same one until a certificate for it was uploaded, or
        `renew` asks for one with a new key. Raises RouterError CONFLICT where this router has no key to encrypt the key with."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            subject = await ref.find(tx)
            old = await tx.certificate_requests.get(subject.key)
            if old is not None and not renew and self._key_of_request(old) is not None:
                return old, False
            key = new_key()
            try:
                sealed = self._box.seal(key, purpose=request_key_purpose(subject.key))
            except NoSecretsKeyError:
                raise RouterError(CONFLICT, NO_SECRETS_KEY) from None
            new = CertificateRequest(
                domain=subject.key,
                tenant_id=subject.tenant_id,
                sealed_key=sealed,
                csr=make_csr(key, subject.wanted.names, common_name=True),
                names=subject.wanted.names,
                created_at=now,
            )
            await tx.certificate_requests.put(new)
            return new, True

    async def warn(self, lease: Lease) -> None:
        """Tell the owners of certificates that end soon: at each of `WARNED_AT` once, and of several that were missed only the
        last."""
        now = self._clock.now()
        before, after = now + timedelta(days=WARNED_AT[0]), (now, "")
        while True:
            async with self._store.begin(lease) as tx:
                ending = await tx.held_certificates.ending(Origin.UPLOADED, before, after, _CHUNK)
                for certificate in ending:
                    await _warn(tx, certificate, now)
            if len(ending) < _CHUNK:
                return
            after = ending[-1].not_after, ending[-1].id

    async def _shown(self, tx: Tx, subject: Subject, remarks: tuple[Finding, ...] | None = None) -> OwnCertificate:
        certificate = await tx.held_certificates.get(subject.key, Origin.UPLOADED)
        managed = await tx.held_certificates.get(subject.name, Origin.MANAGED) if subject.zone else None
        now = self._clock.now()
        if certificate is None:
            remarks = ()
        elif remarks is None:
            remarks = self._remarks(subject, certificate, now)
        else:
            remarks = (*remarks, *_served_later(subject, certificate, now))
        return OwnCertificate(
            subject=subject,
            certificate=certificate,
            request=await tx.certificate_requests.get(subject.key),
            managed=managed,
            remarks=remarks,
            now=now,
        )

    def _remarks(self, subject: Subject, certificate: HeldCertificate, now: datetime) -> tuple[Finding, ...]:
        """What can be said of one that was stored before."""
        found = [*partly(subject.wanted, certificate.names)]
        if self._key_of(certificate) is None:
            found.append(remark("key_lost"))
        if certificate.not_after <= now:
            found.append(remark("ended", date=iso(certificate.not_after)))
        elif certificate.not_after - now < SOON:
            found.append(remark("ends_soon", date=iso(certificate.not_after)))
        return (*found, *_served_later(subject, certificate, now))

    def _key_of(self, certificate: HeldCertificate | None) -> str | None:
        return None if certificate is None else self._open(certificate.sealed_key, key_purpose(certificate.id))

    def _key_of_request(self, request: CertificateRequest | None) -> str | None:
        return None if request is None else self._open(request.sealed_key, request_key_purpose(request.domain))

    def _open(self, sealed: str, purpose: str) -> str | None:
        """None where the key is gone that it was sealed with: the certificate has to be uploaded again, and `key_lost` says so."""
        try:
            return self._box.open(sealed, purpose=purpose)
        except SecretLostError:
            return None


def _served_later(subject: Subject, certificate: HeldCertificate, now: datetime) -> list[Finding]:
    """That Caddy was last seen to have another certificate for a host, which it keeps until its renewal: it fetches ours only for hosts
    that it has none for in memory."""
    leaf = None if subject.seen is None else subject.seen.leaf
    if leaf is None or leaf.serial == certificate.serial or leaf.not_after <= now:
        return []
    return [remark("served_later", issuer=leaf.issuer, date=iso(leaf.due_at))]


async def _warn(tx: Tx, certificate: HeldCertificate, now: datetime) -> None:
    mark = _mark(certificate.not_after - now)
    told = certificate.warned_days
    if mark is None or (told is not None and told <= mark):
        return
    subject = await find_by_key(tx, certificate.domain)
    if subject is None or not await tx.held_certificates.save(replace(certificate, warned_days=mark)):
        return
    await _emit_event(tx, subject, certificate, "certificate.upload_expiring", now, days=mark)


def _mark(left: timedelta) -> int | None:
    """The last of the marks that has been reached with so much time left; None before the first."""
    reached = [days for days in WARNED_AT if left <= timedelta(days=days)]
    return min(reached, default=None)


async def _emit_event(
    tx: Tx, subject: Subject, certificate: HeldCertificate, event_type: str, now: datetime, **more: Any
) -> None:
    """Store an event of an uploaded certificate, in the transaction of the change."""
    data: Mapping[str, Any] = {
        **subject.event_data,
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_after": iso(certificate.not_after),
        **more,
    }
    await tx.events.emit(event_type, now, tenant_id=subject.tenant_id, **subject.event_place, data=data)


def _refused(error: RefusedCertificateError) -> RouterError:
    fields: dict[str, list[str]] = {}
    for finding in error.findings:
        fields.setdefault(finding.field, []).append(finding.message)
    findings = [{"code": one.code, "field": one.field, "message": one.message} for one in error.findings]
    message = " ".join(one.message for one in error.findings)
    return RouterError(CERTIFICATE_REFUSED, message, fields=fields, beside={"findings": findings})

"""Certificates that customers bring, on both stores: uploaded, replaced, requested, removed, warned of, and gone with the name."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from router.base.clock import ManualClock, iso
from router.base.leases import Lease
from router.base.secret_box import SecretBox
from router.certificates.held import HeldCertificate, Origin, key_purpose
from router.certificates.own import OwnCertificates, UploadState
from router.certificates.subject import CustomRef, ZoneRef
from router.domains.certificates import Certificate, CertificateStatus, Leaf
from router.domains.custom import CustomDomain
from router.domains.lookup import RecordType
from router.errors import CERTIFICATE_REFUSED, CONFLICT, NOT_FOUND, RouterError
from router.routes.records import Kind, Scope
from router.store import Store
from router.tenancy.events import Event, EventFilter
from router.tenancy.tenants import Tenant
from tests.support.database import rows
from tests.support.signer import Signer, key_pem, pem, root
from tests.support.world import World

pytestmark = pytest.mark.asyncio

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
HOST, ZONE = "shop.example.com", "zone.example.org"
WILDCARDS = (f"*.{ZONE}", f"*.sandbox.{ZONE}")
ROOT = root()
DAY = timedelta(days=1)


class Authority:
    """What a customer's authority does, by the test's clock."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.top = ROOT.intermediate(now=clock.now())

    def issue(self, *names: str, key: Any = None, days: tuple[float, float] = (-1, 90)) -> tuple[str, str]:
        """The chain and the key."""
        leaf = self.top.sign(names, key=key, authority=False, days=days, now=self._clock.now())
        return pem(leaf.certificate, self.top.certificate), key_pem(leaf.key)

    def answer(self, csr: str, days: tuple[float, float] = (-1, 90)) -> str:
        """The chain for a request."""
        asked = x509.load_pem_x509_csr(csr.encode())
        assert asked.is_signature_valid
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

        class _Key:
            def public_key(self) -> Any:
                return asked.public_key()

        signed: Signer = self.top.sign(
            tuple(names.get_values_for_type(x509.DNSName)), key=_Key(), days=days, now=self._clock.now()
        )
        return pem(signed.certificate, self.top.certificate)


@pytest.fixture
def authority(clock: ManualClock) -> Authority:
    return Authority(clock)


@pytest.fixture
def own(store: Store, clock: ManualClock) -> OwnCertificates:
    return OwnCertificates(store, clock, box=SecretBox([OLD]))


@pytest_asyncio.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant("Acme")


@pytest_asyncio.fixture
async def domain(world: World, tenant: Tenant) -> CustomDomain:
    computer = await world.sandbox(tenant, "desk", kind=Kind.COMPUTER)
    return await world.domain(computer, HOST)


@pytest_asyncio.fixture
async def zone(world: World, tenant: Tenant) -> ZoneRef:
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    return ZoneRef(Scope.TENANT, tenant.id)


async def events(world: World, tenant: Tenant, kind: str = "certificate.*") -> list[Event]:
    """The oldest first."""
    found = await world.events.list(EventFilter(tenant_id=tenant.id, type=kind))
    return list(reversed(found.items))


async def stored(store: Store, domain: str) -> HeldCertificate | None:
    async with store.read() as tx:
        return await tx.held_certificates.get(domain, Origin.UPLOADED)


async def lease_of(store: Store) -> Lease:
    lease = await store.leases.acquire("warn_of_uploads", "test", 60.0)
    assert lease is not None
    return lease


async def test_an_upload_is_stored_with_its_key_sealed(
    own: OwnCertificates,
    domain: CustomDomain,
    authority: Authority,
    store: Store,
    database: str,
    world: World,
    tenant: Tenant,
) -> None:
    """The chain can be served, the key opens for us alone, and neither the row, the event nor a repr has it in the clear."""
    chain, key = authority.issue(HOST, "www.example.org")
    found = await own.upload(CustomRef(domain.id), chain, key)
    assert (found.state, found.served, found.remarks) == (UploadState.ACTIVE, Origin.UPLOADED, ())
    held = await stored(store, HOST)
    assert held is not None
    assert (held.chain, held.names, held.tenant_id) == (chain, (HOST,), tenant.id)
    assert SecretBox([OLD]).open(held.sealed_key, purpose=key_purpose(held.id)) == key
    inside = key.split("\n")[1]
    for table in ("held_certificates", "events", "outbox"):
        assert inside not in str(await rows(database, f"SELECT * FROM {table}"))  # noqa: S608
    assert inside not in repr((found, held))
    (event,) = await events(world, tenant)
    assert (event.type, event.resource_id, event.domain_id) == ("certificate.uploaded", domain.resource_id, domain.id)
    assert event.data["fqdn"] == HOST
    assert event.data["serial"] == held.serial


async def test_the_same_again_changes_nothing(
    own: OwnCertificates, domain: CustomDomain, authority: Authority, store: Store, world: World, tenant: Tenant
) -> None:
    """Sent twice it is one upload; another one takes its place."""
    chain, key = authority.issue(HOST)
    await own.upload(CustomRef(domain.id), chain, key)
    first = await stored(store, HOST)
    await own.upload(CustomRef(domain.id), chain, key)
    assert await stored(store, HOST) == first
    assert len(await events(world, tenant)) == 1
    await own.upload(CustomRef(domain.id), *authority.issue(HOST))
    second = await stored(store, HOST)
    assert first is not None
    assert second is not None
    assert second.id != first.id
    assert second.serial != first.serial
    assert len(await events(world, tenant)) == 2


async def test_what_is_refused_changes_nothing(
    own: OwnCertificates, domain: CustomDomain, authority: Authority, store: Store, world: World, tenant: Tenant
) -> None:
    """A wrong file says each reason with its code and field, and what is served stays."""
    await own.upload(CustomRef(domain.id), *authority.issue(HOST))
    before = await stored(store, HOST)
    with pytest.raises(RouterError) as refusal:
        await own.upload(CustomRef(domain.id), *authority.issue("other.example.com", days=(-9, -1)))
    assert refusal.value.problem is CERTIFICATE_REFUSED
    findings: Any = refusal.value.beside["findings"]
    assert [one["code"] for one in findings] == ["expired", "names_not_covered"]
    assert refusal.value.fields["certificate"] == [one["message"] for one in findings]
    assert await stored(store, HOST) == before
    assert len(await events(world, tenant)) == 1


async def test_a_request_keeps_the_key_here(
    own: OwnCertificates, domain: CustomDomain, authority: Authority, database: str
) -> None:
    """The chain for the router's request is taken without a key. So is a renewal for the same key."""
    ref = CustomRef(domain.id)
    request, new = await own.request(ref)
    assert new
    assert await own.request(ref) == (request, False)
    assert "PRIVATE KEY" not in str(await rows(database, "SELECT * FROM certificate_requests"))
    assert (await own.get(ref)).request == request
    found = await own.upload(ref, authority.answer(request.csr), None)
    assert (found.state, found.request) == (UploadState.ACTIVE, None)
    renewed = await own.upload(ref, authority.answer(request.csr, days=(-1, 80)), None)
    assert renewed.certificate is not None
    assert found.certificate is not None
    assert renewed.certificate.not_after < found.certificate.not_after


async def test_a_new_request_forgets_the_old_key(
    own: OwnCertificates, domain: CustomDomain, authority: Authority
) -> None:
    """A certificate for the request before is for a key that is gone, and the refusal says so."""
    ref = CustomRef(domain.id)
    old, _ = await own.request(ref)
    new, made = await own.request(ref, renew=True)
    assert made
    with pytest.raises(RouterError) as refusal:
        await own.upload(ref, authority.answer(old.csr), None)
    assert [one["code"] for one in refusal.value.beside["findings"]] == ["kept_key_mismatch"]  # type: ignore[attr-defined]
    assert (await own.upload(ref, authority.answer(new.csr), None)).state is UploadState.ACTIVE


async def test_an_upload_with_its_own_key_leaves_the_request(
    own: OwnCertificates, domain: CustomDomain, authority: Authority
) -> None:
    """While the authority works on a request, another certificate may be uploaded."""
    ref = CustomRef(domain.id)
    request, _ = await own.request(ref)
    assert (await own.upload(ref, *authority.issue(HOST))).request == request
    assert (await own.upload(ref, authority.answer(request.csr), None)).request is None


async def test_a_zone_has_wildcards(own: OwnCertificates, zone: ZoneRef, authority: Authority, store: Store) -> None:
    """Both, or one with a remark on the other; its request asks for both."""
    found = await own.upload(zone, *authority.issue(*WILDCARDS, "example.net"))
    assert found.certificate is not None
    assert (found.certificate.names, found.remarks) == (WILDCARDS, ())
    one = await own.upload(zone, *authority.issue(WILDCARDS[0]))
    assert [remark.code for remark in one.remarks] == ["covers_zone_partly"]
    assert [remark.code for remark in (await own.get(zone)).remarks] == ["covers_zone_partly"]
    request, _ = await own.request(zone)
    assert request.names == WILDCARDS
    assert (await own.upload(zone, authority.answer(request.csr), None)).remarks == ()


async def test_one_name_as_host_and_as_zone(
    own: OwnCertificates, world: World, tenant: Tenant, authority: Authority
) -> None:
    """A tenant may have a name as a custom domain and as a preview domain: each has a certificate of its own, and keeps it when the other one
    goes."""
    computer = await world.sandbox(tenant, "desk", kind=Kind.COMPUTER)
    host = CustomRef((await world.domain(computer, ZONE)).id)
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    zone = ZoneRef(Scope.TENANT, tenant.id)
    await own.upload(host, *authority.issue(ZONE))
    await own.upload(zone, *authority.issue(*WILDCARDS))
    assert (await own.get(host)).state is (await own.get(zone)).state is UploadState.ACTIVE
    await world.domains.remove(host.domain_id)
    assert (await own.get(zone)).state is UploadState.ACTIVE
    again = CustomRef((await world.domain(computer, ZONE)).id)
    assert (await own.get(again)).state is UploadState.NONE
    await own.upload(again, *authority.issue(ZONE))
    await world.previews.clear(Scope.TENANT, tenant.id)
    assert (await own.get(again)).state is UploadState.ACTIVE


async def test_removed(
    own: OwnCertificates,
    domain: CustomDomain,
    authority: Authority,
    world: World,
    tenant: Tenant,
    database: str,
    clock: ManualClock,
) -> None:
    """Its key and chain are blanked at once; a second removal finds nothing."""
    ref = CustomRef(domain.id)
    await own.upload(ref, *authority.issue(HOST))
    clock.advance(1)
    gone = await own.remove(ref)
    assert (gone.state, gone.served) == (UploadState.NONE, Origin.MANAGED)
    assert await rows(database, "SELECT chain, sealed_key FROM held_certificates") == [("", "")]
    assert [event.type for event in await events(world, tenant)] == [
        "certificate.uploaded",
        "certificate.upload_removed",
    ]
    with pytest.raises(RouterError) as nothing:
        await own.remove(ref)
    assert nothing.value.problem is NOT_FOUND


@pytest.mark.parametrize("how", ["domain removed", "resource deleted", "transferred"])
async def test_gone_with_its_domain(
    how: str,
    own: OwnCertificates,
    domain: CustomDomain,
    authority: Authority,
    world: World,
    database: str,
    clock: ManualClock,
) -> None:
    """In the transaction in which the owner loses the name, the certificate, its key and an open request go; who has it next finds none."""
    ref = CustomRef(domain.id)
    await own.upload(ref, *authority.issue(HOST))
    await own.request(ref)
    other = await world.tenant("Globex")
    computer = await world.sandbox(other, "other", kind=Kind.COMPUTER)
    if how == "domain removed":
        await world.domains.remove(domain.id)
    elif how == "resource deleted":
        await world.resources.delete(domain.resource_id)
    else:
        with pytest.raises(RouterError) as taken:
            await world.domains.register(computer.id, HOST)
        claim: Any = taken.value.beside["claim"]
        world.dns.put(f"_miosa-challenge.{HOST}", RecordType.TXT, claim["records"][0]["expected"])
        clock.advance(10)
        await world.domains.register(computer.id, HOST)
    assert await rows(database, "SELECT chain, sealed_key FROM held_certificates") == [("", "")]
    assert await rows(database, "SELECT * FROM certificate_requests") == []
    with pytest.raises(RouterError) as nothing:
        await own.get(ref)
    assert nothing.value.problem is NOT_FOUND
    with pytest.raises(RouterError) as nothing:
        await own.upload(ref, *authority.issue(HOST))
    assert nothing.value.problem is NOT_FOUND


async def test_a_shared_zone_ends_with_its_last_user(
    own: OwnCertificates, world: World, tenant: Tenant, zone: ZoneRef, authority: Authority, database: str
) -> None:
    """Scopes of a tenant with the same zone share its certificate; all of them are said to use it; it goes when the last lets go."""
    workspace = await world.workspace(tenant, "Clinic")
    await world.zone(Scope.WORKSPACE, workspace.id, ZONE)
    shared = ZoneRef(Scope.WORKSPACE, workspace.id)
    await own.upload(zone, *authority.issue(*WILDCARDS))
    assert (await own.get(shared)).state is UploadState.ACTIVE
    places = {(place.workspace_id, place.project_id) for place in (await own.subject(shared)).users}
    assert places == {(None, None), (workspace.id, None)}
    await world.previews.clear(Scope.TENANT, tenant.id)
    assert (await own.get(shared)).state is UploadState.ACTIVE
    with pytest.raises(RouterError, match="no preview domain of its own"):
        await own.get(zone)
    await world.zone(Scope.WORKSPACE, workspace.id, "another.example.org")
    assert await rows(database, "SELECT chain, sealed_key FROM held_certificates") == [("", "")]


async def test_removal_and_upload_at_the_same_time(
    own: OwnCertificates, domain: CustomDomain, authority: Authority, world: World, database: str
) -> None:
    """Whichever comes first, no certificate outlives its domain."""
    chain, key = authority.issue(HOST)
    found = await asyncio.gather(
        own.upload(CustomRef(domain.id), chain, key), world.domains.remove(domain.id), return_exceptions=True
    )
    assert not isinstance(found[1], BaseException)
    assert await rows(database, "SELECT id FROM held_certificates WHERE sealed_key <> ''") == []


async def test_warned_of_its_end_once_at_each_mark(
    own: OwnCertificates,
    domain: CustomDomain,
    zone: ZoneRef,
    authority: Authority,
    store: Store,
    world: World,
    tenant: Tenant,
    clock: ManualClock,
) -> None:
    """30, 14, 3 and 1 days before the end, each once, however often the job runs, and whichever process runs it."""
    await own.upload(CustomRef(domain.id), *authority.issue(HOST, days=(-1, 60.5)))
    await own.upload(zone, *authority.issue(*WILDCARDS, days=(-1, 365)))
    told = []
    for day in range(62):
        for _ in range(2):
            another = OwnCertificates(store, clock, box=SecretBox())
            await another.warn(await lease_of(store))
        expiring = await events(world, tenant, "certificate.upload_expiring")
        told += [(day, event.data["days"]) for event in expiring[len(told) :]]
        clock.advance(86400)
    assert told == [(31, 30), (47, 14), (58, 3), (60, 1)]
    last = (await events(world, tenant, "certificate.upload_expiring"))[-1]
    assert last.data["fqdn"] == HOST
    assert last.domain_id == domain.id
    assert (await own.get(CustomRef(domain.id))).state is UploadState.EXPIRED
    assert [one.code for one in (await own.get(CustomRef(domain.id))).remarks] == ["ended"]


async def test_marks_that_were_missed(
    own: OwnCertificates,
    domain: CustomDomain,
    authority: Authority,
    store: Store,
    world: World,
    tenant: Tenant,
    clock: ManualClock,
) -> None:
    """After a long time without jobs only the last mark is told; a replacement begins anew; marks passed at the upload are not told."""
    ref = CustomRef(domain.id)
    await own.upload(ref, *authority.issue(HOST, days=(-1, 60)))
    clock.advance(58 * 86400)
    await own.warn(await lease_of(store))
    await own.upload(ref, *authority.issue(HOST, days=(-1, 10)))
    await own.warn(await lease_of(store))
    clock.advance(7 * 86400)
    await own.warn(await lease_of(store))
    expiring = await events(world, tenant, "certificate.upload_expiring")
    assert [event.data["days"] for event in expiring] == [3, 3]
    assert expiring[0].data["serial"] != expiring[1].data["serial"]


async def test_without_a_key_for_secrets(
    store: Store, clock: ManualClock, domain: CustomDomain, authority: Authority
) -> None:
    """Nothing is stored, and it is said whose setting is missing."""
    own = OwnCertificates(store, clock, box=SecretBox())
    for attempt in (own.upload(CustomRef(domain.id), *authority.issue(HOST)), own.request(CustomRef(domain.id))):
        with pytest.raises(RouterError, match="secrets_key") as refusal:
            await attempt
        assert refusal.value.problem is CONFLICT


async def test_a_key_that_can_no_longer_be_opened(
    own: OwnCertificates, store: Store, clock: ManualClock, domain: CustomDomain, authority: Authority
) -> None:
    """Once the secrets key is gone, the upload says what to do, and a new request replaces the one that is lost."""
    ref = CustomRef(domain.id)
    await own.upload(ref, *authority.issue(HOST))
    lost, _ = await own.request(ref)
    later = OwnCertificates(store, clock, box=SecretBox([NEW]))
    assert [one.code for one in (await later.get(ref)).remarks] == ["key_lost"]
    request, new = await later.request(ref)
    assert new
    assert request.csr != lost.csr
    assert (await later.upload(ref, authority.answer(request.csr), None)).remarks == ()


async def test_one_that_caddy_has_in_memory_is_said(
    own: OwnCertificates, domain: CustomDomain, authority: Authority, store: Store, clock: ManualClock
) -> None:
    """A host that was visited before keeps its own certificate until that is due for renewal; once the uploaded one was read there, or the other
    has ended, nothing is to be said."""
    ref, now = CustomRef(domain.id), clock.now()

    async def seen(leaf: Leaf) -> None:
        async with store.begin() as tx:
            await tx.certificates.put(
                Certificate(host=HOST, status=CertificateStatus.ISSUED, domain_id=domain.id, leaf=leaf)
            )

    await seen(Leaf(issuer="R10", serial="0a", not_before=now - 30 * DAY, not_after=now + 60 * DAY))
    made = await own.upload(ref, *authority.issue(HOST))
    assert (
        [remark.code for remark in made.remarks]
        == [remark.code for remark in (await own.get(ref)).remarks]
        == ["served_later"]
    )
    assert (iso(now + 30 * DAY) in made.remarks[0].message, made.fallback_ready) == (True, True)
    assert made.certificate is not None
    await seen(made.certificate.leaf)
    found = await own.get(ref)
    assert (found.remarks, found.fallback_ready) == ((), False)
    await seen(Leaf(issuer="R10", serial="0b", not_before=now - 90 * DAY, not_after=now))
    assert (await own.get(ref)).remarks == ()


async def test_what_there_is_without_it(own: OwnCertificates, domain: CustomDomain, zone: ZoneRef) -> None:
    """Nothing was uploaded: the router's own are served, and the first visit gets one where none was seen yet."""
    for ref in (CustomRef(domain.id), zone):
        found = await own.get(ref)
        assert (found.state, found.served, found.fallback_ready) == (UploadState.NONE, Origin.MANAGED, False)
        assert not found.subject.zone or found.managed is None
    with pytest.raises(RouterError):
        await own.get(CustomRef("80000000-0000-4000-8000-000000000000"))

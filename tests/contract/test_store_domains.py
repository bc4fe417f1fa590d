"""Custom and preview domains on a real store: who may hold which name, and what it goes through."""

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.custom import DomainFilter
from router.domains.custom_domains import CustomDomains
from router.domains.preview_domains import PreviewDomains, PreviewStatus, effective
from router.domains.redirects import RedirectPolicy
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, Problem, RouterError
from router.routes.records import DomainStatus, Kind, NameRecord, Scope, name_key
from router.store import Store
from router.tenancy.blocks import BlockKind
from router.tenancy.events import EventFilter
from tests.support.checks import leads_here
from tests.support.world import World

pytestmark = pytest.mark.asyncio


def refused(error: pytest.ExceptionInfo[RouterError], problem: Problem, *fields: str) -> None:
    """That it was this problem, and about these fields."""
    assert error.value.problem is problem
    assert set(error.value.fields) == set(fields)


async def test_the_life_of_a_domain(world: World, clock: ManualClock) -> None:
    """Pending, verified, active, removed, with the instants of each; then the name is free for a new record."""
    tenant = await world.tenant()
    computer = await world.sandbox(tenant, "shop", kind=Kind.COMPUTER, external_user_id="dr-smith")
    domain = await world.domains.register(computer.id, "App.Bücher.example")
    assert (domain.fqdn, domain.fqdn_unicode) == ("app.xn--bcher-kva.example", "app.bücher.example")
    assert (domain.computer_id, domain.deployment_id) == (computer.id, None)
    assert (domain.status, domain.verified_at, domain.verification_target) == (
        DomainStatus.PENDING,
        None,
        "verify.miosa.ai",
    )
    assert (domain.workspace_id, domain.external_user_id) == (computer.workspace_id, "dr-smith")
    clock.advance(60)
    verified = await world.verify(domain.id)
    assert (verified.status, verified.verified_at) == (DomainStatus.VERIFIED, clock.now())
    clock.advance(60)
    active = await world.domains.mark_active(domain.id)
    assert (active.status, active.tls_issued_at) == (DomainStatus.ACTIVE, clock.now())
    clock.advance(60)
    assert await world.domains.mark_active(domain.id) == active
    assert await world.domains.get(domain.id) == await world.domains.find("app.bücher.example") == active
    removed = await world.domains.remove(domain.id)
    assert (removed.status, removed.removed_at) == (DomainStatus.REMOVED, clock.now())
    for attempt in (
        world.domains.get(domain.id),
        world.domains.remove(domain.id),
        world.domains.mark_active(domain.id),
    ):
        with pytest.raises(RouterError) as caught:
            await attempt
        refused(caught, NOT_FOUND)
    assert (await world.domains.register(computer.id, "app.xn--bcher-kva.example")).id != domain.id


async def test_a_failed_domain_says_why_and_may_recover(world: World) -> None:
    """The reason is for its owner and goes away when it is verified again; its instants tell the last time."""
    tenant = await world.tenant()
    domain = await world.domain(await world.sandbox(tenant, "shop"), "www.example.com")
    assert (await world.verify(domain.id)).verified_at == domain.verified_at
    failed = await world.fail(domain.id)
    assert (failed.status, failed.failure_reason) == (DomainStatus.FAILED, "dns_moved")
    with pytest.raises(RouterError) as caught:
        await world.domains.mark_active(domain.id)
    refused(caught, CONFLICT)
    again = await world.verify(domain.id)
    assert (again.status, again.failure_reason) == (DomainStatus.VERIFIED, None)


async def test_suspension_is_apart_from_the_state(world: World) -> None:
    """It blocks the name and gives it back as it was; saying it twice changes nothing."""
    tenant = await world.tenant()
    domain = await world.domain(await world.sandbox(tenant, "shop"), "www.example.com")
    for _ in range(2):
        await world.block(BlockKind.HOST, domain.fqdn)
        suspended = await world.domains.get(domain.id)
        assert (suspended.suspended, suspended.status) == (True, DomainStatus.VERIFIED)
    await world.block(BlockKind.HOST, domain.fqdn, False)
    assert await world.domains.get(domain.id) == domain


async def test_a_name_is_held_once(world: World) -> None:
    """By any tenant, on any resource, in any spelling."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    shop, blog = await world.sandbox(ours, "shop"), await world.sandbox(ours, "blog")
    news = await world.sandbox(theirs, "news")
    await world.domain(shop, "www.example.com", verified=False)
    for resource in (shop, blog, news):
        with pytest.raises(RouterError, match="has already been taken") as caught:
            await world.domains.register(resource.id, "WWW.example.com.")
        refused(caught, CONFLICT, "domain")


async def test_domains_of_a_deleted_resource(world: World, store: Store) -> None:
    """They are removed with it, whatever their state, in one step with their routes; each is an event with the reason. Those
    of other resources stay."""
    tenant = await world.tenant()
    shop, blog = await world.sandbox(tenant, "shop"), await world.sandbox(tenant, "blog")
    gone = [await world.domain(shop, "www.example.com"), await world.domain(shop, "a.example.net", verified=False)]
    stays = await world.domain(blog, "blog.example.com")
    touched: list[str] = []
    store.after_commit(touched.extend)
    await world.resources.delete(shop.id)
    assert {name_key(domain.fqdn) for domain in gone} <= set(touched)
    for domain in gone:
        with pytest.raises(RouterError) as caught:
            await world.domains.get(domain.id)
        refused(caught, NOT_FOUND)
        record = (await store.records.fetch([name_key(domain.fqdn)]))[name_key(domain.fqdn)]
        assert isinstance(record, NameRecord)
        assert (record.status, record.resource) == (DomainStatus.REMOVED, None)
    assert (await world.domains.get(stays.id)).status == "verified"
    events = (await world.events.list(EventFilter(tenant_id=tenant.id))).items
    told = [(event.data["fqdn"], event.data["reason"]) for event in events if event.type == "domain.removed"]
    assert sorted(told) == [("a.example.net", "resource_deleted"), ("www.example.com", "resource_deleted")]


async def test_so_many_domains_of_one_tenant(world: World, store: Store, clock: ManualClock) -> None:
    """Custom domains and preview domains together; what is removed makes room, what is set anew takes none."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    domains = CustomDomains(store, clock, proofs=world.transfers, reserved=(), target="verify.miosa.ai", max_domains=3)
    previews = PreviewDomains(store, clock, proofs=world.transfers, reserved=(), max_domains=3)
    first = await domains.register(shop.id, "a.example.com")
    await domains.register(shop.id, "b.example.com")
    await previews.set(Scope.TENANT, tenant.id, "preview.example.com")
    await previews.set(Scope.TENANT, tenant.id, "other.example.com")
    workspace = await world.workspaces.default(tenant.id)
    for attempt in (
        lambda: domains.register(shop.id, "c.example.com"),
        lambda: previews.set(Scope.WORKSPACE, workspace.id, "zone.example.com"),
    ):
        with pytest.raises(RouterError, match="this account has 3 domains, and may have 3") as caught:
            await attempt()
        assert caught.value.problem is CONFLICT
    await domains.remove(first.id)
    await domains.register(shop.id, "c.example.com")
    theirs = await world.sandbox(await world.tenant("Theirs"), "news")
    await domains.register(theirs.id, "a.example.org")


async def test_the_name_of_a_deleted_resource(world: World) -> None:
    """Its DNS record still leads here, so only its own tenant may point it at something else."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    shop, blog = await world.sandbox(ours, "shop"), await world.sandbox(ours, "blog")
    news = await world.sandbox(theirs, "news")
    old = await world.domain(shop, "www.example.com")
    await world.resources.delete(shop.id)
    with pytest.raises(RouterError) as caught:
        await world.domains.register(news.id, "www.example.com")
    refused(caught, CONFLICT, "domain")
    new = await world.domains.register(blog.id, "www.example.com")
    assert new.resource_id == blog.id
    with pytest.raises(RouterError) as caught:
        await world.domains.get(old.id)
    refused(caught, NOT_FOUND)


async def test_a_name_in_another_tenant_s_zone(world: World) -> None:
    """Their wildcard record would prove the name for any tenant, so it is theirs; in one's own zone it is allowed."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    shop, news = await world.sandbox(ours, "shop"), await world.sandbox(theirs, "news")
    await world.zone(Scope.TENANT, ours.id, "preview.example.com")
    for name in ("x.preview.example.com", "3000-shop.sandbox.preview.example.com", "preview.example.com"):
        with pytest.raises(RouterError) as caught:
            await world.domains.register(news.id, name)
        refused(caught, CONFLICT, "domain")
        await world.domains.register(shop.id, name)
    await world.domains.register(news.id, "example.com")


@pytest.mark.parametrize("name", ["", "co.uk", "1.2.3.4", "miosa.app", "x.miosa.ai", "*.example.com", "a b.com"])
async def test_what_is_not_registered(world: World, name: str) -> None:
    """Neither as a custom nor as a preview domain."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    with pytest.raises(RouterError) as caught:
        await world.domains.register(shop.id, name)
    refused(caught, VALIDATION_FAILED, "domain")
    with pytest.raises(RouterError) as caught:
        await world.previews.set(Scope.TENANT, tenant.id, name)
    refused(caught, VALIDATION_FAILED, "preview_domain")


async def test_redirects_are_checked(world: World) -> None:
    """Unknown policies and statuses are wrong fields, and two names never redirect to each other."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    with pytest.raises(RouterError) as caught:
        await world.domains.register(shop.id, "example.com", redirect_policy="upside_down", redirect_status=200)
    refused(caught, VALIDATION_FAILED, "redirect_policy", "redirect_status")
    apex = await world.domains.register(shop.id, "example.com", redirect_policy="apex_to_www", redirect_status=301)
    assert (apex.redirect_policy, apex.redirect_to) == (RedirectPolicy.APEX_TO_WWW, "www.example.com")
    with pytest.raises(RouterError) as caught:
        await world.domains.register(shop.id, "www.example.com", redirect_policy="www_to_apex")
    refused(caught, VALIDATION_FAILED, "redirect_policy")
    www = await world.domains.register(shop.id, "www.example.com")
    with pytest.raises(RouterError) as caught:
        await world.domains.redirect(www.id, "www_to_apex")
    refused(caught, VALIDATION_FAILED, "redirect_policy")
    assert (await world.domains.redirect(apex.id, None)).redirect_to is None
    assert (await world.domains.redirect(www.id, "www_to_apex")).redirect_to == "example.com"


async def test_a_domain_follows_its_resource(world: World) -> None:
    """Its workspace and project are those of its resource, wherever that moves; lists find it there."""
    tenant = await world.tenant()
    one, two = await world.workspace(tenant, "One"), await world.workspace(tenant, "Two")
    project = await world.project(one, "Site")
    shop = await world.sandbox(tenant, "shop", project_id=project.id)
    domain = await world.domain(shop, "www.example.com")
    await world.projects.move(project.id, two.id)
    assert (await world.domains.get(domain.id)).workspace_id == two.id
    assert (await world.domains.list(DomainFilter(workspace_id=one.id))).total == 0
    assert (await world.domains.list(DomainFilter(workspace_id=two.id, kind=Kind.SANDBOX))).total == 1


async def test_lists_leave_out_what_was_removed(world: World) -> None:
    """Unless it is asked for."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    domain = await world.domain(shop, "www.example.com")
    await world.domain(shop, "example.com", verified=False)
    await world.domains.remove(domain.id)
    listing = await world.domains.list(DomainFilter(resource_id=shop.id))
    assert [item.fqdn for item in listing.items] == ["example.com"]
    removed = await world.domains.list(DomainFilter(tenant_id=tenant.id, status=DomainStatus.REMOVED))
    assert [item.fqdn for item in removed.items] == ["www.example.com"]


async def test_a_resource_that_is_not_there(world: World) -> None:
    """Nothing is registered for it."""
    with pytest.raises(RouterError) as caught:
        await world.domains.register(new_id(), "www.example.com")
    refused(caught, NOT_FOUND)


async def test_the_life_of_a_preview_domain(world: World, clock: ManualClock) -> None:
    """Set, verified, changed (and then unverified again), cleared."""
    tenant = await world.tenant()
    scope = (Scope.TENANT, tenant.id)
    assert await world.previews.get(*scope) is None
    first = await world.previews.set(*scope, "Preview.Example.com")
    assert (first.domain, first.status, first.dns_status) == (
        "preview.example.com",
        PreviewStatus.PENDING_DNS,
        "pending",
    )
    clock.advance(60)
    verified = await world.verify_zone(*scope)
    assert (verified.status, verified.verified_at) == (PreviewStatus.VERIFIED, clock.now())
    assert await world.previews.set(*scope, "preview.example.com") == verified
    changed = await world.previews.set(*scope, "other.example.com")
    assert (changed.id, changed.status, changed.verified_at) == (first.id, PreviewStatus.PENDING_DNS, None)
    with pytest.raises(RouterError, match="changed meanwhile"):
        await world.preview_results.apply_check(verified, leads_here(verified.domain), requested=True)
    failed = await world.fail_zone(*scope)
    assert (failed.status, failed.failure_reason) == (PreviewStatus.FAILED, "never_verified")
    assert await world.previews.clear(*scope) == failed
    assert await world.previews.clear(*scope) is None
    with pytest.raises(RouterError) as caught:
        await world.preview_results.apply_check(failed, leads_here(failed.domain), requested=True)
    refused(caught, NOT_FOUND)


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_scope_that_is_not_there(world: World, scope: Scope) -> None:
    """Has no preview domain and gets none."""
    for attempt in (
        world.previews.get(scope, new_id()),
        world.previews.set(scope, new_id(), "example.com"),
        world.previews.clear(scope, new_id()),
    ):
        with pytest.raises(RouterError) as caught:
            await attempt
        refused(caught, NOT_FOUND)


async def test_two_tenants_never_share_a_preview_domain(world: World, clock: ManualClock) -> None:
    """The scopes of one may; 30 days after the last of them let go, another may take it."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    workspace = await world.workspaces.default(ours.id)
    await world.previews.set(Scope.TENANT, ours.id, "example.com")
    await world.previews.set(Scope.WORKSPACE, workspace.id, "example.com")
    for _ in range(2):
        with pytest.raises(RouterError, match="has already been taken") as caught:
            await world.previews.set(Scope.TENANT, theirs.id, "example.com")
        refused(caught, CONFLICT, "preview_domain")
        await world.previews.clear(Scope.TENANT, ours.id)
    await world.previews.clear(Scope.WORKSPACE, workspace.id)
    clock.advance(30 * 86400 + 1)
    assert (await world.previews.set(Scope.TENANT, theirs.id, "example.com")).tenant_id == theirs.id


async def test_which_preview_domain_holds(world: World) -> None:
    """The project's before the workspace's before the tenant's; none of them is the platform's."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")

    async def holds() -> str | None:
        found = effective(await world.previews.of_tenant(tenant.id), workspace.id, project.id)
        return found.domain if found else None

    assert await holds() is None
    await world.zone(Scope.TENANT, tenant.id, "tenant.example.com", verified=False)
    assert await holds() == "tenant.example.com"
    await world.zone(Scope.WORKSPACE, workspace.id, "workspace.example.com")
    assert await holds() == "workspace.example.com"
    await world.zone(Scope.PROJECT, project.id, "project.example.com")
    assert await holds() == "project.example.com"
    other = effective(await world.previews.of_tenant(tenant.id), new_id(), new_id())
    assert other is not None
    assert other.domain == "tenant.example.com"


async def test_events_of_a_project_s_preview_domain(world: World) -> None:
    """They lie in its workspace too: webhooks of the workspace receive them."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    await world.zone(Scope.PROJECT, project.id, "example.com")
    await world.previews.clear(Scope.PROJECT, project.id)
    told = (
        await world.events.list(EventFilter(tenant_id=tenant.id, workspace_id=workspace.id, type="preview_domain.*"))
    ).items
    assert sorted(event.type.partition(".")[2] for event in told) == ["cleared", "set", "verified"]
    assert {event.project_id for event in told} == {project.id}

"""The precedence chain, case by case: which record answers for a host, and why."""

from dataclasses import dataclass, replace

import pytest

from router.errors import BLOCKED, HOST_NOT_FOUND, RESOURCE_DELETED, STARTING, STOPPED, Problem
from router.hostname import host_meanings, parse_host
from router.routes.chain import REASONS, Decision, Level, decide
from router.routes.records import DomainStatus, Kind, Record, ResourceRecord, State, ZoneMember, keys_of
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, claim, name, resource, zone

SHOP = resource("shop")
BLOG = resource("blog", project_id="acme-p2")  # same workspace, another project
LAB = resource("lab", workspace_id="acme-w2", project_id="acme-p3")  # another workspace
EVIL = resource("evil", tenant_id="evil", workspace_id="evil-w1", project_id="evil-p1")  # another tenant
# Nobody else's ids, but another tenant's: containment is by tenant first.
FORGED = resource("forged", tenant_id="evil")
RESOURCES = (SHOP, BLOG, LAB, EVIL, FORGED)

PROJECT = claim("project", "acme-p1")
WORKSPACE = claim("workspace", "acme-w1")
TENANT = claim("tenant", "acme")


def unverified(item: ZoneMember) -> ZoneMember:
    """The same claim before its domain is verified."""
    return replace(item, verified=False)


@dataclass(frozen=True)
class Case:
    """A host, the records that exist beside `RESOURCES`, and what must come out."""

    says: str
    host: str
    records: tuple[Record, ...]
    level: Level
    reason: str
    problem: Problem | None = None
    slug: str | None = None
    port: int | None = None
    zone: str | None = None


def served(
    says: str, host: str, records: tuple[Record, ...], level: Level, slug: str, port: int = 3000, *, zone: str | None
) -> Case:
    """A case in which a resource answers."""
    return Case(says, host, records, level, "served", None, slug, port, zone)


def refused(says: str, host: str, records: tuple[Record, ...], reason: str) -> Case:
    """A case in which nothing is known: the same 404 for all of them."""
    return Case(says, host, records, Level.NONE, reason, HOST_NOT_FOUND)


ALL = zone("example.com", TENANT, WORKSPACE, PROJECT)  # in the wrong order, which must not matter

CASES = [
    # the platform domain: every resource, always
    served("platform: default port", "shop.miosa.app", (), Level.PLATFORM, "shop", zone=PLATFORM),
    served("platform: sandbox form", "shop.sandbox.miosa.app", (), Level.PLATFORM, "shop", zone=PLATFORM),
    served("platform: a port", "5173-shop.sandbox.miosa.app", (), Level.PLATFORM, "shop", 5173, zone=PLATFORM),
    served("platform: any tenant", "evil.miosa.app", (), Level.PLATFORM, "evil", zone=PLATFORM),
    served("platform remains beside zones", "shop.miosa.app", (ALL,), Level.PLATFORM, "shop", zone=PLATFORM),
    served(
        "platform remains beside an exact domain",
        "5173-shop.sandbox.miosa.app",
        (name("shop.example.com", SHOP), ALL),
        Level.PLATFORM,
        "shop",
        5173,
        zone=PLATFORM,
    ),
    served(
        "a zone record of the platform domain takes nothing away",
        "evil.miosa.app",
        (zone(PLATFORM, TENANT),),
        Level.PLATFORM,
        "evil",
        zone=PLATFORM,
    ),
    refused("platform: no such slug", "nothing.miosa.app", (), "no_such_resource"),
    refused("platform: no such slug, sandbox form", "nothing.sandbox.miosa.app", (), "no_such_resource"),
    refused("platform: no such slug on a port", "80-nothing.sandbox.miosa.app", (), "no_such_resource"),
    refused("the platform domain itself", "miosa.app", (), "unknown_host"),
    refused("a reserved word", "www.miosa.app", (), "unknown_host"),
    refused("sandbox. of the platform", "sandbox.miosa.app", (), "unknown_host"),
    refused("a label too many", "x.shop.miosa.app", (), "unknown_host"),
    refused("the platform's name elsewhere", "shop.miosa.app.example.net", (), "unknown_host"),
    # the scopes of one zone, in order
    served("project over workspace and tenant", "shop.example.com", (ALL,), Level.PROJECT, "shop", zone="example.com"),
    served(
        "workspace over tenant, for another project's resource",
        "blog.example.com",
        (ALL,),
        Level.WORKSPACE,
        "blog",
        zone="example.com",
    ),
    served("tenant, for another workspace's", "lab.example.com", (ALL,), Level.TENANT, "lab", zone="example.com"),
    served(
        "workspace over tenant",
        "shop.example.com",
        (zone("example.com", TENANT, WORKSPACE),),
        Level.WORKSPACE,
        "shop",
        zone="example.com",
    ),
    served(
        "project over tenant",
        "shop.example.com",
        (zone("example.com", TENANT, PROJECT),),
        Level.PROJECT,
        "shop",
        zone="example.com",
    ),
    served(
        "an unverified project zone passes to the workspace's",
        "shop.example.com",
        (zone("example.com", unverified(PROJECT), WORKSPACE, TENANT),),
        Level.WORKSPACE,
        "shop",
        zone="example.com",
    ),
    served(
        "unverified project and workspace zones pass to the tenant's",
        "shop.example.com",
        (zone("example.com", unverified(PROJECT), unverified(WORKSPACE), TENANT),),
        Level.TENANT,
        "shop",
        zone="example.com",
    ),
    served(
        "a zone with a port", "5173-shop.sandbox.example.com", (ALL,), Level.PROJECT, "shop", 5173, zone="example.com"
    ),
    served("a zone's sandbox form", "shop.sandbox.example.com", (ALL,), Level.PROJECT, "shop", zone="example.com"),
    # containment
    refused("another tenant's slug", "evil.example.com", (ALL,), "no_such_resource"),
    refused("another tenant's slug on a port", "5173-evil.sandbox.example.com", (ALL,), "no_such_resource"),
    refused("another tenant's resource with this project's id", "forged.example.com", (ALL,), "no_such_resource"),
    refused("another project's slug", "blog.example.com", (zone("example.com", PROJECT),), "no_such_resource"),
    refused("another workspace's slug", "lab.example.com", (zone("example.com", WORKSPACE),), "no_such_resource"),
    refused("no such slug in a zone", "nothing.example.com", (ALL,), "no_such_resource"),
    served(
        "two tenants share a zone: each is served its own",
        "evil.example.com",
        (zone("example.com", TENANT, claim("tenant", "evil", "evil")),),
        Level.TENANT,
        "evil",
        zone="example.com",
    ),
    # zones that are not verified, or not there
    refused("an unverified zone", "shop.example.com", (zone("example.com", unverified(TENANT)),), "not_verified"),
    refused(
        "another's unverified zone", "evil.example.com", (zone("example.com", unverified(TENANT)),), "not_verified"
    ),
    refused(
        "verified for others only",
        "shop.example.com",
        (zone("example.com", unverified(TENANT), claim("tenant", "evil", "evil")),),
        "not_verified",
    ),
    refused(
        "an unverified zone without that slug",
        "no.example.com",
        (zone("example.com", unverified(TENANT)),),
        "unknown_host",
    ),
    refused("nobody's zone", "shop.example.com", (), "unknown_host"),
    refused("a zone without claims", "shop.example.com", (zone("example.com"),), "not_verified"),
    # zones that nest
    served(
        "the more specific zone wins",
        "shop.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", PROJECT)),
        Level.PROJECT,
        "shop",
        zone="sandbox.example.com",
    ),
    served(
        "the more specific zone wins whatever its scope",
        "shop.sandbox.example.com",
        (zone("example.com", PROJECT), zone("sandbox.example.com", TENANT)),
        Level.TENANT,
        "shop",
        zone="sandbox.example.com",
    ),
    served(
        "a specific zone that doesn't contain the resource passes to the outer one",
        "blog.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", PROJECT)),
        Level.TENANT,
        "blog",
        zone="example.com",
    ),
    served(
        "an unverified specific zone passes to the outer one",
        "shop.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", unverified(PROJECT))),
        Level.TENANT,
        "shop",
        zone="example.com",
    ),
    served(
        "another tenant's inner zone hides nothing",
        "shop.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", claim("tenant", "evil", "evil"))),
        Level.TENANT,
        "shop",
        zone="example.com",
    ),
    served(
        "with a port the name has one reading",
        "5173-shop.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", PROJECT)),
        Level.TENANT,
        "shop",
        5173,
        zone="example.com",
    ),
    served(
        "only the inner zone exists",
        "shop.sandbox.example.com",
        (zone("sandbox.example.com", TENANT),),
        Level.TENANT,
        "shop",
        zone="sandbox.example.com",
    ),
    refused(
        "neither of two contains it",
        "evil.sandbox.example.com",
        (zone("example.com", TENANT), zone("sandbox.example.com", PROJECT)),
        "no_such_resource",
    ),
    refused(
        "the first zone's reason is kept",
        "shop.sandbox.example.com",
        (zone("example.com", claim("tenant", "evil", "evil")), zone("sandbox.example.com", unverified(PROJECT))),
        "not_verified",
    ),
    # exact custom domains
    served(
        "exact over the platform", "blog.miosa.app", (name("blog.miosa.app", SHOP),), Level.EXACT, "shop", zone=None
    ),
    served(
        "exact over zones",
        "blog.example.com",
        (name("blog.example.com", SHOP), ALL),
        Level.EXACT,
        "shop",
        zone=None,
    ),
    served(
        "exact, verified", "x.org", (name("x.org", SHOP, status=DomainStatus.VERIFIED),), Level.EXACT, "shop", zone=None
    ),
    served("exact, one label", "intranet", (name("intranet", SHOP),), Level.EXACT, "shop", zone=None),
    served(
        "a pending domain is as good as absent",
        "blog.example.com",
        (name("blog.example.com", SHOP, status=DomainStatus.PENDING), ALL),
        Level.WORKSPACE,
        "blog",
        zone="example.com",
    ),
    served(
        "a failed domain is as good as absent",
        "blog.example.com",
        (name("blog.example.com", SHOP, status=DomainStatus.FAILED), ALL),
        Level.WORKSPACE,
        "blog",
        zone="example.com",
    ),
    served(
        "a removed domain is as good as absent",
        "blog.example.com",
        (name("blog.example.com", SHOP, status=DomainStatus.REMOVED), ALL),
        Level.WORKSPACE,
        "blog",
        zone="example.com",
    ),
    refused("pending", "x.org", (name("x.org", SHOP, status=DomainStatus.PENDING),), "not_verified"),
    refused("failed", "x.org", (name("x.org", SHOP, status=DomainStatus.FAILED),), "not_verified"),
    refused("removed", "x.org", (name("x.org", SHOP, status=DomainStatus.REMOVED),), "removed"),
    refused(
        "removed, and no such slug in the zone",
        "no.example.com",
        (name("no.example.com", SHOP, status=DomainStatus.REMOVED), ALL),
        "removed",
    ),
    refused(
        "pending, and another's slug in the zone",
        "evil.example.com",
        (name("evil.example.com", SHOP, status=DomainStatus.PENDING), ALL),
        "not_verified",
    ),
    Case(
        "a suspended domain: nothing else answers in its place",
        "shop.example.com",
        (name("shop.example.com", SHOP, suspended=True), ALL),
        Level.EXACT,
        "suspended",
        BLOCKED,
    ),
    Case(
        "a suspended domain that is not verified",
        "x.org",
        (name("x.org", SHOP, suspended=True, status=DomainStatus.PENDING),),
        Level.EXACT,
        "suspended",
        BLOCKED,
    ),
    Case("a domain whose resource is gone", "x.org", (name("x.org", None),), Level.EXACT, "removed", RESOURCE_DELETED),
    Case(
        "a domain whose resource is gone hides the zone",
        "shop.example.com",
        (name("shop.example.com", None), ALL),
        Level.EXACT,
        "removed",
        RESOURCE_DELETED,
    ),
]


def run(host: str, *records: Record, reserved: frozenset[int] = frozenset()) -> Decision:
    """Decide on the records that a source would have fetched for this host, and no others."""
    everything = RESOURCES + records
    table = dict(zip(MemoryRecords().put(*everything), everything, strict=True))
    canonical = parse_host(host.encode())
    meanings = host_meanings(canonical)
    found = {key: table.get(key) for key in keys_of(canonical, meanings)}
    return decide(canonical, meanings, found, PLATFORM, reserved)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_precedence(case: Case) -> None:
    """Exact domain, then the zones from the most specific, each project → workspace → tenant, then the platform."""
    decision = run(case.host, *case.records)
    assert (decision.level, decision.reason, decision.problem) == (case.level, case.reason, case.problem)
    assert (decision.resource.slug if decision.resource else None) == case.slug
    assert (decision.port, decision.zone) == (case.port, case.zone)
    assert decision.reason in REASONS
    assert decision.steps
    assert decision.redirect_to is None


def test_every_case_has_a_name() -> None:
    """A case that fails must be found by what it says."""
    assert len({case.says for case in CASES}) == len(CASES)


STATES: list[tuple[str, dict[str, object], str, Problem | None]] = [
    ("running", {}, "served", None),
    ("provisioning", {"state": State.PROVISIONING}, "starting", STARTING),
    ("starting", {"state": State.STARTING}, "starting", STARTING),
    ("running, endpoint not known yet", {"endpoint": None}, "starting", STARTING),
    ("paused", {"state": State.PAUSED}, "stopped", STOPPED),
    ("stopping", {"state": State.STOPPING}, "stopped", STOPPED),
    ("stopped", {"state": State.STOPPED}, "stopped", STOPPED),
    ("stopped without endpoint", {"state": State.STOPPED, "endpoint": None}, "stopped", STOPPED),
    ("error", {"state": State.ERROR}, "stopped", STOPPED),
    ("destroyed", {"state": State.DESTROYED}, "removed", RESOURCE_DELETED),
    ("destroyed, port not exposed", {"state": State.DESTROYED, "default_port": None}, "removed", RESOURCE_DELETED),
    ("suspended", {"suspended": True}, "suspended", BLOCKED),
    ("suspended over stopped", {"suspended": True, "state": State.STOPPED}, "suspended", BLOCKED),
    ("suspended over destroyed", {"suspended": True, "state": State.DESTROYED}, "suspended", BLOCKED),
    ("no default port", {"default_port": None}, "port_not_exposed", HOST_NOT_FOUND),
    (
        "no default port, every port exposed",
        {"default_port": None, "exposed_ports": None},
        "port_not_exposed",
        HOST_NOT_FOUND,
    ),
    ("nothing else exposed", {"exposed_ports": frozenset()}, "served", None),
]


def test_each_state_has_its_case() -> None:
    """A state that is added to the records is added to the table."""
    assert {values.get("state", State.RUNNING) for _, values, _, _ in STATES} == set(State)


@pytest.mark.parametrize(("says", "values", "reason", "problem"), STATES, ids=[says for says, *_ in STATES])
@pytest.mark.parametrize("host", ["shop.miosa.app", "shop.sandbox.miosa.app", "shop.example.com", "www.shop.org"])
def test_states(host: str, says: str, values: dict[str, object], reason: str, problem: Problem | None) -> None:
    """What the resource is doing decides the answer in the same way at every level."""
    shop = resource("shop", **values)
    decision = run(host, shop, ALL, name("www.shop.org", shop))
    assert (decision.reason, decision.problem, decision.resource) == (reason, problem, shop)
    assert decision.level in {Level.PLATFORM, Level.PROJECT, Level.EXACT}
    assert decision.reason in REASONS


def test_what_is_blocked_under_a_zone_that_is_not_verified() -> None:
    """It is blocked there too, for its own tenant's zone; another's says nothing of it, and who serves the host does."""
    shop = resource("shop", suspended=True)
    waiting, theirs = unverified(TENANT), unverified(claim("tenant", "evil", "evil"))
    decision = run("shop.example.com", shop, zone("example.com", waiting))
    assert (decision.reason, decision.problem) == ("suspended", BLOCKED)
    assert run("shop.example.com", shop, zone("example.com", theirs)).reason == "not_verified"
    pending = name("shop.example.com", SHOP, status=DomainStatus.PENDING)
    assert run("shop.example.com", shop, pending, zone("example.com", waiting)).reason == "not_verified"
    assert run("shop.example.com", shop, name("shop.example.com", SHOP), zone("example.com", waiting)).problem is None


PORTS: list[tuple[str, frozenset[int] | None, int | None, str]] = [
    ("5173-shop.sandbox.miosa.app", frozenset({5173}), 3000, "served"),
    ("3000-shop.sandbox.miosa.app", frozenset(), 3000, "served"),
    ("5174-shop.sandbox.miosa.app", frozenset({5173}), 3000, "port_not_exposed"),
    ("5174-shop.sandbox.miosa.app", None, 3000, "served"),
    ("5174-shop.sandbox.miosa.app", None, None, "served"),
    ("1-shop.sandbox.miosa.app", frozenset({1}), None, "served"),
    ("65535-shop.sandbox.miosa.app", frozenset({65535}), None, "served"),
]


@pytest.mark.parametrize(("host", "exposed", "default", "reason"), PORTS)
def test_ports(host: str, exposed: frozenset[int] | None, default: int | None, reason: str) -> None:
    """The default port, the exposed ones, and every port of a resource that exposes all of them."""
    decision = run(host, resource("shop", exposed_ports=exposed, default_port=default))
    assert decision.reason == reason
    assert decision.problem is (None if reason == "served" else HOST_NOT_FOUND)
    assert decision.port == int(host.partition("-")[0])


@pytest.mark.parametrize("host", ["5173-shop.sandbox.miosa.app", "shop.miosa.app", "shop.example.com", "shop.org"])
@pytest.mark.parametrize("values", [{}, {"suspended": True}, {"state": State.DESTROYED}], ids=str)
def test_reserved_ports_are_never_served(host: str, values: dict[str, object]) -> None:
    """An agent's port answers 404 whether the host names it or a resource has it as its default."""
    shop = resource("shop", **values)
    decision = run(host, shop, ALL, name("shop.org", shop), reserved=frozenset({3000, 5173}))
    assert (decision.reason, decision.problem) == ("reserved_port", HOST_NOT_FOUND)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_resource_is_routed_alike(kind: Kind) -> None:
    """Sandboxes, computers and deployments differ in name only."""
    assert run("shop.miosa.app", resource("shop", kind=kind)).reason == "served"


@pytest.mark.parametrize("target", [SHOP, None, resource("shop", suspended=True)], ids=["shop", "gone", "suspended"])
def test_a_redirect_leads_elsewhere_before_anything_is_asked_of_the_resource(target: ResourceRecord | None) -> None:
    """A domain that only redirects does so whatever became of its resource."""
    decision = run("shop.org", name("shop.org", target, redirect_to="www.shop.org", redirect_status=301))
    assert (decision.level, decision.reason, decision.problem) == (Level.EXACT, "redirect", None)
    assert (decision.redirect_to, decision.redirect_status) == ("www.shop.org", 301)


@pytest.mark.parametrize("changes", [{"suspended": True}, {"status": DomainStatus.PENDING}], ids=str)
def test_a_domain_that_does_not_route_does_not_redirect(changes: dict[str, object]) -> None:
    """Only verified and active domains that are not suspended redirect."""
    decision = run("shop.org", name("shop.org", SHOP, redirect_to="www.shop.org", **changes))
    assert decision.redirect_to is None
    assert decision.problem in {BLOCKED, HOST_NOT_FOUND}


def test_the_steps_tell_the_story_of_the_look_up() -> None:
    """`explain` shows each record that was looked at, whether it was there and what it meant."""
    decision = run("blog.sandbox.example.com", zone("example.com", TENANT), zone("sandbox.example.com", PROJECT))
    assert [(step.key, step.found) for step in decision.steps] == [
        ("name:blog.sandbox.example.com", False),
        ("zone:sandbox.example.com", True),
        ("zone:example.com", True),
        ("slug:blog", True),
    ]
    assert [step.outcome for step in decision.steps] == [
        "no custom domain of this name",
        "a preview domain of others than the resource's owner",
        "the tenant preview domain contains the resource",
        "served: port 3000 of this sandbox",
    ]


def test_unknown_hosts_and_others_hosts_get_the_same_problem() -> None:
    """Nobody can learn from the answer whether a name exists for somebody else."""
    problems = {
        run(
            host, ALL, zone("pending.com", unverified(TENANT)), name("pending.org", SHOP, status=DomainStatus.PENDING)
        ).problem
        for host in (
            "evil.example.com",
            "nothing.example.com",
            "shop.pending.com",
            "pending.org",
            "unknown.org",
            "nothing.miosa.app",
            "5174-shop.sandbox.miosa.app",
        )
    }
    assert problems == {HOST_NOT_FOUND}


def test_a_record_of_the_wrong_sort_counts_as_absent() -> None:
    """A cache that answers with something else under a key can't make it mean more than it should."""
    meanings = host_meanings("shop.example.com")
    found: dict[str, Record | None] = {
        "name:shop.example.com": SHOP,
        "zone:example.com": SHOP,
        "slug:shop": ALL,
    }
    decision = decide("shop.example.com", meanings, found, PLATFORM)
    assert (decision.reason, decision.problem) == ("unknown_host", HOST_NOT_FOUND)
    found["slug:shop"] = SHOP
    assert decide("shop.example.com", meanings, found, PLATFORM).problem is HOST_NOT_FOUND


def test_a_host_needs_at_most_five_records() -> None:
    """Everything comes in one round trip: the keys are computed from the host alone, each once."""
    assert keys_of("shop.sandbox.example.com", host_meanings("shop.sandbox.example.com")) == (
        "name:shop.sandbox.example.com",
        "zone:sandbox.example.com",
        "zone:example.com",
        "slug:shop",
    )
    assert keys_of("5173-shop.sandbox.d.com", host_meanings("5173-shop.sandbox.d.com")) == (
        "name:5173-shop.sandbox.d.com",
        "zone:d.com",
        "slug:shop",
    )
    assert keys_of("[::1]", host_meanings("[::1]")) == ("name:[::1]",)


def test_what_is_wrong_with_a_name_comes_along() -> None:
    """The gate asks no further: what is known of the record that decided is in the decision."""
    exact = name("app.org", SHOP, caa_forbidden=True)
    zoned = zone("example.com", replace(TENANT, not_pointing=True), PROJECT, replace(WORKSPACE, caa_forbidden=True))
    for host, records, expected in (
        ("app.org", [exact], (True, False)),
        ("app.org", [replace(exact, caa_forbidden=False, not_pointing=True, redirect_to="www.app.org")], (False, True)),
        ("app.org", [replace(exact, status=DomainStatus.PENDING)], (False, False)),
        ("shop.example.com", [zoned], (False, False)),
        ("blog.example.com", [zoned], (True, False)),
        ("lab.example.com", [zoned], (False, True)),
        ("shop.miosa.app", [zoned], (False, False)),
    ):
        decision = run(host, *records)
        assert (decision.caa_forbidden, decision.not_pointing) == expected, host


def test_who_looks_for_us_is_answered_before_the_name_is_verified() -> None:
    """Whatever else the host means meanwhile, but nothing of a name that is suspended."""
    challenge = ("token", "proof")
    waiting = name("shop.example.com", LAB, status=DomainStatus.PENDING, challenge=challenge)
    alone = run("shop.example.com", waiting)
    assert (alone.problem, alone.reason, alone.challenge) == (HOST_NOT_FOUND, "not_verified", challenge)
    in_zone = run("shop.example.com", waiting, ALL)
    assert (in_zone.resource, in_zone.challenge) == (SHOP, challenge)
    assert run("shop.example.com", replace(waiting, suspended=True)).challenge is None
    assert run("shop.example.com", ALL).challenge is None

"""The gate's table: every row, and the order in which rows win."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import HOST_NOT_FOUND
from router.gate.policy import CLEAR, VERDICTS, BudgetState, Held, Verdict, judge, may_be_issued, read_name
from router.hostname import host_meanings
from router.routes.chain import REASONS, Decision, Level, decide
from router.routes.records import DomainStatus, Record, State, keys_of
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, claim, name, resource, zone


@pytest.mark.parametrize(
    ("domain", "answer"),
    [
        (None, (400, "missing_domain")),
        ("", (400, "missing_domain")),
        ("127.0.0.1", (400, "ip_address")),
        ("::1", (400, "ip_address")),
        ("[::1]", (400, "ip_address")),
        ("[fe80::1]", (400, "ip_address")),
        ("10.0.0.300", (400, "ip_address")),
        ("x.1", (400, "ip_address")),
        ("1.2.3.0x10", (400, "ip_address")),
        ("127.1.", (400, "ip_address")),
        (" x.org", (400, "invalid_name")),
        ("x.org ", (400, "invalid_name")),
        ("x.org\n", (400, "invalid_name")),
        ("x.org:443", (400, "invalid_name")),
        ("https://x.org", (400, "invalid_name")),
        ("x.org/a", (400, "invalid_name")),
        ("*.x.org", (400, "invalid_name")),
        ("x", (400, "invalid_name")),
        (".x.org", (400, "invalid_name")),
        ("x..org", (400, "invalid_name")),
        ("-x.org", (400, "invalid_name")),
        ("a_b.org", (400, "invalid_name")),
        ("ab--cd.org", (400, "invalid_name")),
        ("xn--zz-.org", (400, "invalid_name")),
        ("a" * 64 + ".org", (400, "invalid_name")),
        ("a." * 130 + "org", (400, "invalid_name")),
        ("x.org\x00", (400, "invalid_name")),
        ("\ud800.org", (400, "invalid_name")),
    ],
)
def test_what_is_no_name(domain: str | None, answer: tuple[int, str]) -> None:
    """400, with the reason."""
    assert read_name(domain) == Verdict(*answer)


@pytest.mark.parametrize(
    ("domain", "canonical"),
    [
        ("x.org", "x.org"),
        ("X.Org", "x.org"),
        ("x.org.", "x.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("5173-shop.sandbox.miosa.app", "5173-shop.sandbox.miosa.app"),
    ],
)
def test_names_are_judged_in_one_form(domain: str, canonical: str) -> None:
    """Lower case, A-labels, no trailing dot."""
    assert read_name(domain) == canonical


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_a_refusal(domain: str) -> None:
    """Nothing that a handshake says makes it fail, and a name read twice is the same."""
    read = read_name(domain)
    if isinstance(read, Verdict):
        assert not read.allowed
    else:
        assert read_name(read) == read


# The chain's reason, the verdict without evidence, the verdict with it.
TABLE = [
    ("served", (200, "first_issue"), (200, "issued")),
    ("redirect", (200, "first_issue"), (200, "issued")),
    ("starting", (200, "first_issue"), (200, "issued")),
    ("stopped", (200, "first_issue"), (200, "issued")),
    ("login", (200, "first_issue"), (200, "issued")),
    ("suspended", (403, "suspended"), (403, "suspended")),
    ("removed", (403, "removed"), (403, "removed")),
    ("not_verified", (403, "not_verified"), (200, "issued")),
    ("port_not_exposed", (404, "port_not_exposed"), (200, "issued")),
    ("reserved_port", (404, "port_not_exposed"), (200, "issued")),
    ("no_such_resource", (404, "no_such_resource"), (403, "removed")),
    ("unknown_host", (404, "unknown_host"), (403, "removed")),
    ("invalid_host", (400, "invalid_name"), (400, "invalid_name")),
    ("resolver_unavailable", (503, "not_ready"), (200, "issued")),
]


@pytest.mark.parametrize(("reason", "without", "with_evidence"), TABLE, ids=[row[0] for row in TABLE])
def test_every_reason_of_the_chain(reason: str, without: tuple[int, str], with_evidence: tuple[int, str]) -> None:
    """Evidence outweighs everything but a decision of somebody's."""
    decision = Decision(Level.NONE, reason, HOST_NOT_FOUND)
    assert judge(decision, evidence=False) == Verdict(*without)
    assert judge(decision, evidence=True) == Verdict(*with_evidence)
    assert may_be_issued(reason) == (without[0] == 200)


@pytest.mark.parametrize("evidence", [False, True])
@pytest.mark.parametrize(("reason", "without", "with_evidence"), TABLE, ids=[row[0] for row in TABLE])
def test_what_the_router_holds_itself(
    reason: str, without: tuple[int, str], with_evidence: tuple[int, str], *, evidence: bool
) -> None:
    """A name that would be allowed is refused where Caddy takes the held certificate, and else allowed without budgets.
    What is refused for another reason stays so."""
    decision, spent = Decision(Level.NONE, reason, HOST_NOT_FOUND), BudgetState("budget_host", 9)
    before = with_evidence if evidence else without
    for held, allowed in ((Held.TAKES, (403, "held_certificate")), (Held.RENEW, (200, "issued"))):
        wanted = allowed if before[0] == 200 else before
        assert judge(decision, evidence=evidence, held=held, budget=spent) == Verdict(*wanted)


@pytest.mark.parametrize("found", [{"caa_forbidden": True}, {"not_pointing": True}])
def test_a_renewal_that_the_authority_would_refuse_is_not_tried(found: dict[str, bool]) -> None:
    """Also where the router holds a certificate for the name."""
    served = Decision(Level.TENANT, "served", **found)
    for held in Held:
        assert judge(served, evidence=False, held=held).status == 403


def test_the_table_is_complete() -> None:
    """Each reason of the chain has its row, and each verdict a row that leads to it."""
    assert [row[0] for row in TABLE] == list(dict.fromkeys(row[0] for row in TABLE))
    assert {row[0] for row in TABLE} == set(REASONS)
    reached = {verdict[1] for row in TABLE for verdict in row[1:]} | {"missing_domain", "ip_address"}
    reached |= {row[2][1] for row in LAST} | {str(reason) for reason in STANDINGS} | {"held_certificate"}
    assert reached == set(VERDICTS)


# What stands in the way of a first certificate, in the order in which it wins: DNS before the budgets.
LAST: list[tuple[dict[str, bool], BudgetState, tuple[int, str, int | None]]] = [
    ({"caa_forbidden": True, "not_pointing": True}, BudgetState("budget_host", 9), (403, "caa_forbidden", None)),
    ({"not_pointing": True}, BudgetState("in_flight"), (403, "dns_not_pointing", None)),
    ({}, BudgetState("in_flight"), (200, "in_flight", None)),
    ({}, BudgetState("budget_host", 9), (429, "budget_host", 9)),
    ({}, BudgetState("budget_registered_domain", 8.2), (429, "budget_registered_domain", 9)),
    ({}, BudgetState("budget_account", 0.2), (429, "budget_account", 1)),
    ({}, BudgetState("failure_backoff", 60.0), (429, "failure_backoff", 60)),
    ({}, BudgetState("not_ready"), (503, "not_ready", None)),
    ({}, CLEAR, (200, "first_issue", None)),
]
STANDINGS = ["in_flight", "budget_host", "budget_registered_domain", "budget_account", "failure_backoff", "not_ready"]


@pytest.mark.parametrize(("found", "standing", "answer"), LAST, ids=[row[2][1] for row in LAST])
def test_what_stands_in_the_way(
    found: dict[str, bool], standing: BudgetState, answer: tuple[int, str, int | None]
) -> None:
    """Of a first certificate only: a name that has one, or may have none, is judged before."""
    served = Decision(Level.EXACT, "served", **found)
    assert judge(served, evidence=False, budget=standing) == Verdict(*answer)
    assert judge(served, evidence=True, budget=standing) == Verdict(200, "issued")
    for reason, without, _ in TABLE:
        if without[0] != 200:
            refused = Decision(Level.NONE, reason, HOST_NOT_FOUND, **found)
            assert judge(refused, evidence=False, budget=standing) == Verdict(*without)


def test_only_200_allows() -> None:
    """What Caddy does with a status."""
    assert {reason for reason, verdict in VERDICTS.items() if verdict.allowed} == {"issued", "first_issue", "in_flight"}


SHOP = resource("shop")
RECORDS: tuple[Record, ...] = (
    SHOP,
    resource("bare", default_port=None),
    resource("open", exposed_ports=None),
    resource("asleep", state=State.STOPPED, endpoint=None),
    resource("waking", state=State.STARTING, endpoint=None),
    resource("bad", suspended=True),
    resource("gone", state=State.DESTROYED),
    resource("theirs", tenant_id="other"),
    name("shop.org", SHOP),
    name("pending.org", SHOP, status=DomainStatus.PENDING),
    name("failed.org", SHOP, status=DomainStatus.FAILED),
    name("removed.org", SHOP, status=DomainStatus.REMOVED),
    name("suspended.org", SHOP, suspended=True),
    name("orphan.org", None),
    name("www.shop.org", None, redirect_to="shop.org"),
    zone("acme.dev", claim("tenant", "acme")),
    zone("unverified.dev", claim("tenant", "acme", verified=False)),
    name("caa.org", SHOP, caa_forbidden=True),
    name("elsewhere.org", SHOP, not_pointing=True),
    name("www.caa.org", None, redirect_to="caa.org", caa_forbidden=True),
    zone("caa.dev", replace(claim("project", "acme-p1"), caa_forbidden=True), claim("tenant", "acme")),
    zone("elsewhere.dev", replace(claim("tenant", "acme"), not_pointing=True)),
)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("shop.miosa.app", "first_issue"),
        ("shop.sandbox.miosa.app", "first_issue"),
        ("5173-shop.sandbox.miosa.app", "first_issue"),
        ("3000-shop.sandbox.miosa.app", "first_issue"),
        ("9999-shop.sandbox.miosa.app", "port_not_exposed"),
        ("9999-open.sandbox.miosa.app", "first_issue"),
        ("22-open.sandbox.miosa.app", "port_not_exposed"),
        ("bare.miosa.app", "port_not_exposed"),
        ("5173-bare.sandbox.miosa.app", "first_issue"),
        ("asleep.miosa.app", "first_issue"),
        ("waking.miosa.app", "first_issue"),
        ("bad.miosa.app", "suspended"),
        ("gone.miosa.app", "removed"),
        ("absent.miosa.app", "no_such_resource"),
        ("miosa.app", "unknown_host"),
        ("shop.acme.dev", "first_issue"),
        ("5173-shop.sandbox.acme.dev", "first_issue"),
        ("theirs.acme.dev", "no_such_resource"),
        ("shop.unverified.dev", "not_verified"),
        ("shop.org", "first_issue"),
        ("www.shop.org", "first_issue"),
        ("pending.org", "not_verified"),
        ("failed.org", "not_verified"),
        ("removed.org", "removed"),
        ("orphan.org", "removed"),
        ("suspended.org", "suspended"),
        ("else.example", "unknown_host"),
        # Deeper labels never pass.
        ("www.shop.miosa.app", "unknown_host"),
        ("www.5173-shop.sandbox.miosa.app", "unknown_host"),
        ("git.www.shop.org", "unknown_host"),
        ("x.shop.acme.dev", "unknown_host"),
        ("x.5173-shop.sandbox.acme.dev", "unknown_host"),
        ("sandbox.acme.dev", "unknown_host"),
        ("acme.dev", "unknown_host"),
        # Ports: only of a resource that exists, and only exposed ones.
        ("5173-absent.sandbox.acme.dev", "no_such_resource"),
        ("9999-shop.sandbox.acme.dev", "port_not_exposed"),
        ("5173-shop.acme.dev", "unknown_host"),
        ("5173-theirs.sandbox.acme.dev", "no_such_resource"),
        # What the last look at DNS found.
        ("caa.org", "caa_forbidden"),
        ("www.caa.org", "caa_forbidden"),
        ("elsewhere.org", "dns_not_pointing"),
        ("shop.caa.dev", "caa_forbidden"),
        ("5173-shop.sandbox.elsewhere.dev", "dns_not_pointing"),
        ("9999-shop.sandbox.elsewhere.dev", "port_not_exposed"),
        ("shop.sandbox.sandbox.miosa.app", "unknown_host"),
    ],
)
async def test_names_as_the_chain_finds_them(host: str, answer: str) -> None:
    """From records to a verdict."""
    source = MemoryRecords()
    source.put(*RECORDS)
    meanings = host_meanings(host)
    decision = decide(host, meanings, await source.fetch(keys_of(host, meanings)), PLATFORM, frozenset({22}))
    assert judge(decision, evidence=False).reason == answer

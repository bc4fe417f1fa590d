"""Whether a zone's order may be placed, by what was spent: a table."""

import pytest

from router.certificates.attempts import Spent
from router.certificates.budget import Refusal, refusal
from router.settings import Gate

NOW = 1_000_000.0
GATE = Gate(
    host=2,
    host_window=1000.0,
    registered_domain=3,
    registered_domain_window=500.0,
    account=16,
    account_window=300.0,
    starts=16,
    starts_window=10.0,
)


def ago(*seconds: float) -> tuple[float, ...]:
    """Attempts that were opened so long ago."""
    return tuple(NOW - one for one in seconds)


HOST, DOMAIN, ACCOUNT = "budget_host", "budget_registered_domain", "budget_account"
# What was spent, and what is refused for it; the half of the account that zones have is eight.
CASES: dict[str, tuple[dict[str, tuple[float, ...]], Refusal | None]] = {
    "nothing": ({}, None),
    "one less than the exact set's": ({"host": ago(1)}, None),
    "the exact set's": ({"host": ago(1, 400)}, Refusal(HOST, 600.0)),
    "one more: there is room when the second newest leaves": ({"host": ago(1, 400, 900)}, Refusal(HOST, 600.0)),
    "the exact set's, of which one left the window just now": ({"host": ago(1, 1000)}, None),
    "one less than the registered domain's": ({"registered_domain": ago(1, 2)}, None),
    "the registered domain's": ({"registered_domain": ago(1, 2, 100)}, Refusal(DOMAIN, 400.0)),
    "the exact set's comes first": ({"host": ago(1, 400), "registered_domain": ago(1, 2, 3)}, Refusal(HOST, 600.0)),
    "the account's, by visitors' hosts": ({"account": ago(*range(20, 36))}, Refusal(ACCOUNT, 265.0)),
    "zones' half, for a tenant that has had one": (
        {"account": ago(*range(20, 28)), "zones": ago(*range(20, 28)), "tenant": ago(20)},
        Refusal(ACCOUNT, 273.0),
    ),
    "zones' half, for a tenant that has had none": (
        {"account": ago(*range(20, 28)), "zones": ago(*range(20, 28))},
        None,
    ),
    "zones' half and a quarter, for a tenant that has had none": (
        {"account": ago(*range(20, 30)), "zones": ago(*range(20, 30))},
        Refusal(ACCOUNT, 271.0),
    ),
    "half of the starts": (
        {"account": ago(*[5.0] * 8), "zones": ago(*[5.0] * 8), "tenant": ago(299)},
        Refusal(ACCOUNT, 295.0),
    ),
    "dated ahead counts as now": ({"host": ago(-500, -400)}, Refusal(HOST, 1000.0)),
}


def spent(**of: tuple[float, ...]) -> Spent:
    nothing: dict[str, tuple[float, ...]] = dict.fromkeys(
        ("host", "registered_domain", "account", "zones", "tenant"), ()
    )
    return Spent(**{**nothing, **of})


@pytest.mark.parametrize("case", CASES)
def test_first_certificates(case: str) -> None:
    """The first budget that is spent refuses, and says when there is room."""
    of, expected = CASES[case]
    assert refusal(spent(**of), GATE, NOW, renewal=False, by_ari=False) == expected


@pytest.mark.parametrize("case", CASES)
def test_renewals(case: str) -> None:
    """Only the exact set's limit is theirs; by ARI none is."""
    of, expected = CASES[case]
    theirs = expected if expected is not None and expected.reason == HOST else None
    assert refusal(spent(**of), GATE, NOW, renewal=True, by_ari=False) == theirs
    assert refusal(spent(**of), GATE, NOW, renewal=True, by_ari=True) is None


def test_starts_are_zones_half() -> None:
    """Where the account has room, as many may begin within the short window as half of `starts`."""
    gate = GATE.model_copy(update={"account": 1000})
    eight = spent(zones=ago(*[4.0] * 8), tenant=ago(4.0))
    assert refusal(eight, gate, NOW, renewal=False, by_ari=False) == Refusal(ACCOUNT, 6.0)
    assert refusal(spent(zones=ago(*[11.0] * 8), tenant=ago(4.0)), gate, NOW, renewal=False, by_ari=False) is None


def test_nothing_is_counted_where_budgets_are_off() -> None:
    gate = GATE.model_copy(update={"budgets": False})
    full = spent(host=ago(*range(1, 9)), account=ago(*range(1, 99)))
    assert refusal(full, gate, NOW, renewal=False, by_ari=False) is None

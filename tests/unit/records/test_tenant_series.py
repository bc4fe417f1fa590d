"""Counters of single tenants."""

import uuid

import pytest

from router.records.packing import pack
from router.records.reading import PackReader
from router.records.tenant_series import PERIOD, TenantSeries
from router.settings import SettingsError, load
from tests.support.request_records import ACME, GLOBEX, exchange, led


def visit(series: TenantSeries, tenant: uuid.UUID, number: int = 1) -> None:
    for _ in range(number):
        series.add(tenant.bytes, 1, 10, error=False, client_error=False)


def requests(series: TenantSeries) -> dict[str, int]:
    return {name: counts["tenant_requests"] for name, counts in series.read().items()}


def test_those_that_are_named() -> None:
    """Each from the start, with or without a request; the rest together."""
    series = TenantSeries([ACME.bytes], 0)
    visit(series, GLOBEX, 3)
    assert requests(series) == {str(ACME): 0, "_other": 3}
    visit(series, ACME)
    assert requests(series) == {str(ACME): 1, "_other": 3}


def test_the_busiest_are_chosen_anew() -> None:
    """Who is no longer among them has no series, and no counter ever falls."""
    first, second, third = (uuid.UUID(int=100 + number) for number in range(3))
    series = TenantSeries([], 2)
    series.begin(0.0)
    visit(series, first, 1)
    visit(series, second, 5)
    visit(series, third, 9)
    assert requests(series) == {str(first): 1, str(second): 5, "_other": 9}
    series.begin(PERIOD)
    assert requests(series) == {str(second): 5, str(third): 0, "_other": 9}
    visit(series, first)
    visit(series, second)
    assert requests(series) == {str(second): 6, str(third): 0, "_other": 10}


def test_they_are_bounded() -> None:
    """However many tenants come."""
    series = TenantSeries([], 3)
    for period in range(3):
        series.begin(period * PERIOD)
        for number in range(20_000):
            series.add(uuid.UUID(int=number + 1).bytes, 0, 0, error=False, client_error=False)
        assert len(series.read()) == 4
        assert len(series._seen) <= 10_000
    assert sum(requests(series).values()) == 60_000


def test_each_record_counts_once_however_it_is_sampled() -> None:
    """Also those that no record is kept of."""
    series = TenantSeries([ACME.bytes], 0)
    reader = PackReader(1, series)
    theirs = exchange(route=led(tenant=GLOBEX), status=404)
    reader.read(pack([exchange(), exchange(status=502, ending="BH"), *[exchange()] * 10, theirs]), 0.0, 0.0, [])
    acme, other = series.read().values()
    assert (acme["tenant_requests"], acme["tenant_request_errors"], acme["tenant_sent_bytes"]) == (12, 1, 12 * 1234)
    assert (other["tenant_requests"], other["tenant_request_client_errors"]) == (1, 1)


@pytest.mark.parametrize("value", ["top 0", "top 1001", "top", "acme", f"{ACME},nobody", "top 5,top 6"])
def test_what_is_no_choice_is_refused(value: str) -> None:
    """Tenants' ids, or how many of the busiest."""
    with pytest.raises(SettingsError, match=r"metrics\.tenants"):
        load(environ={"MIOSA_ROUTER_METRICS__TENANTS": value})


def test_the_setting() -> None:
    """As a list or as words."""
    assert load(environ={"MIOSA_ROUTER_METRICS__TENANTS": "top 20"}).metrics.top == 20
    named = load(environ={"MIOSA_ROUTER_METRICS__TENANTS": f"{ACME},{GLOBEX}"}).metrics
    assert (named.top, named.named) == (0, (ACME.bytes, GLOBEX.bytes))
    assert load(environ={}).metrics.tenants == ()
    with pytest.raises(SettingsError, match="needs records"):
        load(environ={"MIOSA_ROUTER_METRICS__TENANTS": "top 5", "MIOSA_ROUTER_RECORDS__ENABLED": "false"})

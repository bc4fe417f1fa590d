"""The records that routing is decided from."""

import pytest

from router.routes.records import DomainStatus, Endpoint, Kind, Snapshot
from tests.support.memory_records import MemoryRecords
from tests.support.records import claim, name, resource, zone


def test_an_endpoint_maps_public_ports_to_real_ones() -> None:
    """The same number, unless the platform says otherwise."""
    endpoint = Endpoint("10.0.3.7", "boot-1", {5173: 49000})
    assert (endpoint.port(5173), endpoint.port(3000)) == (49000, 3000)


@pytest.mark.parametrize("address", ["", "localhost", "10.0.0", "10.0.0.1:80", "10.0.0.0/8", "[::1]", "010.0.0.1"])
def test_an_endpoint_has_an_address(address: str) -> None:
    """A name would have to be looked up, by whoever could answer anything."""
    with pytest.raises(ValueError, match="does not appear to be"):
        Endpoint(address, "boot-1")


def test_a_snapshot_says_up_to_which_change_it_has_seen() -> None:
    """So that a fill from an old read is told from a newer change."""
    snapshot = Snapshot({"slug:shop": (3, resource("shop")), "slug:no": (0, None)}, seen=17)
    assert (snapshot.seen, snapshot["slug:shop"][0], snapshot["slug:no"]) == (17, 3, (0, None))


def test_two_states_of_a_domain_route() -> None:
    """Verified, and active once its certificate is in use."""
    assert {status for status in DomainStatus if status.routes} == {DomainStatus.VERIFIED, DomainStatus.ACTIVE}


@pytest.mark.asyncio
async def test_records_come_back_under_their_keys() -> None:
    """The in-memory source answers for every key that it is asked for, None where there is nothing."""
    source = MemoryRecords()
    shop = resource("shop")
    records = (name("shop.org", shop), zone("example.com", claim("tenant", "acme")), shop)
    keys = source.put(*records)
    assert keys == ("name:shop.org", "zone:example.com", "slug:shop")
    assert await source.fetch([*keys, "slug:no"]) == dict(zip(keys, records, strict=True)) | {"slug:no": None}
    assert source.remove("slug:shop", "slug:no") == ("slug:shop", "slug:no")
    assert await source.fetch(["slug:shop"]) == {"slug:shop": None}
    assert source.fetches == 2


@pytest.mark.parametrize(
    ("scope", "scope_id", "tenant_id", "contained"),
    [
        ("tenant", "acme", "acme", True),
        ("workspace", "acme-w1", "acme", True),
        ("project", "acme-p1", "acme", True),
        ("workspace", "acme-w2", "acme", False),
        ("project", "acme-p2", "acme", False),
        ("project", "acme-w1", "acme", False),
        ("workspace", "acme-p1", "acme", False),
        ("tenant", "evil", "evil", False),
        ("workspace", "acme-w1", "evil", False),
        ("project", "acme-p1", "evil", False),
    ],
)
def test_a_scope_contains_its_own_resources(scope: str, scope_id: str, tenant_id: str, contained: bool) -> None:
    """The same project, workspace or tenant; and never another tenant's, whatever the ids."""
    assert claim(scope, scope_id, tenant_id).contains(resource("shop")) is contained


def test_kinds_in_the_plural() -> None:
    """As paths of the API write them."""
    assert [kind.plural for kind in Kind] == ["sandboxes", "computers", "deployments"]

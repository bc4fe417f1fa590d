"""Which held certificate answers for which name, for how long, and what is kept in memory of it."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox, SecretLostError
from router.certificates.held import Origin, upload_name
from router.gate.held_table import HeldTable
from tests.support.held_table import BOX, a_row, an_uploaded, removed, signed

ZONE = "previews.customer.org"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def table(clock: ManualClock) -> HeldTable:
    return HeldTable(BOX, clock, hot=3)


def issuer_at(table: HeldTable, name: str) -> str | None:
    """Who has signed the certificate that a name is answered with."""
    answer = table.answer(name)
    if answer is None:
        return None
    leaf = x509.load_pem_x509_certificates(answer.partition(b"\r\n\r\n")[2].partition(b"-----BEGIN PRIVATE")[0])[0]
    return str(leaf.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_the_answer_is_a_whole_response(table: HeldTable, clock: ManualClock) -> None:
    """Status, type, no caching, its length; then the chain with the leaf first, and the leaf's key: what Caddy parses."""
    row = a_row(ZONE, clock.now())
    table.put(row)
    answer = table.answer(f"box.{ZONE}")
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: application/pem-certificate-chain",
        b"Cache-Control: no-store",
        b"Content-Length: %d" % len(body),
    ]
    chain, key, _ = signed(row.names, "Test CA")
    assert body.decode() == chain + key
    leaf, _ = x509.load_pem_x509_certificates(chain.encode())
    assert serialization.load_pem_private_key(key.encode(), None).public_key() == leaf.public_key()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"box.{ZONE}", True),
        (f"5173-box.sandbox.{ZONE}", True),
        (f"sandbox.{ZONE}", True),  # a name right under the zone, too
        (ZONE, False),
        (f"a.b.{ZONE}", False),
        (f"a.b.sandbox.{ZONE}", False),
        ("customer.org", False),
        ("box.other.org", False),
        ("", False),
        (".", False),
        ("sandbox.", False),
        (f".{ZONE}", True),  # no handshake has this name, and no secret is in who asks for it
        (f"*.{ZONE}", True),
    ],
)
def test_a_zone_covers_one_label_and_one_below_sandbox(
    table: HeldTable, clock: ManualClock, name: str, found: bool
) -> None:
    """As wildcards do (RFC 6125 §6.4.3)."""
    table.put(a_row(ZONE, clock.now()))
    assert (table.answer(name) is not None) is found
    assert table.has(name) is found


def test_the_order_of_service(table: HeldTable, clock: ManualClock) -> None:
    """Uploaded for exactly this name, an uploaded wildcard, the managed one; each falls back to the next as it goes."""
    name = f"box.{ZONE}"
    table.put(a_row(ZONE, clock.now(), issuer="Managed"))
    assert issuer_at(table, name) == "Managed"
    table.put(an_uploaded(upload_name(ZONE), clock, f"*.{ZONE}"))
    assert issuer_at(table, name) == "Brought"
    assert issuer_at(table, f"box.sandbox.{ZONE}") == "Managed"
    exact = a_row(name, clock.now(), origin=Origin.UPLOADED, names=(name,), issuer="Exact")
    table.put(exact)
    assert issuer_at(table, name) == "Exact"
    assert issuer_at(table, f"other.{ZONE}") == "Brought"
    table.put(removed(exact))
    assert issuer_at(table, name) == "Brought"
    table.drop(upload_name(ZONE), Origin.UPLOADED)
    assert issuer_at(table, name) == "Managed"
    table.drop(ZONE, Origin.MANAGED)
    assert issuer_at(table, name) is None
    assert (len(table), table._chains, table._answers) == (0, {}, {})


def test_one_name_as_host_and_as_zone(table: HeldTable, clock: ManualClock) -> None:
    """A customer may have brought one certificate for a custom domain and one for the preview domain of the same name: each is served for its
    own names, and neither takes the other's place."""
    host = a_row(ZONE, clock.now(), origin=Origin.UPLOADED, names=(ZONE,), issuer="Host")
    table.put(host)
    table.put(an_uploaded(upload_name(ZONE), clock, f"*.{ZONE}", f"*.sandbox.{ZONE}"))
    assert (issuer_at(table, ZONE), issuer_at(table, f"box.{ZONE}")) == ("Host", "Brought")
    assert issuer_at(table, f"3000-box.sandbox.{ZONE}") == "Brought"
    assert (len(table), table.count(Origin.UPLOADED)) == (2, 2)
    table.keep_only([(upload_name(ZONE), Origin.UPLOADED)])
    assert (issuer_at(table, ZONE), issuer_at(table, f"box.{ZONE}")) == (None, "Brought")
    table.put(host)
    table.keep_only([(ZONE, Origin.UPLOADED)])
    assert (issuer_at(table, ZONE), issuer_at(table, f"box.{ZONE}")) == ("Host", None)


def test_an_uploaded_one_that_has_ended_gives_way_to_the_managed_one(table: HeldTable, clock: ManualClock) -> None:
    """In the moment of its end, without anybody telling."""
    table.put(a_row(ZONE, clock.now(), issuer="Managed"))
    table.put(an_uploaded(upload_name(ZONE), clock, f"*.{ZONE}", not_after=clock.now() + timedelta(days=10)))
    clock.advance(10 * 86400 - 1)
    assert issuer_at(table, f"box.{ZONE}") == "Brought"
    clock.advance(1)
    assert issuer_at(table, f"box.{ZONE}") == "Managed"


@pytest.mark.parametrize("days", [64, 45, 6])
def test_only_what_is_valid_now_is_served(table: HeldTable, clock: ManualClock, days: int) -> None:
    """From its first second to its last, for certificates of every lifetime; also where its answer is kept whole."""
    begin = clock.now() + timedelta(hours=1)
    table.put(a_row(ZONE, clock.now(), not_before=begin, not_after=begin + timedelta(days=days)))
    name = f"box.{ZONE}"
    assert (table.answer(name), table.covers(ZONE)) == (None, False)
    clock.advance(3600)
    assert table.answer(name) is not None
    clock.advance(days * 86400 - 1)
    assert (table.has(name), table.covers(ZONE), table.covers(f"sandbox.{ZONE}")) == (True, True, True)
    clock.advance(1)
    assert (table.answer(name), table.has(name), table.covers(ZONE)) == (None, False, False)


def test_a_name_beside_the_domain_is_never_served(table: HeldTable, clock: ManualClock) -> None:
    """A customer's certificate may have names that are another customer's here: it answers for its own domain only."""
    table.put(an_uploaded("shop.org", clock, "shop.org", "victim.org", "*.victim.org", "*.com", "*.sandbox.victim.org"))
    assert table.has("shop.org")
    for name in ("victim.org", "www.victim.org", "victim.com", "x.sandbox.victim.org", "www.shop.org"):
        assert table.answer(name) is None, name


def test_the_more_special_zone_wins(table: HeldTable, clock: ManualClock) -> None:
    """A zone that is called sandbox.D has the names under it, before those of D's own `sandbox.`."""
    table.put(a_row(ZONE, clock.now(), issuer="Above"))
    table.put(a_row(f"sandbox.{ZONE}", clock.now(), issuer="Special"))
    assert issuer_at(table, f"box.sandbox.{ZONE}") == "Special"
    assert issuer_at(table, f"box.{ZONE}") == "Above"


def test_a_renewed_one_replaces_the_old_one_at_once(table: HeldTable, clock: ManualClock) -> None:
    """Also in the answers that are kept."""
    old = a_row(ZONE, clock.now())
    table.put(old)
    before = table.answer(f"box.{ZONE}")
    table.put(old)  # read again, as rows are for some seconds
    assert table.answer(f"box.{ZONE}") is before
    table.put(a_row(ZONE, clock.now(), issuer="Renewed"))
    assert issuer_at(table, f"box.{ZONE}") == "Renewed"
    assert len(table) == 1


def test_a_key_that_can_not_be_opened(table: HeldTable, clock: ManualClock) -> None:
    """It is refused when it comes, not when a handshake waits for it; what was there before is gone."""
    table.put(a_row(ZONE, clock.now()))
    with pytest.raises(SecretLostError):
        table.put(a_row(ZONE, clock.now(), box=SecretBox([b"another key, of as many bytes !!"])))
    assert table.answer(f"box.{ZONE}") is None
    row = a_row(ZONE, clock.now())
    with pytest.raises(SecretLostError):  # sealed for another row
        table.put(a_row(ZONE, clock.now(), sealed_key=row.sealed_key))


def test_keys_stay_sealed_but_for_the_hot_ones(table: HeldTable, clock: ManualClock) -> None:
    """Those that were asked for last are kept as they are sent, and no more than the bound."""
    zones = [f"z{number}.org" for number in range(5)]
    for zone in zones:
        table.put(a_row(zone, clock.now()))
    assert table._answers == {}
    for zone in zones:
        assert table.answer(f"box.{zone}") is not None
    table.answer("other.z2.org")
    assert [table._managed[zone].id for zone in ("z3.org", "z4.org", "z2.org")] == list(table._answers)


def test_intermediate_certificates_are_kept_once(table: HeldTable, clock: ManualClock) -> None:
    """And go with the last that has them."""
    names = ("*.shared.org",)
    for zone in ("a.org", "b.org"):
        table.put(a_row(zone, clock.now(), names=names))
    assert len(table._chains) == 1
    table.drop("a.org", Origin.MANAGED)
    assert len(table._chains) == 1
    table.keep_only([])
    assert (table._chains, len(table), table.count(Origin.MANAGED)) == ({}, 0, 0)

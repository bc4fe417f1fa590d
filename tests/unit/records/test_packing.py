"""Packs: what a worker packs of an exchange is what a keeper reads."""

import pytest

from router import errors
from router.records import packing
from router.records.packing import pack, unpack
from router.records.reading import PackReader
from router.records.record import COLD_START, TUNNEL, Record, Row, details_of
from tests.support.ended import ended
from tests.support.request_records import ACME, DESK, GLOBEX, SHOP, exchange, led, row

VERSION = "9a1f7d5e-5a43-4d1c-8f43-1b2c3d4e5f60"


def records(data: bytes, *, per_second: int = 1000) -> list[Record]:
    """What is read of a pack whose monotonic clock began in 1970."""
    into: list[Row] = []
    PackReader(per_second).read(data, 0.0, 0.0, into)
    return [Record(*one) for one in into]


def test_the_head_has_the_size_that_is_skipped() -> None:
    """`_SIZE` is a constant because compiled code then needs no call."""
    assert packing._HEAD.size == packing._SIZE


def test_an_exchange_becomes_a_record() -> None:
    """With all that the access line has of it, and how long it waited for what."""
    done = exchange(
        route=led(deployment_version=VERSION),
        method=b"POST",
        target=b"/orders/17?secret=1",
        queued_at=10.0,
        admitted_at=10.01,
        dialled_at=10.02,
        connected_at=10.05,
        received=7,
        status=502,
        ending="BH",
        problem=errors.BAD_BACKEND_RESPONSE,
    )
    (record,) = records(pack([done]))
    assert record._replace(details="") == Record(
        tenant=ACME.bytes,
        id=0,
        resource=SHOP.bytes,
        at=10_250_000,
        request_id="0193f0a1c2d3",
        host="shop.miosa.app",
        method="POST",
        path="/orders/17",
        status=502,
        ending="BH",
        fault=2,
        total=250_000,
        details="",
    )
    found = details_of(record)
    assert (found.received, found.sent, found.weight, found.flags) == (7, 1234, 1, 0)
    assert found.first_byte == pytest.approx(100_000, abs=2)
    assert found.queue == pytest.approx(10_000, abs=2)
    assert found.dial == pytest.approx(30_000, abs=2)
    assert found.wake == 0
    assert (found.network, found.error, found.version) == ("203.0.113.0/24", "bad_backend_response", VERSION)


def test_what_never_came_is_said_so() -> None:
    """No first byte is below 0; a wait that had not ended when the exchange did lasts until then."""
    done = exchange(first_byte=0.0, held_at=10.05, tunnel=True)
    (record,) = records(pack([done]))
    found = details_of(record)
    assert found.first_byte < 0
    assert found.wake == pytest.approx(200_000, abs=2)
    assert found.flags == COLD_START | TUNNEL


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331-00", TRACE),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", ""),
        ("", ""),
    ],
)
def test_the_trace_that_a_request_is_part_of(traceparent: str, trace_id: str) -> None:
    """Beside its waits, and in the midst of records without one."""
    waits = {"dialled_at": 10.02, "connected_at": 10.05, "resolved_at": 10.01}
    traced = exchange(traceparent=traceparent.encode(), **waits)
    data = pack([exchange(), traced, exchange(target=b"/last")])
    assert [details_of(one).trace_id for one in records(data)] == ["", trace_id, ""]
    assert records(data)[2].path == "/last"
    assert details_of(records(data)[1]).dial == pytest.approx(30_000, abs=2)
    assert unpack(data)[1][-1] == pytest.approx(0.01, abs=1e-6)


def test_a_record_of_before_had_no_trace() -> None:
    """What is stored by an older version is read."""
    assert details_of(Record(*row(0))).trace_id == ""


def test_a_host_is_as_routes_know_it() -> None:
    """However a visitor spells it, it is found under one name."""
    (record,) = records(pack([exchange(host=b"SHOP.miosa.app.:443")]))
    assert record.host == "shop.miosa.app"


def test_what_led_to_no_resource_is_nobodys() -> None:
    """An unknown host has no developer who could read it."""
    assert pack([ended(route=None)]) == b""


def test_texts_of_strangers_are_cut_and_readable() -> None:
    """Long ones are cut, bytes that are no text are written out, secrets are masked."""
    path = b"/" + b"a" * 2000
    key = b"msk_live_" + b"x" * 43
    cut, odd, secret = records(
        pack([exchange(target=path, method=b"M" * 300), exchange(target=b"/\xff\x00"), exchange(target=b"/" + key)])
    )
    assert (len(cut.path), len(cut.method)) == (1024, 255)
    assert odd.path == "/\\xff\\x00"
    assert secret.path == "/msk_***"


def test_many_are_read_in_order() -> None:
    """Numbered by their places."""
    found = records(pack([exchange(id=b"%d" % number) for number in range(64)]))
    assert [(one.id, one.request_id) for one in found] == [(number, str(number)) for number in range(64)]


@pytest.mark.parametrize("cut", [1, 44, 45, 100, 117, 140, 160])
def test_half_a_pack_is_refused(cut: int) -> None:
    """A pack that ends in the middle of a record is a bug somewhere, and no record."""
    with pytest.raises(ValueError, match="pack"):
        unpack(pack([exchange()])[:cut])


def test_whose_they_are_is_said_once() -> None:
    """Records of one resource that follow each other share its ids; each record is its own resource's all the same."""
    shop, desk = led(), led(DESK, GLOBEX)
    order = [shop, shop, desk, shop, desk, desk]
    packed = pack([exchange(route=one) for one in order])
    assert packed.count(str(SHOP).encode()) == 2
    owners = {id(shop): (ACME.bytes, SHOP.bytes), id(desk): (GLOBEX.bytes, DESK.bytes)}
    assert [(one.tenant, one.resource) for one in records(packed)] == [owners[id(one)] for one in order]

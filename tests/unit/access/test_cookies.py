"""Cookies that open a preview: what is signed, and what is believed."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.cookies import MAX_AGE, TOLERANCE, Cookies, Grant, set_cookie, sign
from router.routes.records import SigningKey, SigningKeysRecord
from tests.support.access import signing

NOW = 1_000_000.0
KEYS = signing("new", "old")
GRANT = Grant("7d0c1f2e-0a0b-4c4d-8e8f-000000000001", 3000, "secret-1", 4, NOW, NOW + 3600)


def signed(grant: Grant = GRANT, keys: SigningKeysRecord = KEYS, now: float = NOW) -> bytes:
    value = sign(grant, keys, now)
    assert value is not None
    return value


def read(value: bytes, keys: SigningKeysRecord = KEYS, now: float = NOW) -> Grant | None:
    return Cookies().read(value, keys, now)


def key(name: str, since: float, until: float) -> SigningKey:
    return SigningKey(name, name.encode().hex().ljust(64, "0"), since, until)


def test_what_was_granted_comes_back() -> None:
    """Every field of it, the first time and remembered."""
    cookies = Cookies()
    for _ in range(2):
        assert cookies.read(signed(), KEYS, NOW) == GRANT


def test_the_value_may_stand_in_a_cookie() -> None:
    """RFC 6265 §4.1.1: no quotes, commas, semicolons, backslashes, blanks. It fits beside a program's own."""
    value = signed()
    assert all(0x21 <= byte <= 0x7E and byte not in b'",;\\' for byte in value)
    assert len(value) < 256


def test_set_cookie() -> None:
    """Bound to the host, out of reach of scripts, sent in frames on other sites."""
    assert set_cookie(b"v", 60) == (
        b"__Host-miosa-preview=v; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=None; Partitioned"
    )


def test_any_other_byte_makes_it_worthless() -> None:
    """Each place of it changed, each length cut off, anything behind it."""
    value = signed()
    for place, byte in enumerate(value):
        other = b"A" if byte != ord("A") else b"B"
        assert read(value[:place] + other + value[place + 1 :]) is None, place
        assert read(value[:place]) is None, place
    assert read(value + b"A") is None
    assert read(value + b".") is None
    assert read(b"") is None


def test_another_spelling_of_a_signature_is_another_cookie() -> None:
    """Padding, standard base64, and the bits that base64 passes over: only the one that we wrote is taken."""
    payload, _, signature = signed().rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"=")
    assert read(payload + b"." + signature + b"=") is None
    assert read(payload + b"." + raw.hex().encode()) is None
    for last in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        spelled = signature[:-1] + bytes([last])
        assert (read(payload + b"." + spelled) is not None) == (spelled == signature)


@given(st.binary(max_size=600))
def test_any_bytes(value: bytes) -> None:
    """Strangers' bytes are no cookie, and no fault."""
    assert read(value) is None


@pytest.mark.parametrize("field", range(1, 8))
def test_each_field_is_signed(field: int) -> None:
    """Another resource, port, secret, generation or time with the signature of the first."""
    mine = signed().split(b".")
    theirs = signed(Grant("other", 3001, "secret-2", 5, NOW + 1, NOW + 7200), signing("older", "old")).split(b".")
    mine[field] = theirs[field]
    assert read(b".".join(mine), signing("new", "old", "older")) is None


def test_a_fields_end_is_signed_too() -> None:
    """What stands between two fields is not moved from one to the other."""
    value = signed(replace_grant(resource_id="a", port=30, secret_id="b"))
    assert read(value.replace(b".30.", b".3.0")) is None


def replace_grant(**changes: object) -> Grant:
    values = {
        name: getattr(GRANT, name) for name in ("resource_id", "port", "secret_id", "generation", "issued", "until")
    }
    return Grant(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret_id", ["a.b", "", "x" * 81, "a b"])
def test_ids_that_could_be_read_otherwise(secret_id: str) -> None:
    """Nobody gets in by a cookie whose fields are not what we would write."""
    assert read(signed(replace_grant(secret_id=secret_id))) is None


def test_the_newest_key_signs_and_all_are_believed() -> None:
    """While keys rotate, cookies of the one before go on."""
    rotated = SigningKeysRecord("cookies", (key("b", NOW, NOW + 100), key("a", NOW - 100, NOW + 50)), 2)
    before = SigningKeysRecord("cookies", rotated.keys[1:], 1)
    old = signed(keys=before)
    assert old.split(b".")[1] == b"a"
    assert signed(keys=rotated).split(b".")[1] == b"b"
    assert read(old, rotated) == GRANT
    assert read(old, rotated, NOW + 49) == GRANT
    assert read(old, rotated, NOW + 50) is None  # it is believed no more
    assert read(signed(keys=rotated), rotated, NOW + 99) == GRANT


def test_a_key_that_is_withdrawn() -> None:
    """Its cookies are worth nothing from then on, remembered or not."""
    cookies = Cookies()
    value = signed(keys=signing("old"))
    assert cookies.read(value, KEYS, NOW) == GRANT
    assert cookies.read(value, signing("new"), NOW) is None


def test_a_key_of_another_fleet() -> None:
    """Of the same name, with another secret."""
    other = SigningKeysRecord("cookies", tuple(replace(one, secret="f" * 64) for one in KEYS.keys), 1)
    assert read(signed(keys=other)) is None


def test_clocks_apart() -> None:
    """A node whose clock is 10 minutes ahead issues cookies that others take, and a key whose time has not come by this
    clock verifies. One that is further in the future is none of ours."""
    ahead = NOW + 600
    assert ahead - NOW < TOLERANCE
    keys = SigningKeysRecord("cookies", (key("next", ahead, ahead + 86400), *KEYS.keys), 2)
    value = signed(replace_grant(issued=ahead, until=ahead + 60), keys, ahead)
    assert value.split(b".")[1] == b"next"
    assert read(value, keys) is not None
    far = replace_grant(issued=NOW + TOLERANCE + 1)
    assert read(signed(far)) is None
    cookies = Cookies()
    assert cookies.read(signed(far), KEYS, NOW + 2) == far
    assert cookies.read(signed(far), KEYS, NOW) is None


@pytest.mark.parametrize(
    ("keys", "signs"),
    [
        ((key("past", 0, NOW),), None),
        ((key("coming", NOW + 60, NOW + 100),), b"coming"),
        ((key("coming", NOW + 60, NOW + 100), key("past", 0, NOW - 1)), b"coming"),
        ((key("coming", NOW + 60, NOW + 100), key("now", NOW - 5, NOW + 5)), b"now"),
        ((key("a", NOW - 5, NOW + 5), key("b", NOW - 9, NOW + 5)), b"a"),
        ((), None),
    ],
)
def test_which_key_signs(keys: tuple[SigningKey, ...], signs: bytes | None) -> None:
    """The newest whose time has come, however they are sorted; one that has not, where there is no other."""
    for order in (keys, keys[::-1]):
        value = sign(GRANT, SigningKeysRecord("cookies", order, 1), NOW)
        assert (None if value is None else value.split(b".")[1]) == signs


def test_few_are_remembered() -> None:
    """Visitors with many cookies cost no memory, and what was refused costs none at all."""
    cookies = Cookies()
    for number in range(5000):
        grant = replace_grant(generation=number)
        assert cookies.read(signed(grant), KEYS, NOW) == grant
        assert cookies.read(signed(grant) + b"x", KEYS, NOW) is None
    assert len(cookies._known) <= 4096


def test_a_month_is_the_longest() -> None:
    """30 days, as a share link."""
    assert MAX_AGE == 30 * 24 * 3600

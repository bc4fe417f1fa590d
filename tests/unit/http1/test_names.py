"""The sets of names hold together."""

import pytest

from router.http1.names import FORWARDING, HOP_BY_HOP, NOT_IN_TRAILERS, STICKY

ALL = [HOP_BY_HOP, FORWARDING, STICKY, NOT_IN_TRAILERS]


@pytest.mark.parametrize("names", ALL)
def test_names_are_lower_case_tokens(names: frozenset[bytes]) -> None:
    """Names are compared in lower case, so that is how they stand here; no underscores, no blanks."""
    assert all(name == name.lower() and name.replace(b"-", b"").isalnum() for name in names)


def test_connection_never_takes_out_what_routes_frames_or_authenticates() -> None:
    """The conformance rule, spelled out (RFC 9110 §7.6.1 allows less than attackers would like)."""
    assert {b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"} <= STICKY
    assert FORWARDING <= STICKY


def test_nothing_of_a_trailer_frames_routes_or_authenticates() -> None:
    """RFC 9110 §6.5.1: what a trailer may not say is more than what Connection may not take out."""
    assert STICKY | HOP_BY_HOP < NOT_IN_TRAILERS

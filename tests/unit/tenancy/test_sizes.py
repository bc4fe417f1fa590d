"""Sizes of machines."""

import itertools

import pytest

from router.routes.records import Kind
from router.tenancy.sizes import DEFAULT, SIZES, size_named, size_of


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
def test_every_size_grows(kind: Kind) -> None:
    """A higher rank has at least as much of everything, and more memory; kinds agree on names and ranks."""
    sizes = [size_of(kind, name) for name in SIZES]
    assert [size.rank for size in sizes] == list(range(len(SIZES)))
    for smaller, larger in itertools.pairwise(sizes):
        assert smaller.vcpus <= larger.vcpus
        assert smaller.memory_mb < larger.memory_mb
        assert smaller.disk_gb < larger.disk_gb


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
@pytest.mark.parametrize("name", SIZES)
def test_numbers_name_their_size(kind: Kind, name: str) -> None:
    """A request with the exact numbers of a size gets that size."""
    size = size_of(kind, name)
    assert size_named(kind, size.vcpus, size.memory_mb) == name


def test_other_numbers_have_no_name() -> None:
    """Neither have numbers that were not given."""
    assert size_named(Kind.SANDBOX, 3, 3000) is None
    assert size_named(Kind.SANDBOX, None, None) is None
    assert size_named(Kind.COMPUTER, 2, 4096) is None, "these are a small sandbox's"
    assert DEFAULT in SIZES

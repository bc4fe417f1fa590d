"""Where the walk begins."""

from router.base.addresses import is_public
from router.dns.roots import ROOTS


def test_the_roots() -> None:
    """Thirteen, each with an address of both kinds, all of which may be asked."""
    assert len({name for name, _ in ROOTS}) == 13
    assert all(is_public(address) for _, addresses in ROOTS for address in addresses)
    assert all([":" in address for address in addresses] == [False, True] for _, addresses in ROOTS)

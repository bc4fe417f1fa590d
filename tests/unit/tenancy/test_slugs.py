"""Slugs from names, and slugs by chance."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hostname import MAX_SLUG, is_slug
from router.routes.records import Kind
from router.tenancy.slugs import free, host_slug, slugify


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Dr. Smith Clinic", "dr-smith-clinic"),
        ("  Lead   Magnet!  ", "lead-magnet"),
        ("Ärzte & Söhne", "arzte-sohne"),
        ("@alex", "alex"),
        ("日本", ""),
        ("---", ""),
        ("2024 Report", "2024-report"),
    ],
)
def test_a_name_suggests_its_slug(name: str, slug: str) -> None:
    """Letters and digits of ASCII stay, accents fall off, the rest becomes hyphens."""
    assert slugify(name) == slug


@given(st.text(max_size=200), st.sampled_from(list(Kind)))
def test_every_name_gives_a_slug_for_hosts(name: str, kind: Kind) -> None:
    """Whatever a resource is called, its slug may stand in a host."""
    slug = host_slug(kind, name)
    assert is_slug(slug)
    assert len(slug) <= MAX_SLUG


def test_only_deployments_show_their_names() -> None:
    """A sandbox's host is shared as a link, so it must not be guessable from a name."""
    assert host_slug(Kind.DEPLOYMENT, "Smile Dental") == "smile-dental"
    assert "smile" not in host_slug(Kind.SANDBOX, "Smile Dental")
    assert host_slug(Kind.DEPLOYMENT, "api") != "api"
    assert host_slug(Kind.DEPLOYMENT, "3000-shop") != "3000-shop"


@given(st.integers(min_value=0, max_value=30), st.sampled_from(["a", "shop", "x" * MAX_SLUG]))
def test_a_free_slug_is_found(taken: int, base: str) -> None:
    """However many are taken, the one that comes out is none of them, and fits."""
    seen: set[str] = set()

    async def is_taken(slug: str) -> bool:
        return slug in seen

    for _ in range(taken + 1):
        slug = asyncio.run(free(base, is_taken, max_length=MAX_SLUG))
        assert slug not in seen
        assert is_slug(slug)
        seen.add(slug)

"""Uses that the store has, and those that are known besides: the later wins."""

from datetime import UTC, datetime

import pytest

from router.tenancy.resources import LastUse, UsedBy
from router.tenancy.uses import with_recent

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
OWN = UsedBy("shop", "shop", counted=True)
SERVED = UsedBy("shop", "site", counted=True)


@pytest.mark.parametrize(
    ("stored", "recent", "links", "expected"),
    [
        (EARLY, {"shop": LATE}, [OWN], LATE),
        (LATE, {"shop": EARLY}, [OWN], LATE),
        (None, {"shop": EARLY}, [OWN], EARLY),
        (EARLY, {}, [OWN], EARLY),
        (EARLY, {"site": LATE}, [OWN, SERVED], LATE),
        (None, {"site": LATE, "shop": EARLY}, [SERVED, OWN], LATE),
        (None, {"gone": LATE}, [], None),
    ],
)
def test_the_later_use_wins(
    stored: datetime | None, recent: dict[str, datetime], links: list[UsedBy], expected: datetime | None
) -> None:
    """Of its own use and that of the deployments which are served from it; what no resource is used by is left out."""
    before = {} if stored is None else {"shop": LastUse(stored, counted=True)}
    merged = with_recent(before, recent, links)
    assert merged == ({} if expected is None else {"shop": LastUse(expected, counted=True)})

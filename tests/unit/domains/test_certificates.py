"""What is known of a certificate, and until when there is one."""

from datetime import UTC, datetime, timedelta

import pytest

from router.domains.certificates import UNREAD_LIFETIME, Attempt, Certificate, CertificateStatus, Leaf, Outcome, Source

SEEN = datetime(2026, 11, 25, 12, tzinfo=UTC)
LEAF = Leaf(issuer="Test CA", serial="0a", not_before=SEEN, not_after=SEEN + timedelta(days=60))


def test_a_leaf_is_due_after_two_thirds_of_its_lifetime() -> None:
    """As Caddy renews it."""
    assert LEAF.due_at == SEEN + timedelta(days=40)


@pytest.mark.parametrize("days", [6, 45, 64, 90])
def test_shares_follow_the_lifetime(days: int) -> None:
    """Due after two thirds of it, late after five sixths."""
    leaf = Leaf(issuer="CA", serial="1", not_before=SEEN, not_after=SEEN + timedelta(days=days))
    assert leaf.lifetime == timedelta(days=days)
    assert abs(leaf.due_at - SEEN - timedelta(days=days) * 2 / 3) < timedelta(seconds=1)
    assert abs(leaf.late_at - SEEN - timedelta(days=days) * 5 / 6) < timedelta(seconds=1)


def test_a_certificate_shows_what_its_leaf_says() -> None:
    """And nothing where none was read."""
    read = Certificate(host="a.example", status=CertificateStatus.ISSUED, leaf=LEAF, seen_at=SEEN, source=Source.PROBE)
    assert (read.issuer, read.serial, read.not_before, read.not_after) == ("Test CA", "0a", SEEN, LEAF.not_after)
    none = Certificate(host="a.example", status=CertificateStatus.PENDING)
    assert (none.issuer, none.serial, none.not_before, none.not_after) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({"seen_at": None, "leaf": None}, None),
        ({"status": CertificateStatus.REMOVED}, None),
        ({"source": Source.PROBE}, LEAF.not_after),
        ({"source": Source.PROBE, "leaf": None}, SEEN + UNREAD_LIFETIME),
        ({"source": Source.TRAFFIC}, SEEN + timedelta(days=60)),
        ({"source": Source.TRAFFIC, "leaf": None}, SEEN + UNREAD_LIFETIME),
    ],
    ids=["never seen", "removed", "read", "read in an older version", "visited after it was read", "visited only"],
)
def test_until_when_there_is_a_certificate(changes: dict[str, object], until: datetime | None) -> None:
    """Until what was read of it says; after a visit for as long as the one that was read lives, or else as one can live."""
    values = {"status": CertificateStatus.ISSUED, "leaf": LEAF, "seen_at": SEEN, "source": Source.TRAFFIC, **changes}
    assert Certificate(host="a.example", **values).live_until == until  # type: ignore[arg-type]


def test_an_attempt_becomes_only_what_says_more() -> None:
    """Open, expired, failed, issued: never back."""
    order = [Outcome.OPEN, Outcome.EXPIRED, Outcome.FAILED, Outcome.ISSUED]
    for at, old in enumerate(order):
        attempt = Attempt(id="1", host="a.example", domain="a.example", tenant_id=None, opened_at=0.0, outcome=old)
        assert [new for new in order if attempt.may_become(new)] == order[at + 1 :]

"""Which records a domain's owner is told to publish, and what the last check found of each."""

from datetime import UTC, datetime
from typing import Any

import pytest

from router.domains.required_records import host_label, instructions, of_claim, of_custom, of_preview

TOKEN, TARGET = "0a" * 16, "verify.miosa.ai"
OWN = f"{TOKEN}.{TARGET}"
CHECKED = datetime(2026, 11, 25, 12, tzinfo=UTC)


def noted(name: str, **changes: Any) -> dict[str, Any]:
    """What a check noted of one record."""
    record = {"name": name, "status": "wrong", "observed": ["other.example"], "reason": "other_addresses", **changes}
    return {"checked_at": "2026-11-25T12:00:00+00:00", "records": [record]}


def shown(records: Any) -> list[tuple[Any, ...]]:
    return [(one.purpose, one.type, one.fqdn, one.expected, one.required, one.status) for one in records]


@pytest.mark.parametrize(
    ("fqdn", "label"),
    [
        ("app.example.com", "app"),
        ("a.b.example.co.uk", "a.b"),
        ("example.com", "@"),
        ("*.preview.example.com", "*.preview"),
        ("*.example.com", "*"),
    ],
)
def test_host_labels(fqdn: str, label: str) -> None:
    """What is typed at the registrar goes without the registered domain."""
    assert host_label(fqdn) == label


def test_a_custom_domain_needs_a_cname() -> None:
    """The TXT record is an alternative, until a proof is needed."""
    txt = "_miosa-challenge.app.example.com"
    assert shown(of_custom("app.example.com", TOKEN, TARGET, None)) == [
        ("routing", "CNAME", "app.example.com", OWN, True, "pending"),
        ("ownership", "TXT", txt, TOKEN, False, "pending"),
    ]
    needed = of_custom("app.example.com", TOKEN, TARGET, {"proof_needed": "wildcard_record"})
    assert [one.required for one in needed] == [True, True]


@pytest.mark.parametrize(
    ("fqdn", "detail", "warning"),
    [
        ("app.example.com", None, "Where only a wildcard answers for app.example.com, this record alone would hide it"),
        ("app.example.com", {"proof_needed": "wildcard_record"}, "Only a wildcard may answer for app.example.com now"),
        ("app.example.com", noted("routing", status="valid"), None),
        (
            "app.example.com",
            noted("routing", status="valid") | {"proof_needed": "domain_used_by_another_account"},
            "Where",
        ),
        ("example.com", None, None),
    ],
)
def test_a_txt_record_may_hide_a_wildcard(fqdn: str, detail: Any, warning: str | None) -> None:
    """Told beside the record, before it is added, and more surely once a check has seen the wildcard."""
    routing, ownership = of_custom(fqdn, TOKEN, TARGET, detail)
    assert routing.warning is None
    assert (ownership.warning or "").startswith(warning or "")
    assert (ownership.warning is None) == (warning is None)
    assert ownership.shown()["warning"] == ownership.warning


def test_no_cname_at_the_top_of_a_domain() -> None:
    """There it is an ALIAS."""
    assert [one.type for one in of_custom("example.com", TOKEN, TARGET, None)] == ["ALIAS", "TXT"]


def test_what_the_last_check_found() -> None:
    """Goes to the record that it is about, and into its JSON."""
    routing, ownership = of_custom("app.example.com", TOKEN, TARGET, noted("routing"))
    assert (routing.status, routing.observed, routing.reason, routing.checked_at) == (
        "wrong",
        ("other.example",),
        "other_addresses",
        CHECKED,
    )
    assert (ownership.status, ownership.checked_at) == ("pending", None)
    seen, unseen = routing.shown(), ownership.shown()
    assert (seen["host"], seen["value"], seen["observed"]) == ("app", OWN, ["other.example"])
    assert (seen["checked_at"], unseen["checked_at"]) == ("2026-11-25T12:00:00Z", None)


def test_a_preview_domain_needs_its_wildcards() -> None:
    """And a proof only where another tenant could be meant."""
    two = of_preview("preview.example.com", TOKEN, TARGET, None)
    assert [(one.name, one.fqdn, one.expected) for one in two] == [
        ("*", "*.preview.example.com", TARGET),
        ("*.sandbox", "*.sandbox.preview.example.com", TARGET),
    ]
    assert {one.alternative for one in two} == {OWN}
    assert {one.alternative for one in of_preview("preview.example.com", "", TARGET, None)} == {None}
    three = of_preview("preview.example.com", TOKEN, TARGET, noted("*") | {"proof_needed": "wildcard_record"})
    assert [one.status for one in three] == ["wrong", "pending", "pending"]
    assert shown(three)[2][:4] == ("ownership", "TXT", "_miosa-challenge.preview.example.com", TOKEN)


def test_a_claim_is_proved_by_one_of_two_records() -> None:
    """A TXT record, or a CNAME below the target where there is one."""
    assert shown(of_claim("app.example.com", TOKEN)) == [
        ("ownership", "TXT", "_miosa-challenge.app.example.com", TOKEN, True, "pending")
    ]
    by_txt, by_cname = of_claim("app.example.com", TOKEN, CHECKED, target=TARGET)
    assert (by_txt.status, by_txt.checked_at) == ("missing", CHECKED)
    assert (by_cname.purpose, by_cname.type, by_cname.fqdn) == ("routing", "CNAME", "app.example.com")
    assert (by_cname.expected, by_cname.required) == (OWN, False)


def test_instructions() -> None:
    """One sentence, which names the record that the domain can have."""
    assert (
        instructions("app.example.com", TOKEN, TARGET)
        == f"Add a CNAME record for app.example.com that points to {OWN}."
    )
    assert instructions("example.com", TOKEN, TARGET) == (
        f"Add an ALIAS (or ANAME) record for example.com that points to {OWN}, or A and AAAA records with its addresses."
    )

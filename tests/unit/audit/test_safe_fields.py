"""What of a record's values may stand in an entry."""

import dataclasses
import enum
from datetime import UTC, datetime

import pytest

from router.audit.notes import CLASSES
from router.audit.safe_fields import SAFE, bounded, cut, masked, shown
from router.certificates.held import HeldCertificate
from router.certificates.request import CertificateRequest
from router.domains.custom import CustomDomain
from router.domains.preview_domains import PreviewDomain
from router.drains.log_drain import LogDrain
from router.tenancy.blocks import Block
from router.tenancy.deliveries import Delivery
from router.tenancy.deployments import Deployment
from router.tenancy.env import EnvVar
from router.tenancy.keys import Key
from router.tenancy.logins import Login
from router.tenancy.preview_secrets import PreviewSecret
from router.tenancy.previews import Preview
from router.tenancy.projects import Project
from router.tenancy.resources import Resource, StoredEndpoint
from router.tenancy.sessions import Session
from router.tenancy.tenants import Tenant
from router.tenancy.trusted_issuers import TrustedIssuer
from router.tenancy.versions import Release, Version
from router.tenancy.webhooks import Webhook
from router.tenancy.workspaces import Workspace

RECORDS = {
    kind.__name__: kind
    for kind in (
        *(
            LogDrain,
            Block,
            CertificateRequest,
            CustomDomain,
            Delivery,
            Deployment,
            EnvVar,
            HeldCertificate,
            Key,
            Login,
            Preview,
        ),
        *(PreviewDomain, PreviewSecret, Project, Release, Resource, Session, StoredEndpoint, Tenant, TrustedIssuer),
        *(Version, Webhook, Workspace),
    )
}
# Words that no field with a safe value has in its name, whatever it is of.
SECRETIVE = (
    "secret",
    "password",
    "token",
    "digest",
    "hash",
    "private",
    "metadata",
    "options",
    "claims",
    "chain",
    "url",
    "value",
)


def test_the_list_names_fields_that_there_are() -> None:
    """Each class and field of the list, so that a rename does not leave a hole, and each class of the notes."""
    for name, fields in SAFE.items():
        there = {item.name for item in dataclasses.fields(RECORDS[name])}
        assert fields <= there, name
    assert {name for names in CLASSES.values() for name in names} == set(RECORDS)


def test_no_field_that_may_hold_a_secret_is_on_the_list() -> None:
    """By its name: a variable's value, a password, a URL with a token in it."""
    for name, fields in SAFE.items():
        # Whether a variable is a secret is none.
        risky = {field for field in fields for word in SECRETIVE if word in field} - {"secret"}
        assert not risky, name
    assert SAFE["EnvVar"] == {"environment", "secret"}


@pytest.mark.parametrize(
    "secret",
    [
        "msk_live_0123456789abcdefABCDEF0123456789",
        "mpl_0123456789abcdefABCDEF0123456789-_0123456",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE",
        "Bearer opensesame",
        "https://user:opensesame@git.example.com/",
        "ghp_0123456789abcdefABCDEF0123456789abcd",
    ],
    ids=["key", "link", "webhook", "jwt", "pem", "bearer", "url", "github"],
)
def test_what_looks_like_a_secret_is_masked(secret: str) -> None:
    """Alone, in a sentence, and where it is cut in the middle."""
    for text in (secret, f"for {secret}", f"{'x' * 240} {secret}"):
        for said in (masked(text), cut(text, 255), cut(text, 60)):
            assert not any(part in said for part in ("0123456789abcdef", "opensesame", "MfKQ9r", "eyJzdWI", "MHcCAQ"))


def test_what_is_no_secret_stays() -> None:
    """Names, domains, ids, programs."""
    for text in (
        "Web shop",
        "shop.example.com",
        "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11",
        "curl/8.5.0",
        "sk-EU",
        "Zürich",
    ):
        assert cut(text, 255) == text


def test_texts_are_cut_and_on_one_line() -> None:
    """No entry drives a terminal or a spreadsheet."""
    assert cut("a\r\nb\x1b[31m\x00", 255) == "a  b [31m "
    assert cut("x" * 300, 10) == "x" * 9 + "…"


def test_values_as_json_has_them() -> None:
    """Words, times, sets in their order, and of what else there is nothing."""

    class Word(enum.StrEnum):
        ONE = "one"

    assert shown(Word.ONE) == "one"
    assert shown(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00+00:00"
    assert shown(frozenset({3, 1})) == [1, 3]
    assert shown({3000: "http2"}) == {"3000": "http2"}
    assert len(shown(list(range(100)))) == 20
    assert shown(object()) is None


def test_changes_of_too_many_bytes_are_names() -> None:
    """An entry has a bound."""
    changes = {f"field{number}": {"new": ["x" * 200] * 20} for number in range(100)}
    kept = bounded(changes)
    assert len(kept) == 60
    assert set(kept.values()) == {None}
    assert bounded({"name": {"new": "a"}}) == {"name": {"new": "a"}}

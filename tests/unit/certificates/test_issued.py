"""What the authority sends is read before it is held: only what was ordered, for our key."""

from datetime import UTC, datetime

import pytest
from cryptography import x509

from router.base.clock import ManualClock
from router.certificates.authority import BadAnswerError
from router.certificates.delegation import wildcard_names
from router.certificates.issued import read_issued
from router.certificates.keys import make_csr, new_key
from tests.support.changed_certificate import VERSIONS, with_version
from tests.support.fake_authority import FakeAuthority, FakeRecords

NAMES = wildcard_names("preview.acme.com")


@pytest.fixture
def key() -> str:
    return new_key()


def issued(key: str, *names: str) -> str:
    authority = FakeAuthority(ManualClock(), FakeRecords())
    return authority._issue(x509.load_pem_x509_csr(make_csr(key, names).encode()), names)


def test_what_was_ordered(key: str) -> None:
    """In our spelling, with what its leaf says, and without what stands around it."""
    chain = issued(key, *NAMES)
    found = read_issued(f"# a comment\n{chain}\nmore\n", key, NAMES)
    assert found.chain == chain
    assert (found.names, found.issuer, found.not_before) == (NAMES, "CN=Fake CA", datetime(2026, 1, 1, tzinfo=UTC))
    assert found.ari_id is not None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("*.preview.acme.com",), "other names"),
        ((*NAMES, "www.acme.com"), "other names"),
        (("*.preview.acme.com", "*.sandbox.preview.acme.org"), "other names"),
    ],
)
def test_other_names(key: str, names: tuple[str, ...], words: str) -> None:
    """Fewer, more, or others."""
    with pytest.raises(BadAnswerError, match=words):
        read_issued(issued(key, *names), key, NAMES)


def test_another_key(key: str) -> None:
    """Nobody could serve it."""
    with pytest.raises(BadAnswerError, match="another key"):
        read_issued(issued(new_key(), *NAMES), key, NAMES)


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "é"])
def test_no_chain(key: str, text: str) -> None:
    """In words, and not as an error of a library's."""
    with pytest.raises(BadAnswerError, match="no certificate chain"):
        read_issued(text, key, NAMES)
    with pytest.raises(BadAnswerError, match="too long"):
        read_issued(issued(key, *NAMES) + "x" * 70_000, key, NAMES)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_x509_does_not_have(key: str, version: int) -> None:
    """`cryptography` has an error of its own for it, which is no ValueError."""
    leaf = x509.load_pem_x509_certificates(issued(key, *NAMES).encode())[0]
    with pytest.raises(BadAnswerError, match="no certificate chain"):
        read_issued(with_version(leaf, version), key, NAMES)

"""Which names may be registered."""

import pytest

from router.domains.names import MAX_ZONE, below_registry, enclosing, registered_domain, registrable, registrable_zone
from router.errors import VALIDATION_FAILED, RouterError
from router.settings import SPECIAL_DOMAINS

RESERVED = ("miosa.ai", "miosa.app")


def messages(name: str, *, zone: bool = False) -> list[str]:
    """What is wrong with a name, as the API answers it."""
    check = registrable_zone if zone else registrable
    with pytest.raises(RouterError) as caught:
        check(name, RESERVED, field="domain")
    assert caught.value.problem is VALIDATION_FAILED
    return caught.value.fields["domain"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("app.yourcompany.com", "app.yourcompany.com"),
        ("App.YourCompany.COM.", "app.yourcompany.com"),
        ("yourcompany.co.uk", "yourcompany.co.uk"),
        ("me.github.io", "me.github.io"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("shop.localhost", "shop.localhost"),
        ("notmiosa.ai", "notmiosa.ai"),
        ("miosa.ai.example.com", "miosa.ai.example.com"),
    ],
)
def test_names_that_may_be_registered(given: str, stored: str) -> None:
    """They are stored in their one canonical form."""
    assert registrable(given, RESERVED, field="domain") == stored


@pytest.mark.parametrize("name", ["com", "co.uk", "github.io", "s3.amazonaws.com", "公司.cn", "XN--55QX5D.CN"])
def test_public_suffixes_are_nobody_s(name: str) -> None:
    """Whoever held one would hold everybody's names under it; the private section counts as well."""
    assert messages(name) in (["is a public suffix"], ["must be fully qualified, such as app.example.com"])


@pytest.mark.parametrize("name", ["miosa.ai", "MIOSA.APP.", "x.miosa.ai", "5173-sbx.sandbox.miosa.app"])
def test_the_platform_s_names_are_reserved(name: str) -> None:
    """The reserved domains and all names under them."""
    (message,) = messages(name)
    assert message.startswith("must not be miosa.")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localhost",
        "*.example.com",
        "1.2.3.4",
        "[::1]",
        "exa mple.com",
        "a..b.com",
        "-a.com",
        "a.com:80",
        "http://a.com",
    ],
)
def test_what_is_no_name_at_all(name: str) -> None:
    """The words come from the host grammar."""
    assert messages(name)


def test_a_zone_leaves_room_for_its_hosts() -> None:
    """`<port>-<slug>.sandbox.D` has to be a valid name for every slug and port."""
    longest = ".".join(["a" * 59] * 3) + ".com"
    assert len(longest) <= MAX_ZONE + 4
    fits = longest[len(longest) - MAX_ZONE :]
    assert registrable_zone(fits, RESERVED, field="domain") == fits
    assert len(f"{'x' * 63}.sandbox.{fits}") == 253
    assert messages("a" + fits, zone=True) == [f"should be at most {MAX_ZONE} character(s)"]


def test_enclosing_names() -> None:
    """The name and each above it that could be a zone; a top-level domain never is."""
    assert enclosing("a.b.example.com") == ("a.b.example.com", "b.example.com", "example.com")
    assert enclosing("example.com") == ("example.com",)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("shop.example.com", "example.com"),
        ("example.com", "example.com"),
        ("5173-a.sandbox.shop.co.uk", "shop.co.uk"),
        ("a.me.github.io", "me.github.io"),
        ("github.io", "github.io"),
        ("co.uk", "co.uk"),
        ("shop.miosa.test", "miosa.test"),
        ("a.shop.localhost", "shop.localhost"),
        ("localhost", "localhost"),
    ],
)
def test_the_registered_domain_of_a_name(name: str, domain: str) -> None:
    """By the public suffix list with its private section."""
    assert registered_domain(name) == domain


@pytest.mark.parametrize(
    "name",
    [
        "db.internal",
        "printer.local",
        "abcdefghij.onion",
        "1.0.168.192.in-addr.arpa",
        "router.home.arpa",
        "app.localhost",
        "app.test",
        "app.invalid",
        "app.example",
        "name.alt",
        "nas.lan",
        "APP.Local.",
    ],
)
def test_names_that_dns_does_not_have(name: str) -> None:
    """What is set aside for other purposes is nobody's to register; a name that only looks like it is."""
    with pytest.raises(RouterError) as caught:
        registrable(name, SPECIAL_DOMAINS, field="domain")
    assert list(caught.value.fields) == ["domain"]
    for like in ("local.com", "my-internal.com", "test.example-shop.com", "arpa.net"):
        assert registrable(like, SPECIAL_DOMAINS, field="domain") == like


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("example.com", True),
        ("example.co.uk", True),
        ("app.example.com", False),
        ("someone.github.io", False),
    ],
)
def test_below_a_registry(name: str, below: bool) -> None:
    """A registered domain, but for those in a company's own zone."""
    assert below_registry(name) is below

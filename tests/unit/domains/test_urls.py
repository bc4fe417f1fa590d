"""URLs: on the domain that holds, with the platform's beside them."""

from dataclasses import replace

import pytest

from router.base.clock import ManualClock
from router.domains.checks.schedule import begin
from router.domains.preview_domains import PreviewDomain, PreviewStatus
from router.domains.urls import Link, NextAction, UrlClass, Urls
from router.routes.records import Scope
from router.settings import load

NOW = ManualClock().now()
CUSTOM = PreviewDomain(
    check=begin(NOW),
    id="d1",
    scope=Scope.TENANT,
    scope_id="t1",
    tenant_id="t1",
    domain="cliniciq.dev",
    status=PreviewStatus.VERIFIED,
    created_at=NOW,
    updated_at=NOW,
)
URLS = Urls(platform_domain="miosa.app")


def test_the_platforms() -> None:
    """Where nothing is configured both URLs are the platform's, and they answer."""
    url = "https://sbx01j9x.miosa.app"
    assert URLS.default("sbx01j9x", None) == Link(url, url, "miosa.app", UrlClass.PLATFORM, True)
    url = "https://5173-sbx01j9x.sandbox.miosa.app"
    assert URLS.of_port("sbx01j9x", 5173, None) == Link(url, url, "miosa.app", UrlClass.PLATFORM, True)


def test_a_configured_domain() -> None:
    """Its URL has the platform's beside it."""
    assert URLS.of_port("sbx01j9x", 5173, CUSTOM) == Link(
        "https://5173-sbx01j9x.sandbox.cliniciq.dev",
        "https://5173-sbx01j9x.sandbox.miosa.app",
        "cliniciq.dev",
        UrlClass.CUSTOM,
        True,
    )
    assert URLS.default("sbx01j9x", CUSTOM).url == "https://sbx01j9x.cliniciq.dev"


@pytest.mark.parametrize("status", list(PreviewStatus))
def test_what_to_rely_on(status: PreviewStatus) -> None:
    """A configured domain is used from the start, and relied on once it is verified."""
    link = URLS.default("sbx01j9x", replace(CUSTOM, status=status))
    verified = status is PreviewStatus.VERIFIED
    assert link.url == "https://sbx01j9x.cliniciq.dev"
    assert link.stable_for_embedding is verified
    assert link.recommended_next_action is (NextAction.NONE if verified else NextAction.VERIFY_PREVIEW_DOMAIN)


@pytest.mark.parametrize(
    ("scheme", "port", "url"),
    [
        ("https", None, "https://a.example"),
        ("https", 443, "https://a.example"),
        ("https", 8443, "https://a.example:8443"),
        ("http", 80, "http://a.example"),
        ("http", 443, "http://a.example:443"),
    ],
)
def test_scheme_and_port(scheme: str, port: int | None, url: str) -> None:
    """As visitors reach us; a scheme's own port is left out."""
    assert Urls(platform_domain="miosa.app", scheme=scheme, port=port).at("a.example") == url


def test_from_the_settings() -> None:
    """Scheme, port and platform domain are settings."""
    environ = {"PUBLIC_SCHEME": "http", "PUBLIC_PORT": "8080", "PLATFORM_DOMAIN": "miosa.test"}
    settings = load(environ={f"MIOSA_ROUTER_{name}": value for name, value in environ.items()})
    assert Urls.of(settings).default("box", None).url == "http://box.miosa.test:8080"

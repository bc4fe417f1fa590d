"""The URLs that the API hands out: under the preview domain that holds for a resource, else the platform's. Pure.

Which domain holds is `preview.effective`'s to say: the project's, the workspace's, the tenant's. It is used as soon as
it is configured, so that what people write down is right once DNS follows. Until then `fallback_url` answers, and it
goes on answering afterwards.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from router.domains.preview_domains import PreviewDomain, PreviewStatus
from router.hostname import default_host, sandbox_host
from router.settings import Settings

_DEFAULT_PORTS = {"https": 443, "http": 80}


class UrlClass(enum.StrEnum):
    """Whose domain a URL is under."""

    CUSTOM = "custom"
    PLATFORM = "platform"


class NextAction(enum.StrEnum):
    """What whoever was given a URL should do before others rely on it."""

    NONE = "none"
    VERIFY_PREVIEW_DOMAIN = "verify_preview_domain"


@dataclass(frozen=True, slots=True)
class Link:
    """One URL of a resource, and the platform's beside it.

    `stable_for_embedding` is whether `url` answers as it is: the platform's always does, one under a configured domain
    once that is verified.
    """

    url: str
    fallback_url: str
    domain: str
    url_class: UrlClass
    stable_for_embedding: bool

    @property
    def recommended_next_action(self) -> NextAction:
        return NextAction.NONE if self.stable_for_embedding else NextAction.VERIFY_PREVIEW_DOMAIN


class Urls:
    """Makes URLs as this installation is reached from outside. `port` None is the scheme's own."""

    def __init__(self, *, platform_domain: str, scheme: str = "https", port: int | None = None) -> None:
        self.platform_domain = platform_domain
        self._scheme = scheme
        self._port = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"

    @classmethod
    def of(cls, settings: Settings) -> "Urls":
        """As the settings say."""
        return cls(platform_domain=settings.platform_domain, scheme=settings.public_scheme, port=settings.public_port)

    def at(self, host: str) -> str:
        """The URL of a host."""
        return f"{self._scheme}://{host}{self._port}"

    def default(self, slug: str, preview: PreviewDomain | None) -> Link:
        """`https://<slug>.D`: the resource's default port."""
        return self._link(preview, lambda domain: default_host(slug, domain))

    def of_port(self, slug: str, port: int, preview: PreviewDomain | None) -> Link:
        """`https://<port>-<slug>.sandbox.D`"""
        return self._link(preview, lambda domain: sandbox_host(slug, domain, port))

    def _link(self, preview: PreviewDomain | None, host: Callable[[str], str]) -> Link:
        fallback = self.at(host(self.platform_domain))
        if preview is None:
            return Link(fallback, fallback, self.platform_domain, UrlClass.PLATFORM, stable_for_embedding=True)
        verified = preview.status is PreviewStatus.VERIFIED
        return Link(self.at(host(preview.domain)), fallback, preview.domain, UrlClass.CUSTOM, verified)

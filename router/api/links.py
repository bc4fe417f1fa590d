"""The URLs of resources as the API shows them, each on the domain that holds for its resource."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from router.api.models import Out
from router.domains.preview_domains import PreviewDomain, PreviewDomains, effective
from router.domains.urls import Link, NextAction, UrlClass, Urls
from router.tenancy.resources import Resource


class LinkOut(Out):
    """Where something is reached."""

    url: Annotated[str, Field(description="On the preview domain that holds here, from when it is configured.")]
    fallback_url: Annotated[str, Field(description="On the platform's domain; it answers whatever is configured.")]
    preview_domain: str
    url_class: UrlClass
    stable_for_embedding: Annotated[bool, Field(description="Whether `url` answers without anything more being done.")]
    recommended_next_action: NextAction


class Links:
    """Makes the URLs of resources."""

    def __init__(self, *, preview_domains: PreviewDomains, urls: Urls) -> None:
        self._preview_domains = preview_domains
        self._urls = urls

    async def of(self, resources: Sequence[Resource]) -> list[Link]:
        """Each one's own URL. All belong to one tenant."""
        if not resources:
            return []
        within = {one for resource in resources for one in (resource.workspace_id, resource.project_id)}
        set_domains = await self._preview_domains.around(resources[0].tenant_id, within)
        return [self._urls.default(resource.slug, _holding(set_domains, resource)) for resource in resources]

    async def of_ports(self, resource: Resource, ports: Sequence[int]) -> list[Link]:
        """The URL of each of these ports."""
        within = (resource.workspace_id, resource.project_id)
        preview = _holding(await self._preview_domains.around(resource.tenant_id, within), resource)
        return [self._urls.of_port(resource.slug, port, preview) for port in ports]


def shown(link: Link) -> LinkOut:
    """A link as a response shows it."""
    return LinkOut(
        url=link.url,
        fallback_url=link.fallback_url,
        preview_domain=link.domain,
        url_class=link.url_class,
        stable_for_embedding=link.stable_for_embedding,
        recommended_next_action=link.recommended_next_action,
    )


def _holding(set_domains: Sequence[PreviewDomain], resource: Resource) -> PreviewDomain | None:
    return effective(set_domains, resource.workspace_id, resource.project_id)

"""Discovery for Domain Connect: what the DNS provider of a zone offers (draft-ietf-dconn-domainconnect §6 and §7.2).

    TXT _domainconnect.<zone>            where the provider is
    GET https://…/v2/<zone>/settings     what it says of itself
    GET <its API>/v2/domainTemplates/…   has it our template?

A customer's zone names the provider, so it may be anybody, and the guards are those of `provider_http.py`: only public addresses, no
redirects, bounds in size and time. It is found out in the background, a few names at a time, and at most a quarter of these for one tenant; where more are asked for at once, those come
with the next time that somebody asks. What was found is remembered for an hour, that there is nothing for five minutes, for a
bounded number of names.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog
from cachetools import TTLCache

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.domains.checks.name_servers import find_name_servers
from router.domains.connect_provider import Provider, locations, read_provider
from router.domains.connect_templates import Service
from router.domains.domain_connect import Offer
from router.domains.lookup import Lookup, Outcome, Question, RecordType
from router.outbound.provider_http import ProviderHttp, ProviderUnavailableError

RECORD: Final = "_domainconnect"
SEARCH_TIME: Final = 10.0  # seconds for everything that one search asks
FOUND_FOR: Final = 3600.0  # seconds
NOTHING_FOR: Final = 300.0  # seconds
MAX_SEARCHES: Final = 16  # under way
MAX_OF_TENANT: Final = MAX_SEARCHES // 4  # of these for one tenant, whose providers may all be slow
_MAX_NAMES: Final = 10_000

_log = structlog.get_logger("router.outbound")

_Key = tuple[str, bool]


class ProviderDiscovery:
    """A domains.domain_connect.Discovery. `services` are the templates that there are for this installation."""

    def __init__(
        self, lookup: Lookup, http: ProviderHttp, clock: Clock, *, provider_id: str, services: Sequence[Service]
    ) -> None:
        self._lookup = lookup
        self._http = http
        self._clock = clock
        self._provider_id = provider_id
        self._services = tuple(services)
        self._tasks = Tasks("domain connect")
        self._searches: dict[_Key, asyncio.Task[None]] = {}
        self._of_tenants: Counter[str] = Counter()  # how many of these each tenant has
        self._found: TTLCache[_Key, Offer] = TTLCache(_MAX_NAMES, FOUND_FOR, timer=clock.monotonic)
        self._nothing: TTLCache[_Key, bool] = TTLCache(_MAX_NAMES, NOTHING_FOR, timer=clock.monotonic)

    async def close(self) -> None:
        """End the searches under way."""
        await self._tasks.close()

    def begin(self, name: str, *, tenant_id: str, is_zone: bool, again: bool = False) -> None:
        """See `Discovery`."""
        key = (name, is_zone)
        if key in self._found or key in self._searches or (key in self._nothing and not again):
            return
        has_room = len(self._searches) < MAX_SEARCHES and self._of_tenants[tenant_id] < MAX_OF_TENANT
        if has_room and not self._tasks.closed:
            self._searches[key] = self._tasks.start("find a provider", self._search(key))
            self._of_tenants[tenant_id] += 1
            self._searches[key].add_done_callback(lambda _: self._ended(key, tenant_id))

    def known(self, name: str, *, is_zone: bool) -> Offer | None:
        """See `Discovery`."""
        return self._found.get((name, is_zone))

    async def wait(self, name: str, until: float, *, is_zone: bool) -> None:
        """See `Discovery`."""
        search = self._searches.get((name, is_zone))
        if search is not None:
            await asyncio.wait([search], timeout=max(0.0, until - self._clock.monotonic()))

    async def _search(self, key: _Key) -> None:
        name, is_zone = key
        try:
            async with asyncio.timeout(SEARCH_TIME):
                offer = await self._find(name, is_zone=is_zone)
        except TimeoutError:
            offer = None
        if offer is None:
            self._nothing[key] = True
        else:
            self._nothing.pop(key, None)
            self._found[key] = offer

    def _ended(self, key: _Key, tenant_id: str) -> None:
        del self._searches[key]
        self._of_tenants[tenant_id] -= 1
        if not self._of_tenants[tenant_id]:
            del self._of_tenants[tenant_id]

    async def _find(self, name: str, *, is_zone: bool) -> Offer | None:
        until = self._clock.monotonic() + SEARCH_TIME
        servers = await find_name_servers(self._lookup, name, until)
        if servers is None:
            return None
        zone = servers.zone
        fitting = [one for one in self._services if _fits(one, name, zone, is_zone=is_zone)]
        if not fitting:
            return None
        (answer,) = await self._lookup.ask([Question(f"{RECORD}.{zone}", RecordType.TXT)], until)
        for location in locations(answer.values) if answer.outcome is Outcome.FOUND else ():
            try:
                provider = await self._provider(location, zone)
                if provider is None:
                    continue
                services = [service for service in fitting if await self._has(provider, service)]
            except ProviderUnavailableError as error:
                _log.info("DNS provider can't be used", zone=zone, reason=str(error))
                continue
            if services:
                return Offer(
                    zone=zone, provider=provider.name, sync_url=provider.sync_url, services=frozenset(services)
                )
        return None

    async def _provider(self, location: str, zone: str) -> Provider | None:
        response = await self._http.get(f"{location}/v2/{zone}/settings")
        return read_provider(response.body) if 200 <= response.status < 300 else None

    async def _has(self, provider: Provider, service: Service) -> bool:
        """Whether a provider has one of our templates. It may answer with the template, or with nothing: the status counts."""
        url = f"{provider.api_url}/v2/domainTemplates/providers/{self._provider_id}/services/{service}"
        return 200 <= (await self._http.get(url)).status < 300


def _fits(service: Service, name: str, zone: str, *, is_zone: bool) -> bool:
    """Whether a template is for such a domain."""
    if is_zone:
        return service in {Service.ZONE, Service.WILDCARD}
    return service is (Service.APEX if name == zone else Service.HOST)

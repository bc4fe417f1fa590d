"""Asks a customer's host for our challenge by HTTP, as its visitors would: what `domains.checks.checker` does where a CDN
hides the host's records.

A stranger registered the host, runs its name servers and sends the response. So only public addresses are dialled, those
that were judged and no others; only the first bytes of a body are read; a redirect is followed twice at most, to the
same host only, at the schemes' own ports. Certificates are not checked: a request by plain HTTP proves as much, since what
counts is a secret in the response, and a certificate authority that is redirected does not check them either.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import aiohttp
from yarl import URL

from router.base.addresses import Network, may_be_dialled
from router.base.clock import Clock
from router.domains.checks.challenge import MAX_BODY, Fetched
from router.domains.lookup import Lookup
from router.outbound.connector import Failure, failure_of, open_session, resolve

FETCH_TIMEOUT = 8.0  # seconds, where the caller has that long
_MAX_REDIRECTS = 2
_CONCURRENCY = 64
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "miosa-router domain check", "Accept-Encoding": "identity"}

# The reasons that a check shows; every other failure is "unreachable" there.
_REASONS = {
    Failure.TIMEOUT: "timeout",
    Failure.NO_ADDRESS: "address_not_public",
    Failure.NOT_PUBLIC: "address_not_public",
    Failure.REFUSED: "refused",
    Failure.CERTIFICATE: "tls",
    Failure.TLS: "tls",
}


class HttpFetch:
    """A domains.challenge.Fetch. `networks` may be dialled although they are not public; `port` is that of plain HTTP."""

    def __init__(
        self, lookup: Lookup, clock: Clock, *, networks: Sequence[Network] = (), port: int = 80, https_port: int = 443
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._allowed = partial(may_be_dialled, networks=networks)
        self._ports = {"http": port, "https": https_port}
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    async def get(self, host: str, path: str, until: float, *, https: bool = False) -> Fetched:
        """See `Fetch`."""
        until = min(until, self._clock.monotonic() + FETCH_TIMEOUT)
        scheme = "https" if https else "http"
        visited = [URL.build(scheme=scheme, host=host, port=self._ports[scheme], path=path, encoded=True)]
        try:
            async with asyncio.timeout(until - self._clock.monotonic()), self._slots:
                addresses = await resolve(self._lookup, host, self._allowed, until)
                async with open_session(addresses, headers=_HEADERS) as session:
                    return await self._follow(session, visited)
        except (OSError, aiohttp.ClientError) as error:
            reason = _REASONS.get(failure_of(error), "unreachable")
            return Fetched(None, reason=reason, https=visited[-1].scheme == "https")

    async def _follow(self, session: aiohttp.ClientSession, visited: list[URL]) -> Fetched:
        """`visited` is where it went, so that an error can be told with its scheme."""
        while True:
            url = visited[-1]
            https = url.scheme == "https"
            async with session.get(url, allow_redirects=False, ssl=False) as response:
                status, headers = response.status, response.headers
                if status not in _REDIRECTS:
                    problem = headers.get("X-Miosa-Error")
                    return Fetched(status, await _beginning(response.content), https=https, problem=problem)
            ahead = _ahead(url, headers.get("Location", ""))
            if ahead is None or ahead.port != self._ports.get(ahead.scheme):
                https = https or (ahead is not None and ahead.scheme == "https")
                return Fetched(status, reason="redirected_elsewhere", https=https)
            if ahead == url and "Set-Cookie" not in headers:  # with a cookie it might answer something else
                return Fetched(status, reason="redirect_loop", https=https)
            if len(visited) > _MAX_REDIRECTS:
                return Fetched(status, reason="too_many_redirects", https=https)
            visited.append(ahead)


def _ahead(url: URL, location: str) -> URL | None:
    """Where a redirect leads; None where that is another host."""
    try:
        ahead = url.join(URL(location))
        same = ahead.host == url.host  # read only now: a host may be no IDN
    except ValueError:
        return None
    return ahead if same else None


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """The first `MAX_BODY` bytes, or one more where there are more."""
    found = b""
    while len(found) <= MAX_BODY and (chunk := await content.read(MAX_BODY + 1 - len(found))):
        found += chunk
    return found

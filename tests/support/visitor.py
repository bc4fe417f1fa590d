"""A browser in few lines, for what a redirect and a cookie lead to: a jar for each host, and the hosts of one node."""

from typing import Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from tests.support.api import Answered

NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
_TIMEOUT = aiohttp.ClientTimeout(total=15)


class Visitor:
    """`proxy` is the URL of the proxy that https leads to; http goes where it says. `jar` has the cookies of each host, `hops`
    where it has been."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self.jar: dict[str, dict[str, str]] = {}
        self.hops: list[str] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, url: str, method: str = "GET", *, navigates: bool = True, **headers: str) -> Answered:
        """One request, with the cookies of its host."""
        parts = urlsplit(url)
        jar = self.jar.setdefault(parts.netloc, {})
        sent = {**(NAVIGATION if navigates else {}), **{name.replace("_", "-"): text for name, text in headers.items()}}
        if jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if parts.scheme == "https":
            sent |= {"Host": parts.netloc, "X-Forwarded-Proto": "https"}
            at = self._proxy + url.partition(parts.netloc)[2]
        else:
            at = url
        self.hops.append(url)
        request = self._session.request(method, URL(at, encoded=True), headers=sent, allow_redirects=False)
        async with request as response:
            for line in response.headers.getall("Set-Cookie", ()):
                pair, *attributes = (part.strip() for part in line.split(";"))
                name, _, value = pair.partition("=")
                if "Max-Age=0" in attributes:
                    jar.pop(name, None)
                else:
                    jar[name] = value
            return Answered(response.status, response.headers, await response.read())

    async def go(self, url: str, **headers: str) -> Answered:
        """To where the redirects end."""
        for _ in range(10):
            answered = await self.ask(url, **headers)
            if answered.status not in (301, 302, 303, 307, 308):
                return answered
            url = urljoin(url, answered.headers["Location"])
        raise AssertionError(f"no end of redirects: {self.hops}")

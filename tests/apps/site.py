"""A program as visitors find it: its public URL, a browser, and a plain client."""

from __future__ import annotations

import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.apps.chromium import Chromium, Page


class _ToCaddy(AbstractResolver):
    """Every host is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Site:
    """`host` is the public name, `folder` the program's own, `caddy_port` where Caddy listens; `hints` are what the router
    says of it (the admin listener's `explain`)."""

    host: str
    folder: Path
    port: int
    caddy_port: int
    trust: ssl.SSLContext
    roots: Path
    browser: Chromium
    python: Path

    @property
    def url(self) -> str:
        """As a browser shows it: its connections go to Caddy's port whatever the URL says."""
        return f"https://{self.host}"

    @property
    def direct_url(self) -> str:
        """The same for other programs, with Caddy's port."""
        return f"https://{self.host}:{self.caddy_port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client whose requests go to the site by HTTPS, through Caddy."""
        connector = aiohttp.TCPConnector(ssl=self.trust, resolver=_ToCaddy())
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self.direct_url, connector=connector, timeout=timeout) as session:
            yield session

    @asynccontextmanager
    async def page(self, path: str = "/") -> AsyncIterator[Page]:
        """The page at `path`, in a browser."""
        async with self.browser.page() as page:
            await page.open(self.url + path)
            yield page

    async def fetch(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """(status, body) of one request; redirects are not followed."""
        async with (
            self.client() as client,
            client.request(method, path, allow_redirects=False, **options) as response,
        ):
            return response.status, await response.text()

    @contextmanager
    def edits(self, path: str) -> Iterator[Callable[[str, str], None]]:
        """Changes a file of the program, as its developer does: `old` by `new` in the text that it had, which it has again
        afterwards."""
        file = self.folder / path
        text = file.read_text()

        def edit(old: str, new: str) -> None:
            assert old in text
            file.write_text(text.replace(old, new))

        try:
            yield edit
        finally:
            file.write_text(text)


TEXT = "document.body.innerText"
_EDIT = 5.0  # seconds for an edit to be shown, until the file is edited again
_EDITING = 60.0  # seconds of editing
_POLL = 1.0  # seconds for a script, whose page may be being replaced


async def shows(site: Site, words: str, path: str = "/") -> None:
    """A browser shows the page with these words."""
    async with site.page(path) as page:
        await page.shows(words)


async def reloads_hot(
    site: Site, path: str, old: str, new: str, *, page_path: str = "/", text: str = TEXT, anew: bool = False
) -> None:
    """A file is edited, and the page shows it without loading anew: what its script remembers is still there. (`anew`: it
    loads anew by itself, where the program promises no more.) `text` is where in the page it is shown.

    A page takes no changes yet when it is first shown, or loads anew once more while its program gets it ready, also
    without us. So the file is edited again, each time to something else, until an edit is shown as it has to be.
    """
    async with site.page(page_path) as page:
        await page.until(f"({text}).includes({json.dumps(old)})")
        with site.edits(path) as edit:
            seen = "no edit was shown"
            deadline = time.monotonic() + _EDITING
            for number in itertools.count(1):
                assert time.monotonic() < deadline, f"{seen}; at the end: {await page.run(text)!r}, {page.console[-5:]}"
                await page.until(f"(window.before = {number}, true)")
                words = f"{new} {number}"
                edit(old, words)
                if not await page.until(f"({text}).includes({json.dumps(words)})", _EDIT, fail=False):
                    continue
                if anew or await page.until(f"window.before === {number}", _POLL, fail=False):
                    return
                seen = "the page was loaded anew"


async def posts_form(site: Site, words: str, path: str = "/", value: str = "Ada", form: str = "form") -> None:
    """A form is filled in, sent by its button, and answered with these words."""
    async with site.page(path) as page:
        await page.until(f"!!document.querySelector({json.dumps(form + ' [name=name]')})")
        await page.run(
            f"document.querySelector({json.dumps(form)}).elements.name.value = {json.dumps(value)};"
            f"document.querySelector({json.dumps(form + ' [type=submit], ' + form + ' button')}).click()"
        )
        await page.shows(words)


async def echoes(site: Site, path: str, sent: str = "hello", heard: str = "hello") -> None:
    """A WebSocket of the page's own."""
    async with site.page() as page:
        await page.until("document.readyState === 'complete' && location.protocol === 'https:'")
        said = await page.run(
            "new Promise((done, failed) => {"
            f"const ws = new WebSocket('wss://' + location.host + {json.dumps(path)});"
            f"ws.onopen = () => ws.send({json.dumps(sent)});"
            "ws.onmessage = message => done(message.data); ws.onerror = () => failed(new Error('refused')) })"
        )
        assert heard in said, said

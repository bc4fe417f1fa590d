"""Three of the real programs of `make apps`, those that come with the tests' servers: nothing is set for any of them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.apps.app import App
from tests.apps.chromium import Chromium
from tests.apps.install import filled
from tests.apps.run import answers, apps
from tests.apps.site import Site
from tests.e2e.conftest import Edge
from tests.support.ports import free_port
from tests.support.processes import Process

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

_ALL = {app.name: app for app in apps()}
_LIGHT = [_ALL[name] for name in ("django", "flask", "webdav")]


@pytest_asyncio.fixture
async def browser(edge: Edge, tmp_path: Path) -> AsyncIterator[Chromium]:
    found = Chromium(tmp_path, edge.caddy.port)
    try:
        await found.start()
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize("app", _LIGHT, ids=[app.name for app in _LIGHT])
async def test_programs_just_work(edge: Edge, browser: Chromium, tmp_path: Path, app: App) -> None:
    """Each of its checks, through Caddy and the router, under a public name. Django refuses that name, and is told
    localhost without anybody having seen it."""
    port = free_port()
    for path, text in app.files.items():
        (tmp_path / path).write_text(text)
    program = Process(
        filled(app.start, tmp_path, port, Path(sys.executable)), tmp_path / "app.log", {"PORT": str(port)}, tmp_path
    )
    with program:
        await asyncio.to_thread(program.until, lambda: answers(port, app.ready), 120.0)
        host = edge.host(port)
        site = Site(
            host=host,
            folder=tmp_path,
            port=port,
            caddy_port=edge.caddy.port,
            trust=edge.caddy.trust(),
            roots=edge.caddy.root_certificate,
            browser=browser,
            python=Path(sys.executable),
        )
        for check in app.checks.values():
            await check(site)
        explained = edge.router.get_admin(f"/explain?host={host}")[2]
        assert (b"Django refused the public name" in explained) == (app.name == "django")

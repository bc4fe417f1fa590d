"""`python -m tests.apps.run [NAME …]`: install and try every program, or these; a table, and docs/frameworks.md.

`--list` names them. `--host-mode=MODE` before the names tries another mode than none: what it would be if that were the
default. Without names the matrix in docs/frameworks.md is written anew, and the run fails where fewer than 22 of
25 work.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from tests.apps import catalog
from tests.apps.app import App
from tests.apps.chromium import Chromium
from tests.apps.install import PYTHON, InstallError, environment, filled, install
from tests.apps.site import Site
from tests.support.caddy import Caddy
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.router import PLATFORM_DOMAIN, Router

_START = 120.0  # seconds for a program to answer
_CHECK = 150.0  # seconds for one check
_SAID = 600  # characters of a program's output that are shown where a check fails
_PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
_MARK = "## What was tried\n"
_ABOUT = (
    "`make apps` runs each of these behind the router and Caddy, under a public name, with nothing set but what stands "
    "beside its name, and looks at it with a browser. `localhost` says that the program refused the public name.\n"
)


@dataclass(frozen=True)
class Result:
    app: App
    check: str
    why: str | None  # None: it works
    seconds: float


def apps() -> list[App]:
    """All of the catalog, in its order."""
    found: list[App] = []
    for module in pkgutil.iter_modules(catalog.__path__):
        found += importlib.import_module(f"{catalog.__name__}.{module.name}").APPS
    return sorted(found, key=lambda app: app.title.lower())


class Bench:
    """One router, one Caddy, one browser."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()

    async def start(self) -> None:
        router = self.router = self._stack.enter_context(Router(self._folder))
        self.caddy = self._stack.enter_context(Caddy(self._folder, proxy=router.proxy, ask=router.admin))
        self.browser = Chromium(self._folder, self.caddy.port)
        self._stack.callback(self.browser.stop)
        await self.browser.start()
        self.tenant = router.tenant("Acme")

    def close(self) -> None:
        self._stack.close()

    async def try_app(self, app: App) -> list[Result]:
        """Install it, run it, and check it; one result for each check."""
        begun = time.monotonic()
        try:
            folder = await asyncio.to_thread(install, app)
        except InstallError as error:
            failed = Result(app, "install", str(error), time.monotonic() - begun)
            _say(failed)
            return [failed]
        port = free_port()
        log = self._folder / f"{app.name}.log"
        program = Process(filled(app.start, folder, port), log, {**environment(app), "PORT": str(port)}, folder)
        try:
            await asyncio.to_thread(program.until, lambda: answers(port, app.ready), _START)
            modes = {name: {str(port): value} for name, value in app.port_settings.items()}
            self.router.register(self.tenant, app.name, port, public_port=port, **modes)
            site = Site(
                host=f"{app.name}.{PLATFORM_DOMAIN}",
                folder=folder,
                port=port,
                caddy_port=self.caddy.port,
                trust=self.caddy.trust(),
                roots=self.caddy.root_certificate,
                browser=self.browser,
                python=PYTHON,
            )
            results = []
            for name, check in app.checks.items():
                begun = time.monotonic()
                why = None
                try:
                    async with asyncio.timeout(_CHECK):
                        await check(site)
                except Exception as error:  # noqa: BLE001 - whatever goes wrong is the result
                    alive = "" if program.status is None else f" (it has ended, with status {program.status})"
                    why = f"{type(error).__name__}: {error}\n{app.title}{alive} says: …{program.output[-_SAID:]}"
                results.append(Result(app, name, why, time.monotonic() - begun))
                _say(results[-1])
        except AssertionError as error:
            results = [Result(app, "start", str(error)[-800:], time.monotonic() - begun)]
            _say(results[0])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)
            program.stop(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        return results

    def hint(self, app: App) -> str:
        """What the router says of it."""
        _, _, body = self.router.get_admin(f"/explain?host={app.name}.{PLATFORM_DOMAIN}")
        hints = json.loads(body)["hints"]
        return str(hints[0]) if hints else ""


def answers(port: int, path: str) -> bool:
    """Whether a program responds there, whatever it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10):
            return True
    except (urllib.error.HTTPError, http.client.HTTPException):
        return True
    except (OSError, ValueError):
        return False


def _say(result: Result) -> None:
    mark = "ok  " if result.why is None else "FAIL"
    print(f"{mark} {result.app.title:28} {result.check:24} {result.seconds:5.1f} s", flush=True)
    if result.why is not None:
        print("     " + result.why[:1500].replace("\n", "\n     "), flush=True)


def _told(app: App, hint: str) -> str:
    """What a program hears as its host, in the end."""
    if "host_modes" in app.port_settings:
        return f"`{app.port_settings['host_modes']}`"
    if not hint:
        return "the public name"
    return "`localhost` for hot reloading" if "hot reloading from local pages only" in hint else "`localhost`"


def _write(rows: list[tuple[App, list[Result], str]]) -> None:
    """The matrix of docs/frameworks.md."""
    page = _PAGE.read_text().partition(_MARK)[0]
    lines = [
        _MARK,
        _ABOUT,
        "| program | what works | what it is told | set for links with the public name |",
        "|---|---|---|---|",
    ]
    for app, results, hint in rows:
        works = ", ".join(one.check for one in results if one.why is None) or "nothing"
        fails = ", ".join(one.check for one in results if one.why is not None)
        lines.append(
            f"| {app.title} | {works}{'; not: ' + fails if fails else ''} | {_told(app, hint)} | {app.setting} |"
        )
    _PAGE.write_text(page + "\n".join(lines) + "\n")


async def main(names: list[str], host_mode: str | None = None) -> int:
    """The exit status."""
    wanted = [app for app in apps() if not names or app.name in names]
    if host_mode is not None:
        wanted = [replace(app, port_settings={"host_modes": host_mode}) for app in wanted if app.untouched]
    rows: list[tuple[App, list[Result], str]] = []
    with tempfile.TemporaryDirectory(prefix="apps-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        try:
            await bench.start()
            for number, app in enumerate(wanted, 1):
                print(f"[{number}/{len(wanted)}] {app.title}", flush=True)
                results = await bench.try_app(app)
                rows.append((app, results, bench.hint(app)))
        finally:
            bench.close()
    working = [app for app, results, _ in rows if all(one.why is None for one in results)]
    counted = [app for app, _, _ in rows if app.untouched]
    good = [app for app in working if app.untouched]
    print(f"\n{len(good)} of {len(counted)} work with nothing set")
    for app, results, hint in rows:
        for one in results:
            print(f"  {app.title:28} {one.check:24} {'ok' if one.why is None else 'FAIL'}")
        if hint:
            print(f"  {'':28} hint: {hint}")
    if not names and host_mode is None:
        _write(rows)
        return 0 if len(good) * 25 >= len(counted) * 22 else 1
    return 0 if len(working) == len(rows) else 1


if __name__ == "__main__":
    words = sys.argv[1:]
    mode = words.pop(0).partition("=")[2] if words and words[0].startswith("--host-mode=") else None
    if words == ["--list"]:
        print("\n".join(f"{app.name:20} {app.title}" for app in apps()))
    else:
        sys.exit(asyncio.run(main(words, mode)))

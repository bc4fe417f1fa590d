"""A real browser, without a window: what it does with what we send is what counts."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
HOW = "tests/install-servers.sh installs it from Debian's package `chromium-headless-shell`, as root"
_TIME = 60.0  # seconds: a busy machine takes its time to start one


def find_browser() -> str:
    """Its path. Skips the test, and says so on the terminal in red, where there is none; in CI that fails."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        print(
            f"\n\x1b[1;31mNOT TESTED: pages and cookies in a browser, for want of Chromium; {HOW}\x1b[0m",
            file=sys.__stderr__,
        )
        if "CI" in os.environ:
            pytest.fail(f"Chromium is not installed; {HOW}")
        pytest.skip(f"Chromium is not installed; {HOW}")
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """A page as it stands when its scripts have run, and what they and the browser wrote to its console."""

    page: str
    console: list[str]


def visit(program: str, folder: Path, url: str, port: int) -> str:
    """The page that `url` ends at, every host of which is `port` of this machine."""
    return _run(program, folder, url, f"MAP * 127.0.0.1:{port}").stdout


def show(program: str, folder: Path, url: str) -> Shown:
    """The page at `url`, which is on this machine: no other name or address is found."""
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    done = _run(program, folder, url, rules, "--enable-logging=stderr", "--virtual-time-budget=30000")
    return Shown(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])


def _run(program: str, folder: Path, url: str, hosts: str, *more: str) -> subprocess.CompletedProcess[str]:
    """One visit, with a profile of its own."""
    done = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={folder}",
            f"--host-resolver-rules={hosts}",
            *more,
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=_TIME,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done

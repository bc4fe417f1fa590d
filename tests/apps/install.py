"""Installs what programs need into `.apps/`, once: a folder for each with npm, one environment for all that pip brings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.apps.app import App

CACHE = Path(__file__).parents[2] / ".apps"
PYTHON = CACHE / "py" / "bin" / "python"
_QUIET = {
    "npm_config_audit": "false",
    "npm_config_legacy_peer_deps": "true",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_cache": str(CACHE / "npm-cache"),
    "NEXT_TELEMETRY_DISABLED": "1",
    "NG_CLI_ANALYTICS": "false",
    "STORYBOOK_DISABLE_TELEMETRY": "1",
    "ASTRO_TELEMETRY_DISABLED": "1",
    "NUXT_TELEMETRY_DISABLED": "1",
    "DEBIAN_FRONTEND": "noninteractive",
}


class InstallError(Exception):
    """Something could not be installed; the text is the end of what was said about it."""


def environment(app: App) -> dict[str, str]:
    return {**_QUIET, "GOCACHE": str(CACHE / "go"), "GOPATH": str(CACHE / "gopath"), **app.environment}


def install(app: App) -> Path:
    """The program's folder, with everything in it. Raises InstallError."""
    folder = CACHE / (app.folder or app.name)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in app.files.items():
        file = folder / path
        if path == "package.json" and file.exists():
            continue  # npm notes in it what it has installed
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wanted = hashlib.sha256(
        json.dumps([app.npm, app.pip, app.apt, app.build, sorted(app.files.items())]).encode()
    ).hexdigest()
    mark = folder / f".installed-{app.name}"
    if mark.exists() and mark.read_text() == wanted:
        return folder
    if app.apt and not all(_has(package) for package in app.apt):
        _run(["apt-get", "install", "-y", "--no-install-recommends", *app.apt], folder, app)
    if app.pip:
        if not PYTHON.exists():
            _run([sys.executable, "-m", "venv", str(CACHE / "py")], folder, app)
        _run([str(PYTHON), "-m", "pip", "install", "-q", *app.pip], folder, app)
    if app.npm:
        if not (folder / "package.json").exists():
            (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        _run(["npm", "install", *app.npm], folder, app)
    for command in app.build:
        _run(filled(command, folder, 0), folder, app)
    mark.write_text(wanted)
    return folder


def filled(command: Iterable[str], folder: Path, port: int, python: Path = PYTHON) -> list[str]:
    """A command with what stands in braces."""
    said = {
        "{port}": str(port),
        "{folder}": str(folder),
        "{python}": str(python),
        "{node}": shutil.which("node") or "node",
    }
    words = []
    for word in command:
        for name, value in said.items():
            word = word.replace(name, value)  # noqa: PLW2901 - one after the other
        words.append(word)
    return words


def _has(package: str) -> bool:
    done = subprocess.run(["dpkg", "-s", package], capture_output=True, check=False)
    return done.returncode == 0


def _run(command: Sequence[str], folder: Path, app: App) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment(app)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        raise InstallError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-600:]}")

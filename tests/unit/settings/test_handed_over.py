"""Settings that one process reads and another gets, which has no pydantic."""

import json
import subprocess
import sys
from typing import Any

from router.base.version import installed_version
from router.settings import Settings, parse
from router.settings.model import SecretStr, packed, unpacked

VALUES: dict[str, Any] = {
    "platform_domain": "miosa.test",
    "workers": "2",
    "trusted_proxies": "10.0.0.0/8",
    "trusted_headers": "10.0.0.1=CF-Connecting-IP",
    "internal_token": "s3cr3t-token",
    "access_log": "/var/log/router.log",
    "limits": {"dial": "1.5"},
    "redis": {"sentinel_password": "s3cr3t-password"},
}

# A worker: it forks the process that reads, before it imports the settings, and asks it from its event loop.
WORKER = """
import asyncio, json, sys
from router.node.processes.settings_reader import SettingsReader
reader = SettingsReader.fork()
from router.settings import Settings, SettingsError
from router.settings.limits import Limits
async def ask():
    try:
        return await reader.parse(json.loads(sys.argv[1]))
    finally:
        reader.close()
def plain(value):
    if isinstance(value, frozenset):
        return sorted(value)
    return {name: plain(one) for name, one in value.__dict__.items()} if hasattr(value, "model_copy") else str(value)
try:
    settings, version = asyncio.run(ask())
except SettingsError as error:
    print(json.dumps(error.problems))
    sys.exit()
assert isinstance(settings, Settings) and isinstance(settings.limits, Limits)
assert settings.internal_token is None or settings.internal_token.get_secret_value() == "s3cr3t-token"
assert "s3cr3t" not in repr(settings.internal_token)
changed = settings.model_copy(update={"workers": 7})
assert (changed.workers, settings.workers, changed.limits) == (7, 2, settings.limits)
assert Limits().connections == 20_000 and Limits(connections=3).connections == 3
try:
    settings.workers = 3
except AttributeError:
    pass
else:
    raise AssertionError("not frozen")
loaded = [name for name in ("pydantic_core", "importlib.metadata") if name in sys.modules]
print(json.dumps([plain(settings), settings.login_url, version, loaded]))
"""


def worker(values: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, json.dumps(values)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "**********"
    if isinstance(value, frozenset):
        return sorted(value)
    return {name: _plain(one) for name, one in value.__dict__.items()} if hasattr(value, "model_copy") else str(value)


def test_a_worker_gets_every_setting_without_pydantic() -> None:
    """As `parse` makes them, groups in their own classes with what is defined on them; frozen, and secrets not shown."""
    theirs, login_url, version, loaded = worker(VALUES)
    ours = parse(VALUES)
    assert theirs == _plain(ours)
    assert login_url == ours.login_url
    assert version == installed_version()
    assert loaded == []


def test_a_worker_hears_what_is_wrong_with_its_settings() -> None:
    """All problems, by their keys."""
    problems = worker({"workers": "0", "nonsense": "1"})
    assert [key for key, _ in problems] == ["workers", "nonsense"]


def test_settings_that_are_packed_are_the_same() -> None:
    """Also between two processes that have pydantic."""
    settings = parse(VALUES)
    found = unpacked(packed(settings))
    assert isinstance(found, Settings)
    assert _plain(found) == _plain(settings)
    assert found.internal_token is not None
    assert found.internal_token.get_secret_value() == "s3cr3t-token"

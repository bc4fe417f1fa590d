"""deploy/install.py: what it takes from the lock, and that uv asks the index that pip would ask."""

import itertools
import runpy
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "deploy" / "install.py"))


def test_the_build_backend_is_whole(install: dict[str, Any]) -> None:
    """An editable install is built with no other package than these, so everything that hatchling needs is among them."""
    needed = {"hatchling", "editables"}
    for line in requires("hatchling") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed.add(requirement.name)
    assert needed <= set(install["BACKEND"])


def test_packages_are_taken_from_the_lock_with_their_hashes(
    install: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`locked` writes the wanted packages and no others, each pinned and hashed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    lines = Path(install["locked"](*install["BACKEND"])).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith(" ")]
    assert sorted(line.partition("==")[0] for line in pins) == sorted(install["BACKEND"])
    assert all(line.strip().startswith("--hash=sha256:") for line in lines if line.startswith(" "))


def test_uv_gets_the_settings_of_pip(install: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Index, further indexes, links and certificates; a variable wins over a file, as it does for pip."""
    said = (
        ":env:.index-url='https://env.example/simple'\n"
        "global.cert='/etc/ca.pem'\n"
        "global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'\n"
        "global.find-links='/opt/wheels'\n"
        "global.index-url='https://file.example/simple'\n"
        "global.trusted-host='a.example'\n"
    )
    monkeypatch.setitem(install["uv_settings"].__globals__, "output", lambda _: said)
    options, variables = install["uv_settings"](["pip"])
    given = list(itertools.pairwise(options))
    assert [word for name, word in given if name == "--index-url"] == ["https://env.example/simple"]
    assert [word for name, word in given if name == "--extra-index-url"] == [
        "https://a.example/simple",
        "https://b.example/simple",
    ]
    assert ("--find-links", "/opt/wheels") in given
    assert ("--allow-insecure-host", "a.example") in given
    assert variables == {"SSL_CERT_FILE": "/etc/ca.pem"}

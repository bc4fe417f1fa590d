"""What is written down beside the code says what the code does."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from bench import readme
from docs import retention, settings

ROOT = Path(__file__).parents[2]


def test_the_page_of_settings_is_current() -> None:
    """docs/settings.md is what `make docs` writes."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings.page(), "run `make docs`"


def test_the_page_of_retention_is_current() -> None:
    """docs/retention.md is what `make docs` writes."""
    assert (ROOT / "docs" / "retention.md").read_text(encoding="utf-8") == retention.page(), "run `make docs`"


def test_the_map_has_every_folder_and_layer() -> None:
    """docs/architecture.md says what each folder of the router is for, and shows the layers that import-linter checks."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "router").glob("*/__init__.py")}
    assert folders - set(re.findall(r"  ([a-z0-9]+)/ ", text)) == set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["router"])
    assert "\n".join(layers).replace("|", "·") in text


@pytest.mark.parametrize("page", ["docs/DECISIONS.md", "docs/THREAT_MODEL.md", "docs/architecture.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    """Files by their paths, and tests in them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:router|tests|deploy|docs|bench)/[\w/.-]+)(?:::(\w+))?`", text)
    assert named
    assert [path for path, _ in named if not (ROOT / path).exists()] == []
    assert [
        (path, test) for path, test in named if test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8")
    ] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-servers.lock"])
def test_the_locks_hold_every_dependency(lock: str) -> None:
    """Each dependency of pyproject.toml has a locked version with hashes, from no particular place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if lock == "requirements-servers.lock":
        wanted = project["dependency-groups"]["servers"]
    else:
        wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["demo"]]
    if lock == "requirements-dev.lock":
        wanted += project["dependency-groups"]["dev"]
    text = (ROOT / lock).read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9-]+)==\S+.* \\$", text, re.MULTILINE))
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in wanted}
    assert names - locked == set(), "run `make lock`"
    assert "://" not in text


def test_the_locks_agree() -> None:
    """What is tested is what runs: no package has two versions."""
    runtime, tools, servers = (
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock", "requirements-servers.lock")
    )
    assert runtime.items() <= tools.items()
    assert all(servers[name] == tools[name] for name in servers.keys() & tools.keys())


def test_the_readme_has_the_figures_of_the_bench() -> None:
    """Its table is that of the last whole run."""
    results = json.loads(readme.RESULTS.read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.put(text, readme.table(results)) == text, "run `python -m bench.readme`"

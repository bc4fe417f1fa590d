"""`miosa-router db copy`, as an operator runs it: from an SQLite file to PostgreSQL, and back."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.support.crowd import Crowd
from tests.support.database import migrated_file
from tests.support.postgres import Postgres
from tests.support.processes import BIN

pytestmark = pytest.mark.e2e

CROWDS = [
    pytest.param(Crowd(tenants=50, resources=900, domains=900), 5000, id="5000-rows"),
    pytest.param(
        Crowd(tenants=500, resources=36_000, domains=36_000), 200_000, id="200000-rows", marks=pytest.mark.deep
    ),
]


def copy(source: str, destination: str, folder: Path) -> str:
    """What the command prints, which succeeds."""
    done = subprocess.run(
        [BIN / "miosa-router", "db", "copy", "settings", destination],
        env={"PATH": str(BIN), "MIOSA_ROUTER_DATABASE_URL": source},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.mark.parametrize(("crowd", "least"), CROWDS)
def test_from_sqlite_to_postgresql_and_back(crowd: Crowd, least: int, postgres: Postgres, tmp_path: Path) -> None:
    """Counts and sums of every table are the same in all three databases."""
    file, url = tmp_path / "router.db", asyncio.run(postgres.create(migrated=False))
    migrated_file(file)
    asyncio.run(crowd.fill(f"sqlite:///{file}"))
    there = copy(f"sqlite:///{file}", url, tmp_path)
    assert int(there.splitlines()[-1].partition(" ")[0]) >= least
    assert f"{crowd.domains} " in next(line for line in there.splitlines() if line.startswith("custom_domains"))
    assert copy(url, f"sqlite:///{tmp_path}/back.db", tmp_path) == there
    asyncio.run(postgres.drop(url))

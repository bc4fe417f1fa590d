"""What is imported by the parts of the command line that only show words. The store, the node and their libraries take
seconds of a busy processor, and somebody waits for `--help`, and for a shell's completion, at a prompt."""

import json
import subprocess
import sys
from typing import get_args

import pytest

from router.cli import blocks, endpoints, resources
from router.routes.records import Kind, State
from router.tenancy.blocks import BlockKind

HEAVY = {"aiohttp", "alembic", "cryptography", "dns", "pydantic", "redis", "sqlalchemy", "structlog"}

_PROGRAM = """
import contextlib, io, json, sys
from router.cli import app
said = io.StringIO()
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        app(words, prog_name="miosa-router")
print(json.dumps({"said": said.getvalue(), "modules": sorted(sys.modules)}))
"""


def shown(*lines: list[str]) -> tuple[str, set[str]]:
    """What these command lines print, and which modules a process has imported that ran them."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(lines)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return found["said"], set(found["modules"])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([["--version"]], "miosa-router 1."),
        ([["--help"], []], "check-config"),
        (
            [
                [group, "--help"]
                for group in (
                    "db",
                    "tenants",
                    "keys",
                    "resources",
                    "endpoints",
                    "domains",
                    "blocks",
                    "serve",
                    "explain",
                    "doctor",
                    "status",
                    "tap",
                    "errors",
                    "log-level",
                )
            ],
            "--config",
        ),
        ([["domains", "register", "--help"], ["block", "--help"]], "host|resource|tenant"),
    ],
    ids=["version", "help", "help of groups", "help of commands"],
)
def test_help_imports_no_store_and_no_node(lines: list[list[str]], words: str) -> None:
    """Neither the libraries, nor the packages of ours that need them."""
    said, modules = shown(*lines)
    assert words in said
    assert modules & HEAVY == set()
    assert {
        name
        for name in modules
        if name.startswith(("router.store", "router.node", "router.api", "router.routes.records", "router.tenancy"))
    } == set()


def test_words_of_options() -> None:
    """The command line knows all of them, without their modules."""
    assert set(get_args(blocks._Kind)) == set(BlockKind)
    assert set(get_args(resources._Kind)) == set(Kind)
    assert set(get_args(endpoints._State)) == set(State)

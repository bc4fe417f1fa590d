"""The shell blocks of a document, as its reader would type them, in a fresh clone."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import BIN

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEAD = """\
set -euo pipefail
shopt -s expand_aliases
trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT
"""


@dataclass(frozen=True, slots=True)
class Block:
    """`why` it is not run; empty where it is."""

    text: str
    why: str


def blocks_of(path: Path) -> list[Block]:
    """In their order. A block that no test runs has `<!-- not run: WHY -->` on the line above it."""
    text = path.read_text(encoding="utf-8")
    return [Block(match["text"], match["why"] or "") for match in _BLOCK.finditer(text)]


def fresh_clone(folder: Path) -> Path:
    """The files that a clone has, as they are in the working tree. `.venv` has what `make setup` installs."""
    clone = folder / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, clone / name)
    (clone / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (clone / ".venv" / name).symlink_to(BIN.parent / name)
    (clone / ".venv" / ".runtime").touch()
    return clone


def script(blocks: list[Block], changes: Mapping[str, str]) -> str:
    """Those that are run, one after the other. `changes` are whole words that are others in a test: ports above all."""
    text = "\n".join(block.text for block in blocks if not block.why)
    for word, other in changes.items():
        text, count = re.subn(rf"(?<![\w.]){re.escape(word)}(?![\w.])", other, text)
        assert count, f"nothing says {word} any more"
    return _HEAD + text

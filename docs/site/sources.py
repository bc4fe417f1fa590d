"""Which files become pages, and what becomes of the links between them."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Pages that are not in docs/, and those that get another address there.
MOVED = {
    "deploy/RUNBOOK.md": "runbook.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "docs/DECISIONS.md": "decisions.md",
    "docs/THREAT_MODEL.md": "threat-model.md",
}
HOME = "index.md"

_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_FENCE = re.compile(r"^( *)(```|~~~)", re.MULTILINE)
_OUTSIDE = ("http://", "https://", "mailto:")


def page_files() -> dict[str, str]:
    """Every Markdown file that is a page: its path in the repository → its path in the site."""
    own = (path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))
    found = {path: MOVED.get(path, path.removeprefix("docs/")) for path in own}
    return found | {path: page for path, page in MOVED.items() if (ROOT / path).exists()}


def with_links(text: str, source: str, page: str, pages: Mapping[str, str], copy: Callable[[str], None]) -> str:
    """The page's text, its links as they are in the site.

    A link to a file that is no page leads to a copy of it, which `copy` makes. One to a folder becomes plain text. One
    to nothing raises ValueError: it is dead.
    """
    folder = Path(source).parent

    def changed(match: re.Match[str]) -> str:
        words, target = match.groups()
        if target.startswith(("#", *_OUTSIDE)):
            return match[0]
        path, mark, anchor = target.partition("#")
        repository = os.path.normpath(folder / path)
        if repository in {"README.md", "docs"}:
            to = HOME
        elif repository in pages:
            to = pages[repository]
        elif (ROOT / repository).is_file():
            copy(repository)
            to = f"files/{repository}"
        elif (ROOT / repository).is_dir():
            return words.lstrip("!")[1:-1]
        elif repository.removeprefix("docs/") in pages.values():  # a page that is made from the code
            to = repository.removeprefix("docs/")
        else:
            raise ValueError(f"{source}: {target} leads to nothing")
        relative = os.path.relpath(to, Path(page).parent)
        return f"{words}({relative}{mark}{anchor})"

    return "".join(part if is_code else _LINK.sub(changed, part) for part, is_code in _parts(text))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is a block of code."""
    lines, fence = [], ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if match and not fence:
            yield "".join(lines), False
            lines, fence = [line], match[2]
        elif match and match[2] == fence:
            yield "".join([*lines, line]), True
            lines, fence = [], ""
        else:
            lines.append(line)
    yield "".join(lines), bool(fence)

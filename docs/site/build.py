"""Builds the site into build/site: `make docs`, or `python -m docs.site.build [FOLDER]`.

Strict: a page that the navigation does not have, a dead link, a missing anchor or an asset from outside fails the build.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.site import reference
from docs.site.checks import faults
from docs.site.sources import ROOT, page_files, with_links

CONFIG = Path(__file__).with_name("zensical.toml")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_API = "reference/api/"  # in the navigation: all pages under it


def build(folder: Path) -> Path:
    """Write the pages to `folder`/pages and the site to `folder`/site. Raises SystemExit with everything that is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = write_pages(folder / "pages")
    missing = sorted(pages - set(navigation()) - {page for page in pages if page.startswith(_API)})
    wrong = [f"{page} has no line in {CONFIG.relative_to(ROOT)}: nav" for page in missing]
    wrong += [f"nav has {page}, which does not exist" for page in sorted(set(navigation()) - pages - {_API})]
    if wrong:
        raise SystemExit("\n".join(wrong))
    api = sorted(page for page in pages if page.startswith(_API))
    entries = ", ".join(
        f'"{page}"' for page in (f"{_API}index.md", *(page for page in api if not page.endswith("index.md")))
    )
    config = CONFIG.read_text(encoding="utf-8").replace(f'"{_API}"', f"[{entries}]")
    (folder / "zensical.toml").write_text(config, encoding="utf-8")
    made = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(folder / "zensical.toml")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        said = _COLOUR.sub("", f"{made.stdout}{made.stderr}")
        raise SystemExit(said.partition("Traceback (most recent call last)")[0])
    wrong = list(faults(folder / "site"))
    if wrong:
        raise SystemExit("\n".join(wrong))
    return folder / "site"


def write_pages(folder: Path) -> set[str]:
    """Write every page, and what they show or link to, into `folder`; the paths of the pages."""
    files = page_files()
    made = reference.pages()
    known = files | {f"docs/{page}": page for page in made}
    copied: set[str] = set()
    for source, page in files.items():
        text = with_links((ROOT / source).read_text(encoding="utf-8"), source, page, known, copied.add)
        _write(folder / page, text)
    for page, text in made.items():
        _write(folder / page, text)
    for source in copied:
        _copy(ROOT / source, folder / "files" / source)
    for style in Path(__file__).parent.glob("*.css"):
        _copy(style, folder / "assets" / style.name)
    return {*files.values(), *made}


def navigation() -> Iterator[str]:
    """Every page of the navigation, in its order."""
    yield from _pages_of(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"])


def _pages_of(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages_of(inner)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)


if __name__ == "__main__":
    site = build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "docs"))
    sys.stdout.write(f"built {site}: python3 -m http.server --directory {site} 8000\n")

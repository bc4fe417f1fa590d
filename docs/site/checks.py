"""What is wrong with a built site: links that lead to nothing, and assets from outside."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, by tag: the attribute, and for `link` the kinds that load nothing.
_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "video": "src"}
_NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.update(value for name, value in found.items() if name in {"id", "name"})
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in _LOADED and found.get(_LOADED[tag]) and found.get("rel") not in _NOT_LOADED:
            self.loaded.append(found[_LOADED[tag]])


def faults(site: Path) -> Iterator[str]:
    """One sentence for each."""
    read: dict[Path, _Reader] = {}
    for path in sorted(site.rglob("*.html")):
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        read[path] = reader
    for path, reader in read.items():
        if path.name == "404.html":  # its links are absolute, for a site at the top of its host
            continue
        name = path.relative_to(site)
        for link in reader.loaded:
            if urlsplit(link).netloc:
                yield f"{name} loads {link} from outside"
        for link in (*reader.links, *reader.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{name}: {link} leads to nothing"
            elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].ids | {"__top"}:
                yield f"{name}: {link} has no such anchor"

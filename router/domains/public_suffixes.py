"""The public suffix list (https://publicsuffix.org/list): under which names different people's names are.

The list is the snapshot that comes with tldextract. We read it ourselves: tldextract can fetch lists too, so to import it takes
requests and urllib3 along, and it makes a tree of 10,000 nodes. That was 0.13 s of a start and 11 MiB of each process that has it;
this is 5 ms and 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import idna

_PRIVATE = "// ===BEGIN PRIVATE DOMAINS==="


@dataclass(frozen=True, slots=True)
class PublicSuffix:
    """`private`: one company's zone, whose customers have the names under it (`github.io`), and no registry's."""

    name: str
    private: bool


class PublicSuffixes:
    """The rules of a list, of its private section too: `github.io` is as little one customer's name as `co.uk` is."""

    def __init__(self, text: str) -> None:
        registries, _, companies = text.partition(_PRIVATE)
        self._private = dict.fromkeys(_rules(registries), False) | dict.fromkeys(_rules(companies), True)

    def of(self, name: str) -> PublicSuffix | None:
        """The suffix of a canonical name, which may be all of it; None where no rule has one."""
        labels = name.split(".")
        rules = self._private
        written = [_as_written(label) for label in labels]
        for place in range(len(labels)):
            here, above = ".".join(written[place:]), ".".join(written[place + 1 :])
            if (private := rules.get(f"!{here}")) is not None:
                return PublicSuffix(".".join(labels[place + 1 :]), private)
            for rule in (here, f"*.{above}"):
                if (private := rules.get(rule)) is not None:
                    return PublicSuffix(".".join(labels[place:]), private)
        return None


@lru_cache(maxsize=1)
def public_suffixes() -> PublicSuffixes:
    """The list, read the first time."""
    found = find_spec("tldextract")  # does not import it
    assert found is not None  # noqa: S101 - a dependency of ours
    assert found.submodule_search_locations is not None  # noqa: S101 - a package
    snapshot = Path(found.submodule_search_locations[0]) / ".tld_set_snapshot"
    return PublicSuffixes(snapshot.read_text(encoding="utf-8"))


def _rules(section: str) -> Iterator[str]:
    for line in section.splitlines():
        if line and not line.startswith("//"):
            yield line.split(maxsplit=1)[0]


def _as_written(label: str) -> str:
    """The list has international names in Unicode."""
    if not label.startswith("xn--"):
        return label
    try:
        return idna.decode(label)
    except idna.IDNAError:
        return label

"""Read a usual head in one pass: method, target, the few values that we look at, and the block of lines that go on.

Most heads are made of lines that go on as they came, a Host, and some lines that we take out. For those there is nothing to judge, and
half of what a request cost our own code was to have llhttp read it, to split it, and to put it together again. What is unusual in
any way gets None here, whatever it is, and is read in full by `requests.py` and `responses.py`, which alone refuse anything. So
whatever this accepts, they have to accept with the same outcome: tests/unit/http1/test_head_scanner.py compares them.

A usual line is a name of letters, digits and `-`, a colon, and a value of what RFC 9110 §5.5 allows; lines end with CRLF, and the
head with its empty line, which ends `raw` as well.

`head_scanner.c` does the same, and is what runs where the data plane is compiled: Python prefers it to this module.
"""

import re
from collections.abc import Mapping
from typing import Final

_REQUEST_LINE: Final = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_LINE: Final = re.compile(rb"([0-9A-Za-z-]{1,64}):([\t\x20-\x7e\x80-\xff]*)")
_MAX_RUNS: Final = 64  # stretches of lines that stay; more of them are unusual


class Names:
    """What the names of header lines mean. All are in lower case.

    Lines of `staying` and `leaving` may come once, and have a value, which is returned: in this order, `staying` first. Those of
    `leaving` and `dropped` don't go on. `unusual` are the names that make a head unusual, and so do those with one of the
    `beginnings`, unless they are named. So does a line of `watched` with these bytes in its value, in any case. All other lines
    go on, but those of `marked` with these bytes in their value: they are taken as those of `leaving` are, whose values they follow.
    One such line may come, with a name that is written with a capital.
    """

    def __init__(
        self,
        staying: tuple[bytes, ...],
        leaving: tuple[bytes, ...],
        dropped: tuple[bytes, ...],
        unusual: tuple[bytes, ...],
        beginnings: tuple[bytes, ...],
        watched: dict[bytes, bytes],
        marked: dict[bytes, bytes],
    ) -> None:
        self.returned: Mapping[bytes, int] = {name: at for at, name in enumerate((*staying, *leaving, *marked))}
        self.out = frozenset((*leaving, *dropped))
        self.unusual = frozenset(unusual)
        self.beginnings = beginnings
        self.watched = watched
        self.marked = marked
        self.named = self.returned.keys() | self.out | self.unusual | watched.keys()


def scan_request(raw: bytes, names: Names, most_line: int, most_lines: int) -> tuple[bytes, ...] | None:
    """(method, target, block of the lines that go on, each with its end, values of `names`, empty where there is none, and what goes
    on behind a marked line, while the block is what goes on before that); None where
    something is unusual: its request line, with more than `most_line` bytes too, one of its lines, or more than `most_lines` of
    them."""
    line, _, section = raw.partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or len(line) > most_line:
        return None
    found = _scan_lines(section, names, most_lines)
    return None if found is None else (match[1], match[2], *found)


def scan_response(raw: bytes, names: Names, most_lines: int) -> tuple[bytes, ...] | None:
    """(first line, which is not judged, block, values and what is behind, as above); None as above."""
    line, end, section = raw.partition(b"\r\n")
    if not end or line.find(b"\r") >= 0:
        return None
    found = _scan_lines(section, names, most_lines)
    return None if found is None else (line, *found)


def _scan_lines(section: bytes, names: Names, most: int) -> tuple[bytes, ...] | None:
    if not section.endswith(b"\r\n"):
        return None
    *lines, last, _ = section.split(b"\r\n")
    if last or len(lines) > most:
        return None
    values = [b""] * len(names.returned)
    kept: list[bytes] = []
    marked = -1
    runs, before = 0, False
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in names.unusual or (name not in names.named and name.startswith(names.beginnings)):
            return None
        needle = names.watched.get(name)
        if needle is not None and value.lower().find(needle) >= 0:
            return None
        mark = names.marked.get(name)
        stays = name not in names.out and (mark is None or value.lower().find(mark) < 0)
        at = names.returned.get(name)
        if at is not None and (mark is None or not stays):
            value = value.strip(b" \t")
            if not value or values[at]:
                return None
            values[at] = value
            if mark is not None:
                if marked >= 0 or match[1] != name.capitalize():
                    return None
                marked = len(kept)
        if stays:
            kept.append(line + b"\r\n")
            runs += not before
            if runs > _MAX_RUNS:
                return None
        before = stays
    split = len(kept) if marked < 0 else marked
    return (b"".join(kept[:split]), *values, b"".join(kept[split:]))

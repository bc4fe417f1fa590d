"""The corpus: messages as data, one file each, with what must become of them.

A file opens with `# key: value` lines. Then comes the message as text: line ends of the file mean nothing, `\\r\\n`,
`\\t`, `\\0`, `\\x7f` and `\\\\` are bytes, and `{A*500}` is a run of them. Where a file has a second part, a line `=>`
stands before it; `{edge}` in it stands for the headers that the proxy adds itself.

    refused/      requests that must be answered with `status` and end the connection (`then: half-close` ends the
                  client's side behind the message)
    normalised/   requests that are served, and the exact bytes that the backend must see
    responses/    what backends answer to `request` (GET where not said), and what becomes of it: `outcome` is a status
                  of ours, `cut` for an answer that must not look complete, or `body: …` for the one that is passed on
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_PART = re.compile(
    r"\\x([0-9a-f]{2})|\\([rnt0\\])|\{((?:[^{}*\\]|\\x[0-9a-f]{2}|\\[rnt])+)\*([0-9]+)\}|([^\\{]|\{(?=edge\}))"
)


@dataclass(frozen=True)
class Sample:
    """One file. `facts` are its `# key: value` lines."""

    name: str
    facts: dict[str, str]
    message: bytes
    becomes: bytes

    def __str__(self) -> str:
        return self.name


def load(folder: str) -> list[Sample]:
    """All samples of one folder."""
    return [_read(path) for path in sorted((FOLDER / folder).glob("*.http"))]


def _read(path: Path) -> Sample:
    facts: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    while lines and lines[0].startswith("# "):
        key, _, value = lines.pop(0)[2:].partition(": ")
        facts[key] = value
    at = lines.index("=>") if "=>" in lines else len(lines)
    return Sample(path.stem, facts, unescape("".join(lines[:at])), unescape("".join(lines[at + 1 :])))


def unescape(text: str) -> bytes:
    """The bytes that a text of the corpus stands for. Raises ValueError."""
    parts, at = [], 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(f"not a part of a message: {text[at : at + 20]!r}")
        if match[1] is not None:
            parts.append(bytes.fromhex(match[1]))
        elif match[2] is not None:
            parts.append(_ESCAPES[match[2]])
        elif match[3] is not None:
            parts.append(unescape(match[3]) * int(match[4]))
        else:
            parts.append(match[5].encode("ascii"))
        at = match.end()
    return b"".join(parts)

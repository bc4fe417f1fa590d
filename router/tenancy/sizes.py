"""The sizes of computers and sandboxes: what a machine of each has, and which is larger."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.routes.records import Kind


@dataclass(frozen=True, slots=True)
class Size:
    """What a machine of this size has. `rank` orders sizes."""

    rank: int
    vcpus: int
    memory_mb: int
    disk_gb: int


# Of computers; the names and their order are those of sandboxes too.
SIZES: Mapping[str, Size] = {
    "xs": Size(0, 1, 2048, 10),
    "small": Size(1, 1, 4096, 20),
    "medium": Size(2, 2, 8192, 50),
    "large": Size(3, 4, 16384, 100),
    "xl": Size(4, 8, 32768, 200),
}

# A sandbox of the same name has more processors for its memory: it builds, where a computer shows a desktop.
_SANDBOXES: Mapping[str, Size] = {
    "xs": Size(0, 1, 2048, 10),
    "small": Size(1, 2, 4096, 20),
    "medium": Size(2, 4, 8192, 50),
    "large": Size(3, 8, 16384, 100),
    "xl": Size(4, 16, 32768, 200),
}

DEFAULT = "small"


def size_of(kind: Kind, name: str) -> Size:
    """What a machine of that kind and size has. `name` is a key of `SIZES`."""
    return (_SANDBOXES if kind is Kind.SANDBOX else SIZES)[name]


def size_named(kind: Kind, vcpus: int | None, memory_mb: int | None) -> str | None:
    """The size that has just that many processors and that much memory; None where none has."""
    for name in SIZES:
        size = size_of(kind, name)
        if (size.vcpus, size.memory_mb) == (vcpus, memory_mb):
            return name
    return None

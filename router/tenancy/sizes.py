"""The sizes of computers and sandboxes: what each has, and which is larger."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """What a machine of this size has. `rank` orders sizes."""

    rank: int
    vcpus: int
    memory_mb: int
    disk_gb: int


SIZES = {
    "small": Size(1, 1, 4096, 20),
    "medium": Size(2, 2, 8192, 50),
    "large": Size(3, 4, 16384, 100),
}

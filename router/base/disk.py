"""How much room is left where the router writes."""

import os
from collections.abc import Iterable
from pathlib import Path

_LEAST_BYTES = 64 * 1024 * 1024
_LEAST_SHARE = 0.01


def low_on_space(
    folders: Iterable[Path], *, least_bytes: int = _LEAST_BYTES, least_share: float = _LEAST_SHARE
) -> str | None:
    """Which of `folders` lie on a filesystem that is nearly full, in a sentence; None where there is room.

    Nearly full is less than `least_bytes` and less than the share `least_share` of the whole, or no free inode: a large
    disk may be used to its last percent, a small one has little to begin with. Blocks while the kernel looks.
    """
    found = []
    for folder in sorted(set(folders)):
        try:
            disk = os.statvfs(folder)
        except OSError as error:
            found.append(f"{folder}: {error.strerror}")
            continue
        free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free < least_bytes and free < size * least_share:
            found.append(f"{folder} has {free // 1024} KiB free of {size // 1024 // 1024} MiB")
        elif disk.f_files and not disk.f_favail:
            found.append(f"{folder} has no free inode")
    return f"writes fail, or soon will: {'; '.join(found)}" if found else None

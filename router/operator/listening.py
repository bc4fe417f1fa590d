"""The operators' two Unix sockets: each listens under a name of the file system, for those whom its file's mode lets in."""

import os
import socket
import stat
from contextlib import suppress
from grp import getgrnam
from pathlib import Path
from typing import Final

READ_SOCKET: Final = "operator-read.sock"
ACT_SOCKET: Final = "operator.sock"

_BACKLOG = 64
_FOLDER_MODE = 0o755  # it may be passed through; each socket has a mode of its own


class UnixListener:
    """The listening socket of one file. A process that is replaced by another (a reload) leaves the file to its successor."""

    def __init__(self, file: Path, mode: int, group: str | None) -> None:
        """Listens from here on. Raises OSError; nothing is left then. The file is there at once with its mode and group, in the place of
        one that was there before."""
        self.file = file
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made = file.with_name(f".{os.getpid()}-{file.stem}")
        try:
            if not file.parent.exists():
                file.parent.mkdir(mode=_FOLDER_MODE)
                file.parent.chmod(_FOLDER_MODE)  # whatever the umask is
            _check_folder(file.parent)
            made.unlink(missing_ok=True)
            self.socket.setblocking(False)
            os.fchmod(self.socket.fileno(), 0o600)  # Linux gives it to the file
            self.socket.bind(str(made))
            if group is not None:
                os.chown(made, -1, _group_id(group))
            made.chmod(mode)
            self.socket.listen(_BACKLOG)  # nobody could connect before
            found = made.stat()
            made.rename(file)
        except BaseException:
            self.socket.close()
            with suppress(OSError):
                made.unlink(missing_ok=True)
            raise
        self._identity = found.st_dev, found.st_ino

    def close(self) -> None:
        """Stop listening, and remove the file where it is still ours."""
        self.socket.close()
        with suppress(OSError):
            found = self.file.stat()
            if (found.st_dev, found.st_ino) == self._identity:
                self.file.unlink()


def _check_folder(folder: Path) -> None:
    """Refuse one in which somebody else may put another file in a socket's place, and answer there, or have the mode of a file of their
    choice changed. Where it is sticky, as /tmp is, only what is one's own can be replaced."""
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise OSError("the folder belongs to another user")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise OSError(f"others may write to the folder: its mode is {stat.S_IMODE(found.st_mode):o}, and may be 755")


def _group_id(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return getgrnam(group).gr_gid
    except KeyError:
        raise OSError(f"there is no group {group!r}") from None

"""`operator.*`: who may use the operators' tools of a running node."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

from router.settings.model import AfterValidator, Field
from router.settings.types import Group

_MAX_FOLDER: Final = 84


def _mode(value: str) -> str:
    if re.fullmatch(r"0?[0-7]{3}", value) is None:
        raise ValueError("must be a file mode in octal digits, such as 0660")
    if int(value, 8) & 0o007:
        raise ValueError("must give others nothing: its last digit must be 0")
    if int(value, 8) & 0o600 != 0o600:
        raise ValueError("must let the node's own user read and write (06..)")
    return value.zfill(4)


def _group(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", value) is None:
        raise ValueError("must be a group's name or number")
    return value


def _runtime_dir(value: Path) -> Path:
    if len(os.fsencode(value)) > _MAX_FOLDER:
        raise ValueError(f"must have at most {_MAX_FOLDER} characters: the kernel takes 107 for a socket's whole name")
    return value


RuntimeDir = Annotated[Path, AfterValidator(_runtime_dir)]
FileMode = Annotated[str, AfterValidator(_mode)]
UnixGroup = Annotated[str, AfterValidator(_group)]


class Operator(Group):
    """The sockets in `runtime_dir` at which operators' tools (`top`, `tap`, `sessions`, `cut`, `errors`, `log-level`) reach the running node. Who may write to
    a socket's file may use it; there is no other key."""

    read_mode: FileMode = Field(
        "0660", description="Mode of `operator-read.sock`, at which the node only answers questions."
    )
    read_group: UnixGroup | None = Field(
        None,
        description="Group of `operator-read.sock`, of which the node's user must be a member. None: that of the node's user.",
    )
    act_mode: FileMode = Field(
        "0600", description="Mode of `operator.sock`, at which the node also does what is asked."
    )
    act_group: UnixGroup | None = Field(None, description="Group of `operator.sock`, as `read_group`.")

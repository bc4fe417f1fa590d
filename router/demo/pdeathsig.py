"""Run a command that the kernel ends when its parent process ends, even by SIGKILL: `pdeathsig.py PARENT COMMAND …`.

Run by path, not as a module, so that it imports nothing and costs a few milliseconds. Only Linux can promise this;
elsewhere a demo that is killed with SIGKILL leaves its children behind. Linux goes by the thread that started the
command, so start it from one that lasts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2): kept through execve


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it ended before we could ask
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606  the command is the caller's own
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

"""What the machine gives: room on its disks, and open files."""

import asyncio
import resource

from router.base.descriptors import reserve
from router.base.disk import low_on_space
from router.cli.checks.finding import Report, error, warning
from router.cli.checks.known import Known


async def check_disk(known: Known) -> Report:
    folders = known.settings.folders()
    problem = await asyncio.to_thread(low_on_space, folders)
    if problem is None:
        where = ", ".join(map(str, sorted(set(folders)))) or "no folder is written to"
        return Report(seen=f"room is left: {where}")
    return Report(
        [
            error(
                "disk",
                f"where the node writes there is a problem ({problem})",
                "so the store, the copy of certificates or the access log loses what comes",
                "make room there, or correct `state_dir`, `database_url` or `access_log`",
            )
        ]
    )


async def check_files(known: Known) -> Report:
    """Of the running node where it says so, else of a node that would be started from here."""
    running = [one.value for one in known.metrics or () if one.name == "process_max_fds"]  # one of each process
    if running:
        most, whose = int(min(running)), "the running node"
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a node raises its limit to the hard one
        most = 1 << 20 if hard == resource.RLIM_INFINITY else hard
        whose = "a node that is started from here"
    wanted = known.settings.limits.connections
    room = max(1, (most - reserve(most)) // 2)
    if room < wanted:
        return Report(
            [
                warning(
                    "open_files",
                    f"{whose} may open {most} files, which is enough for {room} connections, and `limits.connections` is {wanted}",
                    "so visitors get 503 sooner than the settings say",
                    "raise the limit (`LimitNOFILE=` of the unit, `ulimit -Hn`), or lower `limits.connections`",
                )
            ]
        )
    return Report(seen=f"{whose} may open {most} files")

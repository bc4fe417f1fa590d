"""A node as processes: their loops, their signals, their end.

`workers = 1`: one process with everything in it (`embedded.py`). More: a supervisor (`supervisor.py`) that carries no
traffic, one process with the API, the admin listener and the jobs, and so many workers with the proxy; each of these is
a fresh interpreter (`child.py`) on sockets that the supervisor opened and keeps.

SIGTERM, SIGINT   the first: /readyz says no for `drain_not_ready`, then requests end within `drain_requests`, then
                  tunnels and event streams within `drain_tunnels`. The second: everything ends at once.
SIGHUP            the access log is opened again, after logrotate has moved it away. With several processes: each is
                  replaced by one with the settings and the code of now
"""

from collections.abc import Callable, Mapping
from typing import Any

from router.settings import Settings
from router.workers import embedded, systemd
from router.workers.supervisor import Supervisor

__all__ = ["serve"]

Read = Callable[[], Mapping[str, Any]]


def serve(settings: Settings, read: Read) -> None:
    """Serve until a signal ends it. `read` gives what the settings are made of, again at each reload.

    Raises what `App.start` raises, ListenError, and SettingsError for what this version can't do.
    """
    variables = systemd.environment()
    passed = systemd.listeners(variables)
    notifier = systemd.Notifier(variables)
    try:
        if settings.workers > 1 and "proxy" in settings.roles:
            Supervisor(settings, read, passed, notifier).run()
        else:
            embedded.serve(settings, passed, notifier)
    finally:
        notifier.close()

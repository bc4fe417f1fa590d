"""Serve in a single process or in several, as `workers` says."""

from collections.abc import Callable, Mapping
from typing import Any

from router.base import descriptors
from router.node.processes import single, systemd
from router.node.processes.supervisor import Supervisor
from router.settings import Settings

Read = Callable[[], Mapping[str, Any]]


def serve(settings: Settings, read: Read) -> None:
    """Serve until a signal ends it. `read` gives what the settings are made of, again at each reload.

    Raises what `App.start` raises, ListenError, and SettingsError for what this version can't do.
    """
    descriptors.raise_limit()
    variables = systemd.environment()
    passed = systemd.listeners(variables)
    notifier = systemd.Notifier(variables)
    try:
        if settings.workers > 1 and "proxy" in settings.roles:
            Supervisor(settings, read, passed, notifier).run()
        else:
            single.serve(settings, passed, notifier)
    finally:
        notifier.close()

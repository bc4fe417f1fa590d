"""Serve in a single process or in several, as `workers` says."""

from collections.abc import Callable, Mapping
from typing import Any

from router.base import descriptors
from router.node.processes import systemd
from router.node.processes.garbage_collection import EVERYTHING, tune_gc
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
            from router.node.processes.supervisor import Supervisor  # noqa: PLC0415 - it carries no traffic, so it loads nothing that does

            tune_gc(EVERYTHING)
            Supervisor(settings, read, passed, notifier).run()
        else:
            from router.node.processes import single  # noqa: PLC0415 - likewise

            single.serve(settings, passed, notifier)
    finally:
        notifier.close()

"""One process with everything in it, or several: what `serve` comes to."""

from collections.abc import Callable, Mapping
from typing import Any

from router.settings import Settings
from router.workers import embedded, systemd
from router.workers.supervisor import Supervisor

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

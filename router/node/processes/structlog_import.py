"""Imports structlog without what it looks for and no process that serves needs."""

import sys

# rich draws tracebacks; ours are plain (`observe/logs.py`). greenlet is for a way to hold context that we don't use. Together
# 5 of the MiB that a worker would hold, and a few hundredths of each start.
_LOOKED_FOR = ("rich", "greenlet")


def import_structlog() -> None:
    """As it says. Who draws, or opens PostgreSQL, can still import them later."""
    known = {name: sys.modules.get(name) for name in _LOOKED_FOR}
    for name in _LOOKED_FOR:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
    import structlog  # noqa: F401, PLC0415

    for name, module in known.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module

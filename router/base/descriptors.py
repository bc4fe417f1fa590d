"""How many file descriptors this process may have, and how many of them its listeners may use.

A process without free descriptors cannot accept, dial, read the store or answer a health check. So the soft limit is
raised to the hard one at the start, and the proxy and the API together leave some for ask, health, the store and logs.
"""

import resource

import structlog

_MIN_RESERVE, _MAX_RESERVE = 64, 512
_UNLIMITED = 1 << 20

_log = structlog.get_logger("router.base.descriptors")


def raise_limit() -> None:
    """Raise the soft limit of this process, and of those that it will start, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # "unlimited" may be more than the kernel allows
            _log.warning("file descriptor limit not raised", limit=soft, error=str(error))


def limit() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def for_connections() -> int:
    """How many of them connections of clients and to backends may take."""
    most = limit()
    return most - reserve(most)


def reserve(most: int) -> int:
    """How many of so many they leave for everything else."""
    return min(max(most // 4, _MIN_RESERVE), _MAX_RESERVE)


def for_api() -> int:
    """How many of the others connections to the API may take."""
    return max(8, min(limit() // 16, 1024))

"""Which version of the program this is."""


def installed_version() -> str:
    """As pip has installed it."""
    from importlib.metadata import version  # noqa: PLC0415 - 1.6 MiB of a worker, which is told

    return version("miosa-router")

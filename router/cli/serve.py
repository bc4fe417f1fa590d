"""`serve` and `check-config`: run a node, and show what it would run with."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from router.cli.options import AsJson, Config
from router.cli.output import note, show
from router.cli.run_command import reported
from router.observe.secrets import mask_text


def serve(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write every log line as JSON.")] = False,
) -> None:
    """Run a node until a signal ends it. An SQLite database is created and migrated first; PostgreSQL needs `db upgrade`."""
    from router.node.processes.garbage_collection import spare_start
    from router.node.processes.structlog_import import import_structlog

    spare_start()
    import_structlog()
    from router.node.processes.serve import serve as serve_node
    from router.observe import logs
    from router.settings import parse
    from router.settings import read as read_settings

    def read() -> Mapping[str, Any]:
        return read_settings(config) | ({"log_format": "json"} if as_json else {})

    with reported(as_json):
        settings = parse(read())
        logs.configure(settings)
        serve_node(settings, read)


def check_config(config: Config = None, as_json: AsJson = False) -> None:
    """Print the settings in force, secrets masked. Fails if a key is unknown or wrong, and names it."""
    from router.node.domain_connect import key_of
    from router.settings import load

    with reported(as_json):
        settings = load(config)
        settings.secret_keys()  # its file is read at the start, which fails where that can't be
        settings.acme()
        settings.check_telemetry()
        settings.certificate_listener()
        if (doubt := settings.caa_doubt()) is not None:
            note(f"{doubt}. Put that one's name in CAA records into `ca.identities`, first.")
        key_of(settings)  # as is this one
        shown = _masked(settings.model_dump())
        show(shown, as_json, lambda: "\n".join(f"{key} = {json.dumps(value)}" for key, value in _flat(shown)))


def _masked(value: Any) -> Any:
    """Settings as JSON has them, in a stable order, without secrets."""
    from router.settings.model import SecretStr

    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, dict):
        return {str(key): _masked(inner) for key, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(_masked(inner) for inner in value)
    if isinstance(value, tuple | list):
        return [_masked(inner) for inner in value]
    if isinstance(value, str):
        return mask_text(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _flat(shown: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in shown.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value

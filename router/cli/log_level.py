"""`log-level`: from which level on the running node's modules log, and changing it for a while."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import AsJson, Config
from router.cli.output import show
from router.cli.run_command import command_settings, reported

if TYPE_CHECKING:
    from router.settings import Settings

_TIME = re.compile(r"([0-9]{1,6})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def log_level(
    module: Annotated[
        str | None, typer.Argument(metavar="[MODULE", help="`router`, or a part of it such as router.proxy.")
    ] = None,
    level: Annotated[
        str | None, typer.Argument(metavar="LEVEL]", help="debug, info, warning, error; default: as in the settings.")
    ] = None,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="For how long: 90s, 10m, 2h; 24h at most.")
    ] = "10m",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show from which level on the running node's modules log, or set one in all its processes for a while. It is audited."""
    match = _TIME.fullmatch(lasts)
    if match is None:
        raise typer.BadParameter(f"{lasts!r} is not a time such as 90s, 10m or 2h", param_hint="--for")
    if (module is None) != (level is None):
        raise typer.BadParameter("give a module and its level, as in `log-level router.proxy debug`, or neither")
    body = {"module": module, "level": level, "seconds": int(match[1]) * _SECONDS[match[2]]}

    async def ask(settings: "Settings") -> dict[str, Any]:
        from router.cli.operator_socket import act, read

        if module is None:
            return await read(settings, "/v1/log-levels")
        return await act(settings, "/v1/log-levels", body)

    with reported(as_json):
        document = asyncio.run(ask(command_settings(config)))
        show(document, as_json, lambda: "\n".join(level_lines(document)))


def level_lines(document: Mapping[str, Any]) -> Iterable[str]:
    """The levels for people."""
    rows = [("all modules", document["default"], "log_level of the settings")]
    for one in document["levels"]:
        where = (
            ""
            if set(one["processes"]) == set(document["processes"])
            else f", in processes {_numbers(one['processes'])} only"
        )
        rows.append((one["module"], one["level"], f"for another {_time(one['seconds_left'])}{where}"))
    widest = max(len(row[0]) for row in rows)
    for name, level, remark in rows:
        yield f"{name:<{widest}}  {level:<7}  {remark}"
    if document["silent"]:
        yield f"{document['silent']} workers do not answer"


def _numbers(processes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(processes))))


def _time(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if number]
    return " ".join(parts) or "0 s"

"""`top`: what the running node carries now, on one screen that is written again and again."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from router.cli.options import AsJson, Config
from router.cli.output import has_screen, say, terminal_screen, width
from router.cli.run_command import CommandError, command_settings, reported
from router.cli.top_screen import lines_of

if TYPE_CHECKING:
    from router.cli.output import Screen
    from router.settings import Settings

_ROWS_OF_TEXT: Final = 60  # of what is no terminal


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once, when the window is over, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds between two screens.")] = 2.0,
    window: Annotated[int, typer.Option(min=1, max=10, help="Seconds that rates and percentiles are of.")] = 5,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what the running node carries now: rates, errors, percentiles, busiest hosts, refusals, stores; until Ctrl-C. With
    --json one object per line."""
    with reported(as_json):
        settings = command_settings(config)
        try:
            if once:
                asyncio.run(_once(settings, window, as_json))
            elif as_json or not has_screen():
                asyncio.run(_lines(settings, window, interval, as_json))
            else:
                with terminal_screen() as screen:
                    asyncio.run(_screens(settings, window, interval, screen))
        except KeyboardInterrupt:
            return


async def _ask(settings: "Settings", window: int) -> dict[str, Any]:
    from router.cli.operator_socket import read

    return await read(settings, "/v1/top", {"window": str(window)})


async def _once(settings: "Settings", window: int, as_json: bool) -> None:
    """The node begins to count with the first question."""
    found = await _ask(settings, window)
    if found["seconds"] < window:
        await asyncio.sleep(window - found["seconds"] + 1)
        found = await _ask(settings, window)
    _print(found, as_json)


async def _lines(settings: "Settings", window: int, interval: float, as_json: bool) -> None:
    await _ask(settings, window)
    while True:
        await asyncio.sleep(interval)
        _print(await _ask(settings, window), as_json)


def _print(found: Mapping[str, Any], as_json: bool) -> None:
    text = json.dumps(found) if as_json else "\n".join(text for text, _ in lines_of(found, width(), _ROWS_OF_TEXT))
    say(text + ("\n" if as_json else "\n\n"))


async def _screens(settings: "Settings", window: int, interval: float, screen: "Screen") -> None:
    """A node that does not answer once it has, as during a reload, is asked again."""
    found, trouble = await _ask(settings, window), ""
    while True:
        screen.show(lambda columns, rows, found=found, trouble=trouble: lines_of(found, columns, rows, trouble))  # type: ignore[misc]
        await asyncio.sleep(interval if found["seconds"] or trouble else 1.0)
        try:
            found, trouble = await _ask(settings, window), ""
        except CommandError as error:
            trouble = error.message

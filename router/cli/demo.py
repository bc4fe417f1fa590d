"""`demo`: what `make run` starts."""

import asyncio
from pathlib import Path

import typer

from router.cli.options import AsJson
from router.cli.output import say, show_error
from router.cli.run_command import reported


def demo(as_json: AsJson = False) -> None:
    """Run the router, Caddy and sample sandboxes on this machine, until Ctrl-C."""
    from router.demo import stage

    with reported(as_json):
        try:
            asyncio.run(stage.run(Path.cwd(), say, as_json=as_json))
        except stage.DemoError as error:
            show_error("demo_failed", str(error), as_json)
            raise typer.Exit(1) from error

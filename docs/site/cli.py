"""The page of the command line, from typer's own commands: every command with its arguments and options."""

from collections.abc import Iterator

import click
import typer

from router.cli import app

INTRODUCTION = """\
# Command line

`miosa-router COMMAND`. Commands read the settings of the node (`--config FILE` and `MIOSA_ROUTER_*`) and work on its store, so
they run where the router runs. `-h` shows this page's text for each. With `--json` a command prints one JSON document. Errors go to standard
error with status 1; wrong usage ends with 2. `--version` shows the version, `--install-completion` sets up your shell.
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    return INTRODUCTION + "".join(_shown("miosa-router", root))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, with its words."""
    yield from _under("miosa-router", typer.main.get_command(app))


def _under(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    for name, inner in _inner(command):
        if isinstance(inner, click.Group) or hasattr(inner, "commands"):
            yield from _under(f"{words} {name}", inner)
        else:
            yield f"{words} {name}", inner


def _inner(command: click.Command) -> list[tuple[str, click.Command]]:
    return [(name, one) for name, one in getattr(command, "commands", {}).items() if not one.hidden]


def _shown(words: str, command: click.Command) -> Iterator[str]:
    alone = [(name, one) for name, one in _inner(command) if not hasattr(one, "commands")]
    groups = [(name, one) for name, one in _inner(command) if hasattr(one, "commands")]
    for name, one in alone:
        level = "##" if words == "miosa-router" else "###"
        anchor = f"{words.partition(' ')[2]} {name}".strip().replace(" ", "-")
        yield f"\n{level} `{name if words == 'miosa-router' else f'{words.rsplit(maxsplit=1)[-1]} {name}'}` {{ #{anchor} }}\n\n"
        yield f"{_text(one.help)}\n\n```text\n{words} {name}{_usage(one)}\n```\n\n"
        rows = [_row(parameter) for parameter in one.params if not getattr(parameter, "hidden", False)]
        if rows:
            yield "| argument or option | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    for name, one in groups:
        yield f"\n## `{name}` {{ #{name} }}\n\n{_text(one.help)}\n"
        yield from _shown(f"{words} {name}", one)


def _usage(command: click.Command) -> str:
    found = ""
    for parameter in command.params:
        shown = parameter.make_metavar(click.Context(command)) if parameter.param_type_name == "argument" else ""
        if parameter.param_type_name == "argument":
            found += f" {shown}"
        elif parameter.required:
            found += f" {parameter.opts[0]} {parameter.metavar or parameter.type.name.upper()}"
    return f"{found} [OPTIONS]" if any(not one.required for one in command.params) else found


def _row(parameter: click.Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or (parameter.name or '').upper()}`"
    elif parameter.type.name != "boolean":
        choices = getattr(parameter.type, "choices", None)
        value = "\\|".join(map(str, choices)) if choices else parameter.metavar or parameter.type.name.upper()
        names += f" `{value}`"
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else "none"
        if default in (None, False, ()) or callable(default)
        else f"`{default}`"
    )
    return f"| {names} | {shown} | {_text(getattr(parameter, 'help', '') or '')} |"


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")

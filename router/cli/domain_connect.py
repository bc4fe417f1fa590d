"""`domain-connect`: what an operator publishes so that customers' DNS providers take our links."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import AsJson, Config, group
from router.cli.output import show
from router.cli.run_command import command_settings, reported

if TYPE_CHECKING:
    from router.base.rs256 import RsaKey
    from router.domains.connect_templates import Names
    from router.settings import Settings

commands = group("DNS records in one click, at providers that support Domain Connect.")


@commands.command("public-key")
def public_key(config: Config = None, as_json: AsJson = False) -> None:
    """Print the TXT records of the public key, by which DNS providers verify that links are ours."""
    from router.domains.connect_templates import key_records

    with reported(as_json):
        settings, _, key = _set_up(config)
        name = f"{settings.domain_connect.key_name}.{settings.domain_connect.key_domain}"
        shown: dict[str, Any] = {"name": name, "type": "TXT", "values": key_records(key.public_text())}
        show(shown, as_json, lambda: "\n".join(f'{name}. TXT "{value}"' for value in shown["values"]))


@commands.command("templates")
def templates(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files are written.")],
    provider_name: Annotated[
        str | None, typer.Option("--provider-name", help="What people are shown as ours; the provider_id if not given.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write our templates, as the settings have their names: they are published once, where DNS providers take them from."""
    from router.domains.connect_templates import file_name, template

    with reported(as_json):
        _, names, _ = _set_up(config, provider_name)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / file_name(names, service) for service in names.services]
        for file, service in zip(files, names.services, strict=True):
            file.write_text(json.dumps(template(names, service), indent=2) + "\n", encoding="utf-8")
        show({"files": [str(file) for file in files]}, as_json, lambda: "\n".join(map(str, files)))


def _set_up(config: Path | None, provider_name: str | None = None) -> "tuple[Settings, Names, RsaKey]":
    """What the settings say of Domain Connect. Raises SettingsError where it is off, or its key can't be used."""
    from router.node.domain_connect import key_of, names_of
    from router.settings import SettingsError

    settings = command_settings(config)
    names, key = names_of(settings, provider_name or ""), key_of(settings)
    if names is None or key is None:
        raise SettingsError([("domain_connect.provider_id", "is not set: Domain Connect is off")])
    return settings, names, key

"""Writes deploy/domain-connect/*.json from router/domains/connect_templates.py: `make docs`. A unit test says when they are out of date."""

import json
from pathlib import Path

from router.domains.connect_templates import EXAMPLE, file_name, template

FOLDER = Path(__file__).parents[1] / "deploy" / "domain-connect"


def files() -> dict[str, str]:
    """The files, by their names."""
    return {
        file_name(EXAMPLE, service): json.dumps(template(EXAMPLE, service), indent=2) + "\n"
        for service in EXAMPLE.services
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")

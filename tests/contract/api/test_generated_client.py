"""A client that is generated from /openapi.json is complete, and works."""

import asyncio
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from router.api.operations import Operation
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.processes import BIN

pytestmark = pytest.mark.asyncio

NAME = "generated_miosa_client"


def generate(document: bytes, folder: Path) -> None:
    """Write the client; any warning is a failure."""
    (folder / "openapi.json").write_bytes(document)
    words = ["generate", "--path", "openapi.json", "--output-path", NAME, "--meta", "none", "--fail-on-warning"]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [BIN / "openapi-python-client", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name: importlib.import_module(f"{NAME}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


async def test_a_generated_client(
    api: ApiClient, acme: Account, table: list[Operation], tmp_path: Path, importing: Any
) -> None:
    """It has a function for each operation, and what it sends and reads are the bodies that are documented."""
    document = (await api("GET", "/openapi.json", key=None)).body
    await asyncio.to_thread(generate, document, tmp_path)
    operations = [path for path in (tmp_path / NAME / "api").rglob("*.py") if path.name != "__init__.py"]
    assert len(operations) == len(table)

    models: ModuleType = importing("models")
    client = importing("client").AuthenticatedClient(base_url=f"http://127.0.0.1:{api.port}", token=str(api.key))

    async def ask(operation: str, *arguments: Any, **named: Any) -> Any:
        answer = await importing(f"api.{operation}").asyncio_detailed(*arguments, client=client, **named)
        assert answer.status_code < 300, answer
        return answer.parsed.data

    async with client:
        made = await ask(
            "projects.projects_create",
            body=models.CreateProject(
                name="Site",
                workspace_id=acme.workspace.id,
                metadata=models.CreateProjectMetadataType0.from_dict({"a": [1]}),
            ),
        )
        assert (made.name, made.metadata["a"]) == ("Site", [1])
        listed = await ask("projects.projects_list", workspace_id=acme.workspace.id, page_size=100)
        assert made.id in {project.id for project in listed}
        sandbox = await ask("sandboxes.sandboxes_create", body=models.CreateSandbox(name="box", project_id=made.id))
        assert sandbox.project_id == made.id
        hook = await ask(
            "webhooks.webhooks_create",
            body=models.CreateWebhook(url="https://hooks.example.com/in", event_types=["domain.*"]),
        )
        changed = await ask("webhooks.webhooks_patch", hook.id, body=models.PatchWebhook(enabled=False))
        assert (changed.enabled, changed.event_types) == (False, ["domain.*"])
        who = await ask("account.account_whoami")
        assert who.organization.slug == acme.tenant.slug
        wrong = await importing("api.projects.projects_create").asyncio_detailed(
            client=client, body=models.CreateProject(name="Nowhere")
        )
        assert (wrong.status_code, wrong.parsed.error.code) == (400, "WORKSPACE_REQUIRED")

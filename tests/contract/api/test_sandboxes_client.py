"""What the official client does with sandboxes."""

import asyncio

import miosa
import pytest

from router.node.services import Services
from router.tenancy.endpoints import EndpointChange
from tests.support.accounts import Account

pytestmark = pytest.mark.asyncio


async def run(services: Services, sandbox_id: str) -> None:
    """Say what the platform says when a sandbox has started."""
    await services.resources.endpoints.put(EndpointChange(resource_id=sandbox_id, address="10.0.0.7", generation="1"))


async def test_official_client(client: miosa.Miosa, acme: Account, services: Services) -> None:
    """`client.sandboxes` works unmodified."""
    loop = asyncio.get_running_loop()

    def use() -> None:
        made = client.sandboxes.create(
            name="box",
            size="medium",
            tags=["a", "b"],
            metadata={"k": 1},
            slug="my-box",
            workspace_slug="clinic",
            workspace_name="Clinic",
            project_slug="site",
            external_user_id="u1",
            idle_timeout_sec=60,
            persistent=True,
        )
        assert (made.state, made.ready, made.slug, made.size) == ("provisioning", False, "my-box", "medium")
        assert (made.workspace_slug, made.workspace_name, made.project_slug) == ("clinic", "Clinic", "site")
        assert (made.tenant_id, made.external_user_id, made.template_id) == (acme.tenant.id, "u1", "miosa-sandbox")
        assert (made.cpu_count, made.memory_mb, made.disk_size_mb) == (4, 8192, 51200)
        assert (made.idle_timeout_sec, made.persistent, made.metadata) == (60, True, {"k": 1})
        assert (made.preview_url, made.url_class) == ("https://my-box.miosa.app", "platform")
        assert made.created_at is not None
        asyncio.run_coroutine_threadsafe(run(services, made.id), loop).result(10)
        assert made.refresh().state == "running"
        assert made.ready
        assert [one.id for one in client.sandboxes.list(state="running", tags=["a", "b"])] == [made.id]
        assert client.sandboxes.list(external_user_id="u2") == []
        assert client.sandboxes.get(made.id).name == "box"
        assert client.sandboxes.get_by_name("box").id == made.id
        assert client.sandboxes.get_or_create("box").id == made.id
        assert client.sandboxes.get_or_create("other").id != made.id
        made.update(name="new", tags=["c"], metadata={"n": 2}, always_on=True, timeout_sec=9, slug="her-box")
        assert (made.name, made.data["tags"], made.metadata) == ("new", ["c"], {"n": 2})
        assert (made.always_on, made.timeout_sec, made.slug) == (True, 9, "her-box")
        assert made.expose(5173) == "https://5173-her-box.sandbox.miosa.app"
        assert made.get_host(5173) == "5173-her-box.sandbox.miosa.app"
        assert made.get_url(5173, "x") == "https://5173-her-box.sandbox.miosa.app/x"
        info = made.expose_info(5173)
        assert (info.url_class, info.stable_for_embedding, info.recommended_next_action) == ("platform", True, "none")
        assert info.data["preview"]["port"] == 5173
        preview = made.previews.create(port=8000, name="docs", host_mode="localhost")
        assert made.previews.get(preview["id"]) == preview
        assert [one["port"] for one in made.previews.list()] == [5173, 8000]
        made.previews.delete(preview["id"])
        assert [one["port"] for one in made.previews.list()] == [5173]
        made.destroy()
        assert made.state == "destroyed"
        with pytest.raises(miosa.NotFoundError, match="No sandbox with id"):
            client.sandboxes.get(made.id)
        client.sandboxes.delete(client.sandboxes.get_by_name("other").id)
        assert client.sandboxes.list() == []

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa, services: Services) -> None:
    """And so does its async twin."""
    sandboxes = async_client.sandboxes
    made = await sandboxes.create(name="box", tags=["a"], slug="my-box")
    await run(services, made.id)
    assert (await made.refresh()).state == "running"
    assert [one.id for one in await sandboxes.list(tags=["a"])] == [made.id]
    assert (await sandboxes.get(made.id)).name == "box"
    assert (await sandboxes.get_by_name("box")).id == made.id
    assert (await made.update(name="new", metadata={"n": 2})).metadata == {"n": 2}
    assert await made.expose(5173) == "https://5173-my-box.sandbox.miosa.app"
    preview = await made.previews.create(port=8000, visibility="private")
    assert preview["visibility"] == "private"
    assert await made.previews.get(preview["id"]) == preview
    assert [one["port"] for one in await made.previews.list()] == [5173, 8000]
    await made.previews.delete(preview["id"])
    await made.destroy()
    assert made.state == "destroyed"
    assert await sandboxes.list() == []

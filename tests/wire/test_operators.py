"""The operators' sockets of a whole node, as its only process and as one of several."""

import os
from pathlib import Path

import pytest

from tests.support.node import node_settings, running
from tests.support.operators import call, runtime_folder
from tests.wire.test_ipc import Node as Ipc

pytestmark = pytest.mark.asyncio


async def test_a_node_of_one_process_answers(tmp_path: Path) -> None:
    async with runtime_folder() as folder:
        async with running(node_settings(tmp_path, runtime_dir=str(folder)), drain=True):
            status, said = await call(folder / "operator-read.sock", "GET", "/v1/node")
            assert (status, said["processes"]) == (200, [{"process": 0, "pid": os.getpid()}])
        assert not list(folder.iterdir())


async def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    async with running(node_settings(tmp_path)):
        assert not list(tmp_path.rglob("*.sock"))


async def test_workers_are_asked() -> None:
    """Each with its number; what they report comes with it too."""
    node = Ipc()
    workers = [await node.hire(2), await node.hire(1)]
    workers[0].answers.add("question", lambda arguments: ["two", arguments["x"]])
    workers[1].answers.add("question", lambda arguments: ["one", arguments["x"]])
    assert await node.control_side.ask_operator("question", {"x": 5}) == ([(1, ["one", 5]), (2, ["two", 5])], 0)
    assert await node.control_side.ask_operator("unknown", {}) == ([(1, None), (2, None)], 0)
    for worker in workers:
        worker.worker_side.close()
    await node.control_side.close()

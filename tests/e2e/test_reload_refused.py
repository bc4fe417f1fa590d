"""A reload with settings that can't be used: nothing changes, and the log says which setting it is."""

import json
import signal
from pathlib import Path

import pytest

from router.node.ipc.process_messages import TO_SUPERVISOR, Failed, ReopenLogs
from router.node.ipc.wire import Message
from router.node.processes.control_socket import ControlSocket, pair
from tests.support.processes import BIN, Process, children
from tests.support.router import Router

pytestmark = [pytest.mark.e2e]

WRONG = {  # a configuration file -> the setting that the refusal names
    'colour = "red"': "colour",
    "docs_url = ": "router.toml",
    "docs_url = 7": "docs_url",
    "[limits]\nbody_idle = -1": "limits.body_idle",
    '[checks]\nat_once = "many"': "checks.at_once",
    'trusted_proxies = ["nowhere"]': "trusted_proxies",
    'dns_servers = ["not a server"]': "dns",
    "[nothing]\nx = 1": "nothing",
}


def test_each_refusal_names_the_setting(tmp_path: Path) -> None:
    """Whatever is wrong with the settings, the line of the refusal names the key, or the file where it can't be read."""
    router = Router(tmp_path, workers=2)
    config = tmp_path / "router.toml"
    config.write_text("")
    router.prepare()
    command = [BIN / "miosa-router", "serve", "--config", config]
    with Process(command, tmp_path / "router.log", router.environment, tmp_path) as process:
        process.until(router.ready, 60)
        before = set(children(process.pid))
        for number, (wrong, setting) in enumerate(WRONG.items()):
            config.write_text(wrong)
            process.signal(signal.SIGHUP)
            process.until(lambda number=number: len(refusals(process)) > number, 60)
            refusal = refusals(process)[number]
            problems = refusal["problems"]
            assert any(setting in key for key, _ in problems), (wrong, refusal)
        process.until(lambda: set(children(process.pid)) == before, 30)


def refusals(process: Process) -> list[dict[str, list[tuple[str, str]]]]:
    return [json.loads(line) for line in process.output.splitlines() if '"reload refused' in line]


@pytest.mark.asyncio
async def test_the_last_message_outlives_a_reset() -> None:
    """A process that ends with messages of ours unread resets its socket; its last message, why it could not start, is
    heard all the same, and then its end."""
    ours, theirs = pair()
    heard: list[Message | None] = []
    control_socket = ControlSocket(ours, TO_SUPERVISOR, lambda message, _: heard.append(message))
    assert control_socket.send(ReopenLogs())
    theirs.send(json.dumps({"failed": "colour: unknown setting"}).encode())
    theirs.close()
    control_socket.finish()
    assert heard == [Failed("colour: unknown setting"), None]

"""The responder in a node as users start it: through reloads, and on sockets of systemd."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from router.base.clock import SystemClock
from router.certificates.order import OrderState
from router.store import Store
from tests.support import activation
from tests.support.held_certificates import an_order
from tests.support.ports import free_port
from tests.support.processes import BIN, Process
from tests.support.responder_zone import ZONE, query, said
from tests.support.router import Router
from tests.support.waiting import until
from tests.support.workers import control

pytestmark = [pytest.mark.e2e]

SETTINGS = {"acme_zone": ZONE, "acme_dns_names": "ns1.example.net", "secrets_key": "ab12" * 16}


def add_order(router: Router, *values: str) -> str:
    """An order with these values; its token."""
    now = datetime.now(UTC)
    order = an_order(
        f"{len(values)}.customer.org",
        now,
        state=OrderState.PUBLISHED,
        txt=values,
        next_at=now + timedelta(hours=1),
    )

    async def add() -> None:
        store = await Store.open(router.environment["MIOSA_ROUTER_DATABASE_URL"], clock=SystemClock())
        async with store.begin() as tx:
            assert await tx.acme_orders.add(order)
        await store.close()

    asyncio.run(add())
    return order.token


def ask(port: int, asked: dns.message.Message, *, tcp: bool = False, within: float = 30.0) -> dns.message.Message:
    """As resolvers do: again where there is no answer, which is so with a packet that a process had read when it ended."""
    deadline = time.monotonic() + within
    while True:
        try:
            return dns.query.tcp(asked, "127.0.0.1", 5, port) if tcp else dns.query.udp(asked, "127.0.0.1", 2, port)
        except (dns.exception.Timeout, EOFError, OSError):
            assert time.monotonic() < deadline, "no answer"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def node(tmp_path: Path, port: int) -> Iterator[Router]:
    with Router(tmp_path, workers=2, acme_dns_bind=f"127.0.0.1:{port}", **SETTINGS) as router:
        yield router
    assert router.process.status == 0


def test_a_node_of_several_processes(node: Router, port: int) -> None:
    """Answers from the store, goes on through a reload and the death of its control process, and counts."""
    token = add_order(node, "one", "two")
    asked = query(f"{token}.{ZONE}")
    for tcp in (False, True):
        until(lambda tcp=tcp: said(ask(port, asked, tcp=tcp)) == ("NOERROR", True, ['"one"', '"two"']), "answered", 5)
    assert b'miosa_router_responder_queries_total{result="txt",worker="0"}' in node.get_admin("/metrics")[2]
    before = control(node.process.pid)
    node.process.signal(signal.SIGHUP)

    def replaced() -> bool:
        """Whether the control process is another by now; whoever answers meanwhile, somebody does."""
        assert said(ask(port, asked))[0] == "NOERROR"
        assert said(ask(port, asked, tcp=True))[0] == "NOERROR"
        return not set(before) & set(control(node.process.pid))

    until(replaced, "the control process was replaced", 60)
    (pid,) = control(node.process.pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: control(node.process.pid) not in ([], [pid]), "there is a successor")
    assert said(ask(port, asked, within=60))[0] == "NOERROR"


def test_on_systemds_sockets(tmp_path: Path, port: int) -> None:
    """That of UDP and that of TCP, whatever `acme_dns_bind` says; without that setting the start is refused in words."""
    router = Router(tmp_path, acme_dns_bind="127.0.0.1:1", **SETTINGS)
    router.prepare()
    command = [sys.executable, activation.__file__, f"dns={port}", "--", str(BIN / "miosa-router"), "serve"]
    with Process(command, tmp_path / "router.log", router.environment, tmp_path) as process:
        process.until(router.ready)
        assert ask(port, query(ZONE, "SOA")).answer
        assert ask(port, query(ZONE, "SOA"), tcp=True).answer
    del router.environment["MIOSA_ROUTER_ACME_ZONE"]
    with Process(command, tmp_path / "refused.log", router.environment, tmp_path) as process:
        until(lambda: process.status is not None, "it ends")
        assert (process.status, "acme_dns_bind are not set" in process.output) == (1, True)

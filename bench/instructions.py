"""What a small GET costs our own code, without kernel and event loop: `python -m bench.instructions [--opcodes|--valgrind]`

With `--private` the preview is private, and its visitor comes in by the cookie of a share link (with `--template caddy`: by
https, as cookies have to). `--template connect` opens a connection for each request. With `--template chunked` a response is 16
chunks of 1 KiB in one read.

`--template visitors` is the traffic of the scenario of that name (`bench/visitors.py`): 300 hosts with a pool each, long
cookies, and responses that differ too.

The real connections, pool, recorder, metrics and access log, between transports that throw away what they are given.
Each request's head differs from the last in path and cookie. Three figures, each steadier than
the time of a request through sockets: the least CPU time of many rounds, the interpreter's instructions by function
(`--opcodes`), and the processor's (`--valgrind`, which has to be installed; half a minute).
"""

import argparse
import asyncio
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path
from types import FrameType
from typing import Any, cast

from bench import visitors
from router.base.clock import SystemClock
from router.gate.evidence import MemoryEvidence
from router.node.processes.garbage_collection import TRAFFIC, tune_gc
from router.observe.access import JsonLines
from router.observe.metrics import Metrics
from router.observe.output import Output
from router.observe.recorder import AccessLog, Consumer, Recorder
from router.pages import Pages
from router.proxy.backend import BackendConnection
from router.proxy.client import ClientConnection
from router.proxy.worker_state import WorkerState
from router.routes.policies import SecretKind
from router.routes.resolver import Resolver
from router.settings import Cache, Limits
from tests.support.access import MemoryKeys, cookie, grant, policies, secret, signing
from tests.support.edge import LOOPBACK
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, resource

_HOST = f"3000-bench.sandbox.{PLATFORM}".encode("ascii")
_CACHE = Cache().model_copy(update={"ttl": 3600.0})  # so that nothing is looked up anew while a loaded machine measures
_COUNTED = 2000  # requests of a round, and between two looks at what valgrind has counted
_ROUNDS = 30
_TRACED = 640  # requests whose opcodes are counted

_REQUEST = (
    b"GET /%b HTTP/1.1\r\nHost: " + _HOST + b"\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Cookie: session=6f1d2b9c8a7e4%b; theme=dark\r\n\r\n"
)
# As Caddy sends it on: names sorted, and what it says of the client.
_FROM_CADDY = (
    b"GET /%b HTTP/1.1\r\nHost: " + _HOST + b"\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    b"Cookie: session=6f1d2b9c8a7e4%b; theme=dark\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Via: 2.0 Caddy\r\n"
    b"X-Forwarded-For: 203.0.113.9\r\n"
    b"X-Forwarded-Host: " + _HOST + b"\r\n"
    b"X-Forwarded-Proto: https\r\n\r\n"
)
_ANSWER = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100

_CHUNKED = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 16
    + b"0\r\n\r\n"
)

# `page` is what a browser asks for one page: targets differ, and nothing else does.
_PAGE = _REQUEST.replace(b"%b; theme", b"f30; theme%.0b")
_CONNECT = "connect"
_TEMPLATES = {
    "page": _PAGE,
    "browser": _REQUEST,
    "caddy": _FROM_CADDY,
    "chunked": _PAGE,
    _CONNECT: _PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
}


_VISITORS = "visitors"
_SIGNING = signing("bench")


def _private(template: bytes) -> bytes:
    """The same with the cookie of a share link in front."""
    line = cookie(grant(resource_id="id-of-bench"), _SIGNING)
    return template.replace(b"Cookie: ", line + b"; ")


class _Wire:
    """A transport that counts what it is given and drops it."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.written += sum(map(len, parts))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    abort = close


class Rig:
    """One client's connection, and the kept connection to the backend that its requests take. `log` None writes no access log, and
    without `counted` nothing is counted: what the rest costs that every node pays."""

    def __init__(
        self,
        log: Path | None,
        *,
        private: bool,
        consumers: Sequence[Consumer] = (),
        counted: bool = True,
        hosts: Sequence[bytes] = (_HOST,),
        connects: bool = False,
    ) -> None:
        clock = SystemClock()
        metrics = Metrics()
        records = MemoryRecords()
        policy = {"policies": policies(secret("link", SecretKind.LINK))} if private else {}
        records.put(
            resource(slug="bench", **policy), *(resource(slug=_slug(number)) for number in range(visitors.HOSTS))
        )
        self._hosts = hosts
        self._resolver = Resolver(
            records, platform_domain=PLATFORM, reserved_ports=frozenset(), limits=_CACHE, clock=clock
        )
        self.recorder = Recorder(
            metrics=metrics,
            clock=clock,
            access=None if log is None else AccessLog(Output(str(log)), JsonLines(None), clock),
            consumers=[MemoryEvidence(clock).learn, *consumers],
        )
        if not counted:
            later = self.recorder._consumers[1:]  # noqa: SLF001 - a bench may look inside; the first are the metrics
            self.recorder._consumers = later  # noqa: SLF001
        self._worker = WorkerState(
            resolver=self._resolver,
            pages=Pages("https://docs.miosa.ai/errors"),
            recorder=self.recorder,
            metrics=metrics,
            # No timer of the pool may end while a machine under load warms up.
            limits=Limits().model_copy(update={"backend_idle_unproven": 3600.0}),
            trusted_proxies=LOOPBACK,
            backend_networks=LOOPBACK,
            own_listeners=(),
            clock=clock,
            access=MemoryKeys(_SIGNING),
        )
        self.to_client, self.to_backend = _Wire(), _Wire()
        self._connects = connects
        self._client = self._open()

    def _open(self) -> ClientConnection:
        client = ClientConnection(self._worker)
        client.connection_made(cast(asyncio.Transport, self.to_client))
        return client

    async def warm_up(self) -> None:
        """What the first request to a host costs, and its connection, is not what is measured here."""
        self._backends = [await self._connect(host) for host in self._hosts]
        await self._resolver.close()

    async def _connect(self, host: bytes) -> BackendConnection:
        prepared = self._worker.prepare(await self._resolver.resolve(host))
        backend = BackendConnection(self._worker, prepared.pool)
        backend.connection_made(cast(asyncio.Transport, self.to_backend))
        # As after its first response: nobody has to find out any more whether the backend takes it.
        prepared.pool.sent(backend)
        prepared.pool.answered(backend, self._worker.now)
        prepared.pool.give(backend, self._worker.now)
        return backend

    def run(self, requests: Iterable[bytes], answer: bytes) -> None:
        """Requests to the first host and their answers, one after the other."""
        self.exchange(zip(requests, repeat(0), repeat(answer)))

    def exchange(self, exchanges: Iterable[tuple[bytes, int, bytes]]) -> None:
        """Requests, the numbers of their hosts, and their answers, one after the other."""
        ask = self._client.data_received
        replies = [backend.data_received for backend in self._backends]
        if self._connects:
            for request, host, answer in exchanges:
                client = self._open()
                client.data_received(request)
                replies[host](answer)
                client.connection_lost(None)
            return
        for request, host, answer in exchanges:
            ask(request)
            replies[host](answer)


def _heads(template: bytes, count: int) -> list[bytes]:
    """Heads that all differ, as they do in life."""
    return [template % (b"assets/%06d/app.js?v=%d" % (number, number), b"%06x" % number) for number in range(count)]


def _slug(number: int) -> str:
    return f"box{number}"


def _host(number: int) -> str:
    return f"{_slug(number)}.{PLATFORM}"


def _visits() -> list[tuple[bytes, int, bytes]]:
    """As many as any part of this needs, so that making them costs each the same."""
    asked = list(visitors.visits(_host, 3 * _COUNTED))
    return [(visit.head, visit.host, answer) for visit, answer in zip(asked, visitors.responses(asked), strict=True)]


def _time(rig: Rig, exchanges: Sequence[tuple[bytes, int, bytes]]) -> float:
    """Microseconds of CPU time per request, the least of many rounds."""
    least = math.inf
    for _ in range(_ROUNDS):
        begun = time.process_time()
        rig.exchange(exchanges)
        least = min(least, time.process_time() - begun)
    return least / len(exchanges) * 1e6


def opcodes(rig: Rig, requests: Sequence[bytes]) -> Counter[str]:
    """The interpreter's instructions by function, for requests to the first host."""
    return _opcodes(rig, [(request, 0, _ANSWER) for request in requests])


def _opcodes(rig: Rig, exchanges: Sequence[tuple[bytes, int, bytes]]) -> Counter[str]:
    """The interpreter's instructions by function. Its specialised ones are counted like those they stand for."""
    counts: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            code = frame.f_code
            counts[f"{Path(code.co_filename).name}:{code.co_qualname}"] += 1
        return trace

    sys.settrace(trace)
    rig.exchange(exchanges)
    sys.settrace(None)
    return counts


def _processor_instructions(template: str, *, private: bool) -> int:
    """Instructions per request: the difference between two runs under valgrind, of which one has more requests."""

    def counted(requests: int) -> int:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m"]
        command += ["bench.instructions", "--template", template, "--only", str(requests)]
        command += ["--private"] if private else []
        # With other hashes dictionaries would have other collisions, and a run another count.
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800, env=environment)
        return int(re.findall(r"Collected : (\d+)", done.stderr)[0])

    return (counted(3 * _COUNTED) - counted(_COUNTED)) // (2 * _COUNTED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", choices=sorted((*_TEMPLATES, _VISITORS)), default="browser")
    parser.add_argument("--private", action="store_true", help="of a private preview, by a cookie")
    parser.add_argument("--opcodes", action="store_true", help="the interpreter's instructions, by function")
    parser.add_argument("--valgrind", action="store_true", help="the processor's instructions")
    parser.add_argument("--only", type=int, metavar="N", help="do that many requests and measure nothing")
    chosen = parser.parse_args()
    if chosen.private and chosen.template == _VISITORS:
        parser.error("the hosts of visitors are public")
    if chosen.template == _VISITORS:
        exchanges = _visits()[: chosen.only]
        hosts = [_host(number).encode("ascii") for number in range(visitors.HOSTS)]
    else:
        template = _TEMPLATES[chosen.template]
        if chosen.private:
            template = _private(template)
        answer = _CHUNKED if chosen.template == "chunked" else _ANSWER
        exchanges = [(head, 0, answer) for head in _heads(template, chosen.only or _COUNTED)]
        hosts = [_HOST]
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder:
        connects = chosen.template == _CONNECT
        rig = Rig(Path(folder) / "access.log", private=chosen.private, hosts=hosts, connects=connects)
        asyncio.run(rig.warm_up())
        tune_gc(TRAFFIC)
        if chosen.only:
            rig.exchange(exchanges)
            return
        print(f"{_time(rig, exchanges):.2f} µs per request")
        if chosen.opcodes:
            counts = _opcodes(rig, exchanges[:_TRACED])
            print(f"{counts.total() / _TRACED:.0f} opcodes per request")
            for name, number in counts.most_common(25):
                print(f"{number / _TRACED:8.1f}  {name}")
    if chosen.valgrind:
        print(f"{_processor_instructions(chosen.template, private=chosen.private)} instructions per request")


if __name__ == "__main__":
    main()

"""The scenarios of visitors (`bench/visitors.py`): through each proxy, and through Caddy with TLS and HTTP/2 before it."""

from collections import Counter
from pathlib import Path

from bench import h2_load
from bench.load import Load, h2_visits, wrk
from bench.scenarios import Bench, Scenario, fronts
from bench.stage import Contestant, host_of
from bench.visitors import HOSTS, VISITS, visits
from tests.support.router import PLATFORM_DOMAIN

_CONNECTIONS = 32
_STEP = 8000  # visits between the starts of two rounds, so that no proxy soon sees a head again


def _heads(folder: Path) -> Path:
    """The file that `wrk` takes its requests from."""
    file = folder / "visitors.heads"
    if not file.exists():
        file.write_bytes(b"".join(visit.head for visit in visits(host_of)))
    return file


def _frames(folder: Path) -> Path:
    file = folder / "visitors.frames"
    if not file.exists():
        h2_load.write(visits(host_of), file)
    return file


class _Starts:
    """Where each contestant's next round begins: the same for all in a round."""

    def __init__(self) -> None:
        self._rounds: Counter[str] = Counter()

    def next(self, name: str) -> int:
        self._rounds[name] += 1
        return self._rounds[name] * _STEP % VISITS


def visitors(bench: Bench) -> None:
    """What a proxy has to carry in life: heads that all differ, long cookies, many hosts, responses that differ."""
    title = f"visitors: 300 hosts, no two heads alike, {_CONNECTIONS} connections kept alive"
    table = bench.results.table("visitors", title, "request")
    table.notes.append(
        "24,000 heads that differ in path, query, referer, browser and cookies of 0.1–1.5 KB; a third ask whether what they"
        " have is fresh, and half of those get a 304. Bodies of 1–20 KB; ETag, Date and Set-Cookie change. Ours has a pool"
        " for each host, the others share one."
    )
    file = _heads(bench.stage.folder)
    starts = _Starts()

    def work(one: Contestant) -> Load:
        return wrk(
            f"http://127.0.0.1:{one.port}/",
            host_of(0),
            connections=_CONNECTIONS,
            seconds=bench.seconds,
            script="visitors.lua",
            words=(str(file), str(starts.next(one.name))),
        )

    contestants = bench.contestants()
    each = ("each", "box", f".{PLATFORM_DOMAIN}", str(HOSTS))
    for one in contestants:  # what the first request to a host costs is not measured here
        url = f"http://127.0.0.1:{one.port}/"
        wrk(url, host_of(0), connections=_CONNECTIONS, seconds=1, script="hosts.lua", words=each)
    bench.interleave(table, contestants, work)


def visitors_tls(bench: Bench) -> None:
    """The same behind Caddy, which ends TLS and speaks HTTP/2."""
    table = bench.results.table(
        "visitors-tls", "visitors behind Caddy with TLS, HTTP/2, 8 connections of 4 streams", "request"
    )
    table.notes.append(
        "The generator is `bench/h2_load.py`, since h2load sends the same header fields with each request."
    )
    file = _frames(bench.stage.folder)
    starts = _Starts()

    def work(front: Contestant) -> Load:
        return h2_visits(front.port, file, starts.next(front.name), seconds=bench.seconds)

    fronts(bench, table, work)


SCENARIOS: dict[str, Scenario] = {"visitors": visitors, "visitors-tls": visitors_tls}

"""The scenario of ten thousand hosts in Zipf order, each asked for once before."""

from bench.load import Load, wrk
from bench.peers import STATIC, nginx
from bench.scenarios import WARM, Bench, contest
from bench.stage import HOSTS, OURS, Contestant
from tests.support.router import PLATFORM_DOMAIN

PER_HOST = "nginx per host"
_CONNECTIONS = 32


def zipf(bench: Bench) -> None:
    """Ours, the others with one pool for all hosts, and nginx with a pool for each, which is the fair one."""
    table = bench.results.table("zipf", f"{HOSTS:,} hosts, warm, in Zipf order", "request")
    table.notes.append(
        "Ours keeps connections per resource for half a minute and never shares them. nginx does so with an upstream per"
        " host, found by a map of names; the others share one pool."
    )
    stage = bench.stage
    fair = bench.contestants(OURS)
    if "nginx" in stage.versions:
        # Programs of its own: one process may not have files enough for 10,000 connections of each.
        port = stage.another_backend("backend-of-peer")
        peer = stage.start(PER_HOST, nginx.start_per_host, static=port)
        fair.append(contest(PER_HOST, stage.ports[PER_HOST], peer.process))
    others = bench.contestants("nginx", "nginx+lua", "haproxy")

    def ask(one: Contestant, order: str, seconds: int, first: int = 0) -> Load:
        return wrk(
            f"http://127.0.0.1:{one.port}/",
            STATIC,
            connections=_CONNECTIONS,
            seconds=seconds,
            script="hosts.lua",
            words=(order, "box", f".{PLATFORM_DOMAIN}", str(HOSTS), "/", str(first)),
        )

    # Apart, since ours and its peer close connections that are not used for half a minute or a minute.
    for contestants in (fair, others):
        for one in contestants:
            asked = 0
            while asked < HOSTS:
                done = ask(one, "each", WARM, asked).done
                if not done:
                    raise RuntimeError(f"{one.name} answers nothing")
                asked += done
        bench.interleave(table, contestants, lambda one: ask(one, "zipf", bench.seconds))

"""Every kind of request, at every setting of `wake`, with every access, while the platform answers and the resource changes as
each story says: what the visitor heard, what the program saw, and how often a wake was asked for."""

import time
from dataclasses import dataclass, field

import pytest

from router.routes.records import Endpoint, State
from router.routes.wakes import Wake, WakeRecord, WakeState
from router.wake.waker import Reason
from tests.support.access import plain, policies, secret
from tests.support.edge import RunningEdge, until
from tests.support.records import resource
from tests.support.sleeper import FakeWaker
from tests.support.wire import Backend, Message
from tests.wire.conftest import BuildEdge

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_SHOWN = 20  # rows in a failure

# Each kind: whether it waits (a page in its place, or held), is told to come later, or is answered as the resource is.
KINDS = {
    "navigation": ("page", "GET", "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"),
    "old browser": ("page", "GET", "Accept: text/html,*/*;q=0.8\r\n"),
    "form": ("page", "POST", "Sec-Fetch-Mode: navigate\r\nContent-Length: 3\r\n"),
    "curl": ("held", "GET", "User-Agent: curl/8.9\r\nAccept: */*\r\n"),
    "head": ("held", "HEAD", "Accept: */*\r\n"),
    "options": ("held", "OPTIONS", "Accept: */*\r\n"),
    "script": ("held", "GET", "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n"),
    "post": ("held", "POST", "Content-Type: application/json\r\nContent-Length: 3\r\n"),
    "git": ("held", "GET", "User-Agent: git/2.45\r\nGit-Protocol: version=2\r\n"),
    "websocket": ("held", "GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
    "event stream": ("held", "GET", "Accept: text/event-stream\r\n"),
    "prefetch": ("never", "GET", "Sec-Purpose: prefetch\r\nSec-Fetch-Mode: navigate\r\n"),
    "prerender": ("never", "GET", "Sec-Purpose: prefetch;prerender\r\n"),
    "old prefetch": ("never", "GET", "Purpose: prefetch\r\n"),
    "link preview": ("never", "GET", "User-Agent: Slackbot-LinkExpanding 1.0\r\n"),
    "crawler": ("never", "GET", "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1)\r\n"),
    "monitor": ("never", "GET", "X-Miosa-Monitor: 1\r\n"),
    "early data": ("early", "GET", "Early-Data: 1\r\n"),
    "early navigation": ("early", "GET", "Early-Data: 1\r\nSec-Fetch-Mode: navigate\r\n"),
}

# Who comes, and whether each setting lets them wake it; strangers are let nowhere.
ACCESS = {
    "public": {Wake.OFF: "stopped", Wake.ANY: "wakes", Wake.AUTHORISED: "stopped"},
    "stranger": dict.fromkeys(Wake, "stranger"),
    "token": {Wake.OFF: "stopped", Wake.ANY: "wakes", Wake.AUTHORISED: "wakes"},
}

# What happens while it waits: `is …` is the resource's state, `+4` are seconds that pass, the others are the wake's record.
# Then what those hear that are held, and those that get a page: status, code, Retry-After; 200 is the program's answer.
STORIES = """
    asked, starting, is starting, is running            200 -             -   200 -             -
    is running                                          200 -             -   200 -             -
    is starting, is running                             200 -             -   200 -             -
    queued, queued, asked, starting, is running         200 -             -   200 -             -
    is starting, is paused, is starting, is running     200 -             -   200 -             -
    asked, starting, is stopping, is paused, is running 200 -             -   200 -             -
    asked, +4, is running                               200 -             -   503 starting      3
    queued, +4, asked, starting, is running             200 -             -   503 starting      3
    asked, starting, +11                                503 starting      3   503 starting      3
    queued, +11                                         503 starting      3   503 starting      3
    is starting, is provisioning, +11                   503 starting      3   503 starting      3
    asked, refused 402                                  402 wake_payment_required -   402 wake_payment_required -
    asked, refused 403                                  403 wake_refused  -   403 wake_refused  -
    asked, refused 409                                  503 wake_not_possible 30  503 wake_not_possible 30
    asked, failed                                       503 wake_failed   10  503 wake_failed   10
    queued, asked, starting, failed                     503 wake_failed   10  503 wake_failed   10
    asked, is error                                     503 wake_failed   10  503 wake_failed   10
    asked, is destroyed                                 410 resource_deleted - 410 resource_deleted -
    asked, is off                                       503 stopped      30   503 stopped      30
"""
Heard = tuple[int, str, str]


def stories() -> dict[str, dict[str, Heard]]:
    """What is heard of each, by what becomes of the kind."""
    found = {}
    for line in filter(str.strip, STORIES.splitlines()):
        *words, a, b, c, d, e, f = line.split()
        found[" ".join(words)] = {"held": (int(a), b, c), "page": (int(d), e, f)}
    return found


ANSWERED: dict[str, Heard] = {
    "stopped": (503, "stopped", "30"),
    "stranger": (401, "token_missing", "-"),
    "early": (425, "too_early", "-"),
}


@dataclass(frozen=True)
class Row:
    kind: str
    wake: Wake
    access: str
    story: str
    heard: Heard
    wakes: bool

    @property
    def served(self) -> bool:
        return self.heard[1] == "-"


def rows(kind: str) -> list[Row]:
    """Those of one kind. A browser opens an event stream again only after 200 or no answer at all, so 503 is 200 there, as
    everywhere in the proxy, with the code and nothing but the time to come back in."""
    found, becomes = [], KINDS[kind][0]
    for access, settings in ACCESS.items():
        for wake, answer in settings.items():
            for story, heard in stories().items():
                wakes = answer == "wakes" and becomes in ("held", "page")
                if wakes:
                    said = heard[becomes]
                else:
                    said = ANSWERED[
                        "early"
                        if answer == "wakes" and becomes == "early"
                        else "stopped"
                        if answer == "wakes"
                        else answer
                    ]
                if kind == "event stream" and said[0] == 503:
                    said = (200, *said[1:])
                found.append(Row(kind, wake, access, story, said, wakes=wakes))
    return found


@dataclass
class Stage:
    """One row's resource, which sleeps at first."""

    edge: RunningEdge
    backend: Backend
    row: Row
    slug: str
    version: int = 1
    state: State = State.PAUSED
    options: dict[str, object] = field(default_factory=dict)

    def becomes(self, state: State, wake: Wake) -> None:
        self.version += 1
        endpoint = Endpoint("127.0.0.1", "boot-1") if state is State.RUNNING else None
        values = {"state": state, "endpoint": endpoint, "default_port": self.backend.port, "version": self.version}
        self.edge.put(resource(self.slug, **self.options | {"wake": wake} | values))

    async def play(self) -> None:
        for step in self.row.story.split(", "):
            word, _, rest = step.partition(" ")
            if word == "is":
                off = rest == "off"
                self.becomes(State.PAUSED if off else State(rest), Wake.OFF if off else self.row.wake)
            elif word.startswith("+"):
                self.edge.advance(float(word))
            else:
                self.version += 1
                now, code = time.time(), int(rest) if rest else None
                place = 2 if word == "queued" else None
                record = WakeRecord(
                    f"id-of-{self.slug}", WakeState(word), now, now + 600, self.version, place=place, code=code
                )
                self.edge.put(record)
            await self.edge.turns(5)


async def play(edge: RunningEdge, waker: FakeWaker, backend: Backend, row: Row, slug: str) -> Message:
    """The row's request, and what comes of it; what is asked for is told by `waker`."""
    stage = Stage(edge, backend, row, slug)
    if row.access != "public":
        stage.options["policies"] = policies(secret("door"))
    stage.becomes(State.PAUSED, row.wake)
    _, method, lines = KINDS[row.kind]
    lines += f"X-Miosa-Preview-Token: {plain('door')}\r\n" if row.access == "token" else ""
    request = f"{method} /{slug} HTTP/1.1\r\nHost: {slug}.miosa.app\r\n{lines}\r\n"
    client = await edge.client()
    await client.send(request.encode() + (b"a=b" if method == "POST" else b""))
    if row.wakes:
        await until(lambda: any(asked == f"id-of-{slug}" for asked, _, _ in waker.asked))
        await stage.play()
        return await client.read_response(method.encode())
    answer = await client.read_response(method.encode())
    await stage.play()
    return answer


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_what_becomes_of_each(build_edge: BuildEdge, kind: str) -> None:
    """As the table says."""
    waker = FakeWaker()
    edge = await build_edge(waker=waker)
    backend = edge.backend("program")
    wrong = []
    async with backend.serving(OK) as seen:
        for number, row in enumerate(rows(kind)):
            slug = f"row{number}"
            waker.asked.clear()
            seen.clear()
            answer = await play(edge, waker, backend, row, slug)
            code, after = (answer.get(name) or b"-" for name in (b"x-miosa-error", b"retry-after"))
            heard = (answer.status, code.decode(), after.decode())
            cold = answer.get(b"x-miosa-cold-start") == b"1"
            saw = [(one.method.decode(), one.target.decode(), one.body) for one in seen]
            method = KINDS[kind][1]
            program = [(method, f"/{slug}", b"a=b" if method == "POST" else b"")] if row.served else []
            reason = Reason.WEBSOCKET if kind == "websocket" else Reason.HTTP
            asked = [(f"id-of-{slug}", backend.port, reason)] if row.wakes else []
            if (heard, saw, waker.asked, cold) != (row.heard, program, asked, row.served):
                wrong.append((row, heard, saw, waker.asked, cold))
    assert not wrong, f"{len(wrong)} of {len(rows(kind))}: " + "\n".join(map(str, wrong[:_SHOWN]))


def test_the_table_is_whole() -> None:
    """Each story with each kind, setting and access."""
    whole = [row for kind in KINDS for row in rows(kind)]
    assert len(whole) == len(KINDS) * len(Wake) * len(ACCESS) * len(stories())
    assert len(whole) > 600
    assert len({(row.kind, row.wake, row.access, row.story) for row in whole}) == len(whole)

"""`make run`, that is `miosa-router demo`, as people use it: paste what it prints, stop it, start it again."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Process, alive, children
from tests.support.router import MIOSA_ROUTER
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

UP = "The access log follows"
START = 60.0


def start(folder: Path, *words: str) -> Process:
    """A demo in `folder`, which may still be on its way up."""
    folder.mkdir(exist_ok=True)
    log = folder / f"demo-{len(list(folder.glob('demo-*')))}.log"
    return Process([MIOSA_ROUTER, "demo", *words], log, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a space in its path, as people have them."""
    return tmp_path_factory.mktemp("a demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Process]:
    with start(folder) as process:
        process.says(UP, START)
        yield process


def sections(demo: Process) -> dict[str, tuple[str, str]]:
    """What the demo printed: {what: (link, curl line)}."""
    guide = demo.output.partition("\n\n")[2].partition("API key")[0]
    return {
        what: (url.strip(), line.strip())
        for what, url, line in (part.splitlines() for part in guide.strip().split("\n\n"))
    }


def paste(demo: Process, folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    """Paste the curl line for `what` into a shell, and again where the certificate, made for this very call, begins
    after the time of a clock that has been set back a little since."""
    line = sections(demo)[what][1]
    done: list[subprocess.CompletedProcess[str]] = []

    def pasted() -> bool:
        done.append(
            subprocess.run(
                ["sh", "-c", line],
                cwd=folder,
                capture_output=True,
                timeout=30,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        )
        return "certificate is not yet valid" not in done[-1].stderr

    until(pasted, "the certificate is valid by this machine's clock")
    return done[-1]


ANSWERS = {
    "a page, by its exact custom domain": "A sandbox that serves pages",
    "the same, in the project's zone": "A sandbox that serves pages",
    "the same, by port, on the platform's domain": "A sandbox that serves pages",
    "an upload, in the tenant's zone": '"size": 50000000',
    "an event stream": "event: tick",
    "a WebSocket": "hello",
    "plain HTTP, sent on to HTTPS": "308",
    "a sandbox that sleeps: the visit wakes it, which takes some 3 s": "A sandbox that sleeps",
    "sending it to sleep again, as the platform does after 90 s without use": '"state": "paused"',
    "a private sandbox: strangers get a page that says so": '"code": "',
    "the same, by its share link": "A sandbox that serves pages",
    "a sandbox that is starting: the page tries again by itself": '"code": "starting"',
    "a port on which nothing listens": '"code": "port_closed"',
    "why a name leads where it does": "www.clinic.localhost",
    "metrics": "# HELP",
    "the API, as the platform uses it": '"slug":"pages"',
}


@pytest.mark.parametrize("what", ANSWERS)
def test_each_printed_line_answers(demo: Process, folder: Path, what: str) -> None:
    """Each curl line, pasted as it is, shows what it promises."""
    done = paste(demo, folder, what)
    assert done.returncode == 0, done.stderr
    assert ANSWERS[what] in done.stdout


def test_the_printed_lines_are_all_tried(demo: Process) -> None:
    """No line is printed that the tests do not paste."""
    assert set(sections(demo)) == {*ANSWERS, REFUSED}


REFUSED = "a name that leads nowhere: the gate refuses the certificate, the handshake fails"


def test_the_refused_name_is_refused(demo: Process, folder: Path) -> None:
    """Status 35 is curl's word for a handshake that failed."""
    assert paste(demo, folder, REFUSED).returncode == 35


def test_the_access_log_is_shown(demo: Process, folder: Path) -> None:
    """Each request appears on the terminal."""
    paste(demo, folder, "a page, by its exact custom domain")
    demo.until(lambda: "www.clinic.localhost" in demo.output.partition(UP)[2])


def test_endings_are_explained(demo: Process, folder: Path) -> None:
    """The line of an exchange that did not end as both sides wanted says in words what happened."""
    paste(demo, folder, "a port on which nothing listens")
    demo.until(lambda: "(the backend refused or reset every try to connect: 502)" in demo.output.partition(UP)[2])


def test_a_second_demo_says_what_is_the_matter(demo: Process, folder: Path) -> None:
    """Started twice in one folder: the second names the first and how to stop it, and leaves it alone."""
    with start(folder) as second:
        assert second.wait() == 1
        assert f"kill {demo.pid}" in second.output
    assert demo.status is None


def test_busy_ports_are_left_alone(demo: Process, tmp_path: Path) -> None:
    """A demo in another folder takes the next free ports, says so, and works."""
    with start(tmp_path) as second:
        second.says(UP, START)
        for name in ("proxy", "api", "admin", "https", "http"):
            assert f" is taken: {name} is on " in second.output
        assert paste(second, tmp_path, "a page, by its exact custom domain").returncode == 0
    assert demo.status is None


def test_programs_get_one_document(tmp_path: Path) -> None:
    """With --json standard output is one JSON document with every link, the key and the ports."""
    with start(tmp_path, "--json") as demo:
        demo.until(lambda: demo.output.endswith("\n"), START)
        document = json.loads(demo.output)
        assert document["api_key"].startswith("msk_live_")
        assert {place["what"] for place in document["places"]} == {*ANSWERS, REFUSED}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end every child, and the next start in the same folder works."""
    for _ in range(2):
        with start(tmp_path) as demo:
            demo.says(UP, START)
            started = children(demo.pid)
            assert len(started) == 6
            demo.signal(number)
            assert demo.wait() == 0
            assert "nothing is left running" in demo.output
            assert not any(alive(pid) for pid in started)


def test_stopping_on_the_way_up_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C before everything runs ends what runs already."""
    with start(tmp_path) as demo:
        demo.says("starting the router", START)
        started = children(demo.pid)
        assert started
        demo.signal(signal.SIGINT)
        assert demo.wait() == 0
        assert not any(alive(pid) for pid in started)


def test_a_killed_demo_takes_its_children_along(tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up; the children notice, and the next start works."""
    with start(tmp_path) as demo:
        demo.says(UP, START)
        started = children(demo.pid)
        demo.signal(signal.SIGKILL)
        demo.wait()
        until(lambda: not any(alive(pid) for pid in started), "the children ended", 20)
    with start(tmp_path) as again:
        again.says(UP, START)


def test_a_child_that_dies_ends_the_demo(tmp_path: Path) -> None:
    """The demo says which child it was and what it said last, and ends the others."""
    with start(tmp_path) as demo:
        demo.says(UP, START)
        started = children(demo.pid)
        [router] = [pid for pid in started if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        os.kill(router, signal.SIGKILL)
        assert demo.wait() == 1
        assert "router ended with status -9" in demo.output
        assert not any(alive(pid) for pid in started)

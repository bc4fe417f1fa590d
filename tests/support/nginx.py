"""nginx as a program behind the edge, with what its packages switch on."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.ports import answers, free_port
from tests.support.processes import Process

HOW = "tests/install-servers.sh installs it from Debian's package `nginx-light`, as root"

_CONFIG = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 100; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  gzip on;
  gzip_types *;
  gzip_min_length 20;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


def find_nginx() -> str:
    """Its path. Skips the test, and says so on the terminal in red, where it is not installed; in CI that fails."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        print(f"\n\x1b[1;31mNOT TESTED: what nginx makes of us; {HOW}\x1b[0m", file=sys.__stderr__)
        if "CI" in os.environ:
            pytest.fail(f"nginx is not installed; {HOW}")
        pytest.skip(f"nginx is not installed; {HOW}")
    return found


class Nginx(Process):
    """Serves the files of `folder` at `port`, compressed for whom it thinks able."""

    def __init__(self, folder: Path) -> None:
        program = find_nginx()
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(folder=folder, port=self.port, user="user root;" if os.getuid() == 0 else ""),
            encoding="utf-8",
        )
        super().__init__([program, "-e", folder / "nginx-error.log", "-c", config], folder / "nginx.log")
        try:
            self.until(lambda: answers(self.port))
        except BaseException:
            self.stop()
            raise

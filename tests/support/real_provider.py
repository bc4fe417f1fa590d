"""A real OpenID Connect provider that is not ours, as a process: `oidc-provider`, for Node.js."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.processes import Process

_PROGRAM = Path(__file__).parent / "oidc_provider" / "provider.mjs"
_LIBRARY = Path(sys.prefix) / "oidc-provider" / "node_modules" / "oidc-provider" / "lib" / "index.js"
_HOW = "tests/install-servers.sh installs it by npm, and Node.js as root"


def find_provider() -> None:
    """Skips the test, and says so on the terminal in red, where there is none; in CI that fails."""
    if shutil.which("node") is not None and _LIBRARY.exists():
        return
    print(f"\n\x1b[1;31mNOT TESTED: signing in at a real provider, for want of one; {_HOW}\x1b[0m", file=sys.__stderr__)
    if "CI" in os.environ:
        pytest.fail(f"oidc-provider is not installed; {_HOW}")
    pytest.skip(f"oidc-provider is not installed; {_HOW}")


class RealProvider:
    """For one client. Whoever signs in is the e-mail address that they type, which counts as verified; any password is right."""

    client_id = "miosa"
    client_secret = "a secret of the client's"

    def __init__(self, folder: Path, redirect_uri: str) -> None:
        settings = {"client_id": self.client_id, "client_secret": self.client_secret, "redirect_uri": redirect_uri}
        command = ["node", str(_PROGRAM), str(_LIBRARY), json.dumps(settings)]
        self._process = Process(command, folder / "provider.log")

    def __enter__(self) -> Self:
        try:
            self._process.says("serving http")
        except BaseException:
            self._process.stop()
            raise
        found = re.search(r"serving (\S+)", self._process.output)
        assert found is not None
        self.issuer = found[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()

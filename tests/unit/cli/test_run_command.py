"""Who runs a command, as blocks and the audit log call them."""

import getpass
import os

import pytest

from router.cli.run_command import user


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container often has none for its number: the command works all the same."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user() == f"user {os.getuid()}"

"""Challenges: what only the owner of a name can have published, or only we can answer. Names and paths, no I/O.

    _miosa-challenge.<name>  TXT  <token>                      whoever can publish it decides what the name leads to
    http://<name>/.well-known/miosa-challenge/<token>          we answer with a proof that nobody else knows

The path says nothing of the proof, so that a server which sends back what it was asked for shows nothing.
"""

import secrets
from dataclasses import dataclass
from typing import Protocol

LABEL = "_miosa-challenge"
PATH = "/.well-known/miosa-challenge/"
MAX_BODY = 1024
_BYTES = 16  # 128 bits


def new_token() -> str:
    """Something to publish or to answer that nobody can guess."""
    return secrets.token_hex(_BYTES)


def txt_name(name: str) -> str:
    """Where the TXT record of a name is looked for."""
    return f"{LABEL}.{name}"


def proof_for(challenge: tuple[str, str], path: bytes) -> bytes | None:
    """What to answer to a request for this path under a name with that challenge; None: it asks for something else."""
    token, proof = challenge
    return proof.encode("ascii") if path == f"{PATH}{token}".encode("ascii") else None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a request: its status and the first bytes of its body, or None and a word on what went wrong."""

    status: int | None
    body: bytes = b""
    reason: str | None = None


class Fetch(Protocol):
    """Asks a host by HTTP for a path, as its visitors would. The host is a stranger's, and so is its address."""

    async def get(self, host: str, path: str, until: float) -> Fetched:
        """The answer, at most `MAX_BODY` bytes of it. `until` is an instant of the monotonic clock. Raises nothing."""

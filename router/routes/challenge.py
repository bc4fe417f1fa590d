"""The HTTP challenge of a domain check, as the proxy responds to it. `domains/checks/challenge.py` asks."""

from typing import Final

PATH: Final = "/.well-known/miosa-challenge/"


def proof_for(challenge: tuple[str, str], path: bytes) -> bytes | None:
    """The proof for a request for this path under a name with that challenge; None if it asks for something else."""
    token, proof = challenge
    return proof.encode("ascii") if path == f"{PATH}{token}".encode("ascii") else None

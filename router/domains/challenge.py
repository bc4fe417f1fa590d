"""Challenges: what only the owner of a name can have published, or only we can answer. Names and paths, no I/O.

    _miosa-challenge.<name>  TXT  <token>                      whoever can publish it decides what the name leads to
    http://<name>/.well-known/miosa-challenge/<token>          we answer with a proof that nobody else knows

The path says nothing of the proof, so that a server which sends back what it was asked for shows nothing.
"""

import secrets

LABEL = "_miosa-challenge"
PATH = "/.well-known/miosa-challenge/"
_BYTES = 16  # 128 bits


def new_token() -> str:
    """Something to publish or to answer that nobody can guess."""
    return secrets.token_hex(_BYTES)


def txt_name(name: str) -> str:
    """Where the TXT record of a name is looked for."""
    return f"{LABEL}.{name}"

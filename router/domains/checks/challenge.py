"""Challenges: what only the owner of a name can have published, or only we can answer. Names and paths, no I/O.

    _miosa-challenge.<name>  TXT  <token>                      only the owner of the name can publish it
    http://<name>/.well-known/miosa-challenge/<token>          we answer with a secret of this registration

The path says nothing of the proof, so that a server which sends back what it was asked for shows nothing.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# What DNS providers and copying leave around a value: blanks, quotes, also escaped ones, and bytes that are no ASCII (a
# lookup writes them `\ddd`), as typographic quotes and blanks without width are.
_AROUND = r"""(?:[ "'`]|\\["']|\\[0-9]{3})*"""
_TOKEN = re.compile(f"{_AROUND}([0-9A-Fa-f]{{32}}){_AROUND}")

LABEL = "_miosa-challenge"
MAX_BODY = 1024
_BYTES = 16  # 128 bits


def new_token() -> str:
    """A random token to publish or to answer with."""
    return secrets.token_hex(_BYTES)


def shows(values: Iterable[str], token: str) -> bool:
    """Whether one of a name's TXT records shows this token: with quotes or blanks around it and in capitals too.

    That is safe: a token is a number of 128 bits in hexadecimal, which capitals and quotes leave as it is, and nobody who
    does not know it can write any form of it.
    """
    found = [match[1].lower() for match in map(_TOKEN.fullmatch, values) if match is not None]
    return bool(token) and any(secrets.compare_digest(one.encode(), token.encode()) for one in found)


def txt_name(name: str) -> str:
    """The name of the TXT record that shows who owns a name."""
    return f"{LABEL}.{name}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a request: its status and the first bytes of its body, or None and a word on what went wrong.

    `https` is whether it went by https in the end, because it was asked for so or after a redirect. `problem` is the code of
    an error response of our own (`X-Miosa-Error`): the request reached us, and we had nothing for its Host.
    """

    status: int | None
    body: bytes = b""
    reason: str | None = None
    https: bool = False
    problem: str | None = None


class Fetch(Protocol):
    """Asks a host by HTTP for a path, as its visitors would. The host is a stranger's, and so is its address."""

    async def get(self, host: str, path: str, until: float, *, https: bool = False) -> Fetched:
        """The response, at most `MAX_BODY` bytes of it; redirects to the same host are followed. `until` is an instant of
        the monotonic clock. Raises nothing.

        Its `reason` where there is no response, or none that counts: `timeout`, `refused`, `unreachable`, `tls`,
        `address_not_public`; `redirect_loop` (to where it came from), `too_many_redirects`, `redirected_elsewhere`."""

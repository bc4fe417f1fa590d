"""HTTPS records (RFC 9460), as far as they send visitors elsewhere. Pure.

    app  HTTPS  0 other.example.                      an alias: browsers that know the type go there, whatever A says
    app  HTTPS  1 . alpn="h2" ipv4hint="192.0.2.1"    addresses that browsers may dial instead of those of A and AAAA
    app  HTTPS  1 . port="8443"                       a port that is not ours

A CDN writes such records for names that it serves. They stay behind when a name moves away from it, and nobody sees them in
a list of A and AAAA records.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

_FORM = re.compile(r"(?P<priority>[0-9]{1,5}) (?P<target>\S+)(?P<parameters>.*)")
_HINTS = re.compile(r'ipv[46]hint="?([0-9a-fA-F:.,]+)"?')
_PORT = re.compile(r'\bport="?([0-9]{1,5})"?')
_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Binding:
    """One record: `target` is another name that it leads to, None where it is about its own; `hints` are addresses."""

    text: str
    target: str | None
    hints: tuple[str, ...] = ()
    port: int = _HTTPS_PORT


def read(text: str, name: str) -> Binding | None:
    """The record of `name` as a lookup gives it; None where it can't be read, as then no browser reads it."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    target = match["target"].lower().rstrip(".")
    other = target if target not in {"", name} else None
    if match["priority"] == "0":  # an alias, whose parameters count for nothing (RFC 9460 §2.4.2)
        return Binding(text, other)
    hints = [hint for found in _HINTS.findall(match["parameters"]) for hint in found.split(",")]
    port = _PORT.search(match["parameters"])
    return Binding(text, other, tuple(filter(None, map(_address, hints))), int(port[1]) if port else _HTTPS_PORT)


def leads_away(binding: Binding, ours: Collection[str], strange: Collection[str]) -> bool:
    """Whether it sends visitors elsewhere: to an address that is not `ours`, to a `strange` name, or to another port."""
    return binding.target in strange or binding.port != _HTTPS_PORT or any(hint not in ours for hint in binding.hints)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None

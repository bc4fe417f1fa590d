"""A request record, and which of those that are kept somebody asks for."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from router.observe import endings

# At fault: who ended the exchange early, or answered with an error.
NOBODY: Final = 0
EDGE: Final = 1
APPLICATION: Final = 2
CLIENT: Final = 3

COLD_START: Final = 1  # flags
TUNNEL: Final = 2
CAPTURED: Final = 4  # its headers and the beginning of its bodies are kept
REPLAY: Final = 8

GAP: Final = ""  # the ending of a row that says how many records were lost

_FAULTS: Final = {"E": EDGE, "B": APPLICATION, "b": APPLICATION, "C": CLIENT, "c": CLIENT, "-": NOBODY}
_FAILED: Final = 500  # from this status on the answer is an error
_REFUSED: Final = 400
_FIXED_BYTES: Final = 90  # that a store needs for a record beside its texts
# What breaks a response off that had begun well, or ends a tunnel that somebody still used.
_BROKEN: Final = frozenset({endings.BACKEND_IN_BODIES, endings.BACKEND_TIMEOUT_IN_BODIES, endings.EDGE_IN_BODIES, "BT"})


class Record(NamedTuple):
    """What became of one exchange; or, where `ending` is `GAP`, that some records of a resource were lost around `at`.

    `id` puts records in the order in which they were stored, over all nodes; before that it is the record's number among those that
    are stored with it. `at` is when the exchange ended, in microseconds since 1970, `total` how many it took. `tenant` and `resource` are the bytes
    of UUIDs. `details` is what nobody searches for, in one text because a database takes a quarter of a microsecond for each column: see `Details`.
    """

    tenant: bytes
    id: int
    resource: bytes
    at: int
    request_id: str
    host: str
    method: str
    path: str
    status: int
    ending: str
    fault: int
    total: int
    details: str


Row = tuple[bytes, int, bytes, int, str, str, str, str, int, str, int, int, str]  # a record that is to be stored


class Details(NamedTuple):
    """The rest of a record. Durations are in microseconds, `first_byte` below 0 where no answer began. `weight` is how many
    requests the record stands for, or how many were lost; `network` the client's, of 24 bits, or 48 of IPv6; `error` the code of an
    answer of ours; `version` the id of a deployment's, `trace_id` that of the trace which the request said it was part of."""

    received: int
    sent: int
    first_byte: int
    queue: int
    dial: int
    wake: int
    flags: int
    weight: int
    network: str
    error: str
    version: str
    trace_id: str


_NUMBERS: Final = 8
_WORDS: Final = 12


def details_of(record: Record) -> Details:
    """The rest of a record, read."""
    words = record.details.split(" ")
    if len(words) < _WORDS:  # stored before records had traces
        words.append("")
    return Details(*map(int, words[:_NUMBERS]), *words[_NUMBERS:])  # type: ignore[arg-type]  # eight numbers, and texts


def size_of(record: Row) -> int:
    """About how many bytes a store needs for it."""
    return _FIXED_BYTES + len(record[4]) + len(record[5]) + len(record[7]) + len(record[12])


def gap(tenant: bytes, number: int, resource: bytes, lost: int, at: int) -> Row:
    """That records were lost."""
    return (tenant, number, resource, at, "", "", "", "", 0, GAP, NOBODY, 0, f"0 0 -1 0 0 0 0 {lost}   ")


def fault_of(ending: str, status: int) -> int:
    """Whose fault it was that an exchange did not end well."""
    fault = _FAULTS.get(ending[:1], EDGE)
    return APPLICATION if fault == NOBODY and status >= _FAILED else fault


def is_error(ending: str, status: int) -> bool:
    """Whether it failed for its visitor: an answer from 500 on, or one that broke off. A visitor who leaves is no error."""
    return status >= _FAILED or ending in _BROKEN


def is_client_error(status: int) -> bool:
    """Whether the request was refused, by the edge or by the program."""
    return _REFUSED <= status < _FAILED


@lru_cache(maxsize=8192)
def network_of(client: bytes) -> str:
    """The network of a client's address, which says where a visitor is and not who; empty where it is no address."""
    try:
        address = ipaddress.ip_address(client.decode("ascii", "replace"))
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        return str(ipaddress.IPv4Network((int(address), 24), strict=False))
    return str(ipaddress.IPv6Network((int(address), 48), strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records of one tenant; None is no condition. `since` and `until` are in microseconds since 1970, `min_total` in
    microseconds; `status` is the lowest and the highest; `failed` means those of which something is anybody's fault, and gaps."""

    tenant: bytes
    resource: bytes | None = None
    host: str | None = None
    method: str | None = None
    path_contains: str | None = None
    status: tuple[int, int] | None = None
    ending: str | None = None
    fault: int | None = None
    min_total: int | None = None
    since: int | None = None
    until: int | None = None
    request_id: str | None = None
    failed: bool = False

"""How exchanges that have ended travel from the process that carried them to the one that keeps their records.

One pack is the packed records of a batch, one behind the other, each a head of fixed size and the texts whose lengths it
says. Packing happens in the process that carries traffic, so it does nothing else: what depends on a text (its escaping, the
route pattern, the client's network) is done by whoever reads the pack. It costs 0.4 µs a record, compiled.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from uuid import UUID

from router.observe.ended_exchange import Finished
from router.observe.endings import COMBINATIONS
from router.observe.trace_context import SIZE as TRACE_SIZE
from router.observe.trace_context import pack_trace
from router.records.record import COLD_START, TUNNEL
from router.routes.records import ResourceRecord
from router.routes.route import Route

# Instant of the end (monotonic clock), seconds in all and until the first byte (below 0: none), bytes in and out, status,
# ending, flags, lengths of: id, method, path, host, client, error, version.
_HEAD: Final = struct.Struct("<d2fQQH2sBBBHBBBB")
_SIZE: Final = 45  # of it; a test holds the two together
# Behind it, as flags say: seconds until its route was looked up, and that it waited for a place, a connection, a resource that
# starts; the trace that it is part of; and whose it was: the ids of
# tenant and resource, where that was not the same as of the record before.
_WAITS: Final = struct.Struct("<4f")
_WAITS_SIZE: Final = 16
_ID_SIZE: Final = 36
_TRACED: Final = 32
_WAITED: Final = 64  # flags, beside those of a record
_NEXT: Final = 128
_PACKED: Final = _TRACED | _WAITED | _NEXT

FORM: Final = 2  # to be raised with each change of what a pack looks like

_MAX_PATH: Final = 1024  # bytes; the rest is cut, as in the access line
_MAX_TEXT: Final = 255
_ENDINGS: Final = {ending: ending.encode("ascii") for ending in COMBINATIONS}


# One record of a pack: the numbers and ids of its head, then its texts, as strangers sent them; the host is the route's. A plain tuple, since to make one
# with names costs a microsecond more.
Packed = tuple[
    float, float, float, float, float, float, int, int, int, bytes, int, bytes, bytes,
    bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, float,
]  # fmt: skip


def pack(batch: Sequence[Finished]) -> bytes:
    """The exchanges of a batch that were for a resource; others are nobody's."""
    out: list[bytes] = []
    last: object = None
    before: object = None
    owner = whose = version = host = client = b""
    address = ""
    head = _HEAD.pack
    for done in batch:
        route = done.route
        if route is None:
            continue
        resource = route.resource
        if resource is None:
            continue
        if route is not last:
            last = route
            if route.record is None:
                route.record = _record_of(route, resource)
            host, version, whose = route.record
            if resource is not before:
                before = resource
                owner = whose
        path = done.target.partition(b"?")[0]
        if len(path) > _MAX_PATH:
            path = path[:_MAX_PATH]
        method = done.method
        if len(method) > _MAX_TEXT:
            method = method[:_MAX_TEXT]
        if done.client != address:
            address = done.client
            client = address.encode("ascii", "replace")
        ending = _ENDINGS.get(done.ending)
        if ending is None:
            ending = done.ending.encode("ascii")
        problem = done.problem
        error = b"" if problem is None else problem.code.encode("ascii")
        started, first_byte, ended = done.started, done.first_byte, done.ended
        waits = b""
        flags = done.marks
        if done.queued_at or done.dialled_at or done.held_at or done.resolved_at:
            resolve = queue = dial = wake = 0.0
            if done.resolved_at:
                resolve = done.resolved_at - started
            if done.queued_at:
                queue = (done.admitted_at or ended) - done.queued_at
            if done.dialled_at:
                dial = (done.connected_at or ended) - done.dialled_at
            flags |= _WAITED
            if done.held_at:
                wake = (done.woken_at or ended) - done.held_at
                flags |= COLD_START
            waits = _WAITS.pack(resolve, queue, dial, wake)
        if done.traceparent:
            trace = pack_trace(done.traceparent, believed=done.by_trusted_proxy())
            if trace:
                flags |= _TRACED
                waits += trace
        if done.tunnel:
            flags |= TUNNEL
        if owner:
            flags |= _NEXT
        request_id = done.id
        fixed = head(
            ended,
            ended - started,
            first_byte - started if first_byte else -1.0,
            done.received,
            done.sent,
            done.status,
            ending,
            flags,
            len(request_id),
            len(method),
            len(path),
            len(host),
            len(client),
            len(error),
            len(version),
        )
        out.append(
            b"%b%b%b%b%b%b%b%b%b%b" % (fixed, waits, owner, request_id, method, path, host, client, error, version)
        )
        owner = b""
    return b"".join(out)


def _record_of(route: Route, resource: ResourceRecord) -> tuple[bytes, bytes, bytes]:
    """What each record of a route says: its host, the version of what runs there, and whose it is."""
    whose = resource.tenant_id.encode("ascii", "replace") + resource.id.encode("ascii", "replace")
    return route.host.encode("ascii", "replace"), resource.deployment_version.encode("ascii", "replace"), whose


def unpack(data: bytes) -> list[Packed]:
    """The records of a pack. Raises ValueError where it is no pack: a bug, or a process of another version."""
    place, end = 0, len(data)
    unpack_head = _HEAD.unpack_from
    found: list[Packed] = []
    tenant = resource = b""
    try:
        while place < end:
            (
                ended, total, first_byte, received, sent, status, ending, flags,
                of_id, of_method, of_path, of_host, of_client, of_error, of_version,
            ) = unpack_head(data, place)  # fmt: skip
            place += _SIZE
            resolve = queue = dial = wake = 0.0
            trace = b""
            if flags & _WAITED:
                resolve, queue, dial, wake = _WAITS.unpack_from(data, place)
                place += _WAITS_SIZE
            if flags & _TRACED:
                trace = data[place : place + TRACE_SIZE]
                place += TRACE_SIZE
            if flags & _NEXT:
                tenant, resource = data[place : place + _ID_SIZE], data[place + _ID_SIZE : place + 2 * _ID_SIZE]
                place += 2 * _ID_SIZE
            id_at = place
            method_at = id_at + of_id
            path_at = method_at + of_method
            host_at = path_at + of_path
            client_at = host_at + of_host
            error_at = client_at + of_client
            version_at = error_at + of_error
            place = version_at + of_version
            if place > end:
                raise ValueError("a pack ends in the middle of a record")
            found.append(
                (
                    ended, total, first_byte, queue, dial, wake, received, sent, status, ending, flags & ~_PACKED, tenant, resource,
                    data[id_at:method_at], data[method_at:path_at], data[path_at:host_at], data[host_at:client_at],
                    data[client_at:error_at], data[error_at:version_at], data[version_at:place], trace, resolve,
                )
            )  # fmt: skip
    except struct.error as error:
        raise ValueError(f"not a pack of records: {error}") from error
    return found


@lru_cache(maxsize=65536)
def id_bytes(text: bytes) -> bytes:
    """The bytes of a UUID, which a pack has as text. Raises ValueError."""
    return UUID(text.decode("ascii")).bytes

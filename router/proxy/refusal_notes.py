"""What is kept of messages that were refused because of their bytes, for operators (`miosa-router errors`)."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from router.http1.bodies import ChunkedReader
from router.http2.heads import Field, bad_field
from router.observe.refused import BACKEND, BODY, CLIENT, HEAD

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.exchange import Exchange

_HOST: Final = re.compile(rb"(?i)\nhost:[ \t]*([a-z0-9._:\[\]-]{1,300})[ \t]*\r?(?=\n)")
_CHAIN: Final = re.compile(rb"(?i)\nx-forwarded-for:[ \t]*([0-9a-f:.,\[\] \t]{1,500})\r?(?=\n)")


def note_request(client: "ClientConnection", why: str, raw: bytes, request_id: str) -> None:
    """The head of a request was refused. Nothing in it has a meaning, so who sent it to which host is what its lines seem to say."""
    worker = client.worker
    if not worker.refused.may_note():
        return
    address = client.peer
    chains = _CHAIN.findall(raw) if client.trusted else []
    if len(chains) == 1:
        address = worker.forwarder.walk(chains[0], address)
    hosts = _HOST.findall(raw)
    host = hosts[0].decode("ascii") if len(hosts) == 1 else ""
    worker.refused.note(CLIENT, HEAD, why, raw, host=host, client=address, request_id=request_id)


def note_body(exchange: "Exchange", side: str, why: str, chunks: ChunkedReader, data: bytes) -> None:
    """`data` of a chunked body was refused by `chunks`."""
    if exchange.worker.refused.may_note():
        _note(exchange, side, BODY, why, data, chunks.bad_byte(data))


def note_response(exchange: "Exchange", why: str, raw: bytes) -> None:
    """The head of a backend's response was refused."""
    if exchange.worker.refused.may_note():
        _note(exchange, BACKEND, HEAD, why, raw, -1)


def note_malformed(
    sender: "ClientConnection | BackendConnection",
    side: str,
    why: str,
    fields: Sequence[Field],
    read: Callable[[int], object],
) -> None:
    """The head of a message of HTTP/2 was refused, which is kept as text. `read(count)` reads the first so many of its fields."""
    refused = sender.worker.refused
    if not refused.may_note():
        return
    lines = [name + b": " + value + b"\r\n" for name, value in fields]
    place = sum(map(len, lines[: bad_field(len(lines), why, read)]))
    raw, why = b"".join(lines), f"HTTP/2: {why}"
    exchange = sender.exchange
    if side == CLIENT:
        refused.note(side, HEAD, why, raw, place=place, client=cast("ClientConnection", sender).peer)
    elif exchange is not None:
        _note(exchange, side, HEAD, why, raw, place)


def _note(exchange: "Exchange", side: str, part: str, why: str, raw: bytes, place: int) -> None:
    exchange.worker.refused.note(
        side,
        part,
        why,
        raw,
        place=place,
        method=exchange.head.method.decode("latin-1"),
        host=exchange.host.decode("latin-1"),
        client=exchange.client,
        backend=exchange.backend,
        request_id=exchange.request_id,
    )

"""`limits.*`: what one node serves at a time, and for how long."""

from typing import Annotated

from router.settings.model import AfterValidator, Field, ValidationInfo
from router.settings.types import Bytes, Count, Group, Seconds, SecondsOrZero


def _not_below_header(value: int, info: ValidationInfo) -> int:
    if value < info.data.get("header", 0):
        raise ValueError("must not be less than header")
    return value


def _not_above_buffer(value: int, info: ValidationInfo) -> int:
    if value > info.data.get("buffer", value):
        raise ValueError("must not be more than buffer")
    return value


class Limits(Group):
    """What one client, backend or resource may use. Sizes in bytes, times in seconds."""

    request_line: Bytes = Field(16 * 1024, description="Longest request line; longer ones get 414.")
    header: Bytes = Field(
        64 * 1024,
        description="Longest header line of a request; longer ones get 431. As long as all of them may be together: a "
        "ticket of Kerberos or a cookie of a login is one long line.",
    )
    headers: Annotated[Bytes, AfterValidator(_not_below_header)] = Field(
        64 * 1024, description="Longest head of a request or an answer, at least `header`; more gets 431 or 502."
    )
    header_count: Count = Field(1000, description="Most header lines of a request or an answer; more gets 431 or 502.")
    head_time: Seconds = Field(10.0, description="Time for a request's head to arrive, from its first byte; then 408.")
    dial: Seconds = Field(
        5.0,
        description="Time to connect to a backend; then 504. It counts anew as long as the backend accepts or answers "
        "anything, which a busy one with a short queue does; `first_byte` is the most.",
    )
    dial_tries: Count = Field(4, description="Tries to connect where the backend refuses or resets at once.")
    dial_window: Seconds = Field(1.0, description="Within which the tries to connect happen.")
    client_idle: Seconds = Field(75.0, description="How long a client's kept-alive connection may wait for a request.")
    half_close: Seconds = Field(
        2.0, description="How long a client that shut down its sending side waits for an answer."
    )
    linger: Seconds = Field(
        30.0,
        description="How long a client may go on sending after an answer that ends its connection. It is read and "
        "dropped, since a reset would take the answer with it.",
    )
    linger_idle: Seconds = Field(5.0, description="The longest pause while it goes on sending; then it is closed.")
    backend_idle: Seconds = Field(
        30.0,
        description="How long a connection to a backend is kept without use at most. A backend that says how long it "
        "keeps its own (`Keep-Alive: timeout`) is believed, with a margin of a second or half of it.",
    )
    backend_idle_unsaid: Seconds = Field(
        4.0,
        description="The same for a backend that does not say it: common servers close after 5 s. A request that may "
        "not be repeated gets none that was idle for a quarter of it.",
    )
    backend_idle_unproven: Seconds = Field(
        0.1,
        description="The same for a backend that was not seen to serve two connections at once: one that serves them "
        "one after the other takes no other until this one is closed. Of one that says how long it keeps them, one "
        "connection stays.",
    )
    first_byte: Seconds = Field(
        300.0,
        description="How long a backend may take for the head of its answer, from the end of the request or from its "
        "last 102, 103 or 104; then 504. A resource's own `first_byte` comes before it.",
    )
    body_idle: Seconds = Field(
        300.0,
        description="Longest silence inside a body, either side; an event stream may rest for `tunnel_idle`. Who takes some of what is written to "
        "it, however slowly, is not silent.",
    )
    tunnel_idle: Seconds = Field(
        3600.0, description="Longest silence inside a WebSocket, another upgrade, or an event stream."
    )
    tunnel_lifetime: Seconds = Field(86400.0, description="Longest life of a WebSocket or other upgrade.")
    connections: Count = Field(
        20_000,
        description="Client connections and tunnels per worker; more get 503. Fewer where the limit of open files is below two for each.",
    )
    connections_per_address: Count = Field(
        1_000,
        description="Of these, from one address (IPv6: one /64) that is no trusted proxy; more get 429.",
    )
    exchanges_per_address: Count = Field(
        1_000,
        description="Exchanges and tunnels per visitor's address (IPv6: one /64) and worker; more gets 429.",
    )
    exchanges_per_tenant: Count = Field(
        5_000, description="Exchanges and tunnels per tenant and worker; more gets 429."
    )
    exchanges_per_resource: Count = Field(
        256, description="Exchanges per resource and worker, without tunnels; more wait in a queue."
    )
    tunnels_per_resource: Count = Field(
        1024, description="WebSockets and other upgrades per resource and worker, from the offer on; more get 429."
    )
    queue_time: SecondsOrZero = Field(
        2.0, description="How long a request may wait for a place at its resource; then 429. With 0 none waits."
    )
    queue_per_resource: Count = Field(512, description="Requests that may wait per resource and worker; more get 429.")
    queue: Count = Field(
        4096, description="Requests that may wait per worker, of one tenant half of them; more get 429."
    )
    held: Count = Field(
        10_000,
        description="Requests, and pages that wait, that may be held per worker for resources that sleep or start, of one "
        "tenant half of them; more get 503 `starting`.",
    )
    held_per_resource: Count = Field(
        5_000, description="Of these, for one resource and worker; more get 503 `starting`."
    )
    held_bytes: Bytes = Field(
        64 * 1024 * 1024,
        description="Bytes per worker that may have come with the heads of held requests, whose bodies are not read; more get "
        "503 `starting`.",
    )
    buffer: Bytes = Field(256 * 1024, description="Bytes held per direction of one exchange.")
    interim_responses: Count = Field(
        16,
        description="Most 1xx answers to one request in one second, each 8 KiB of them counted once more; more gets 502.",
    )
    whole_body: Annotated[int, Field(ge=0), AfterValidator(_not_above_buffer)] = Field(
        64 * 1024,
        description="A chunked request body of no more bytes is sent on with its Content-Length, not chunked, which many "
        "programs read as nothing (WSGI, CGI, PHP). At most `buffer`; 0 sends all chunked bodies on as they come.",
    )
    whole_body_time: Seconds = Field(
        0.1,
        description="How long the end of such a body may take: longer than the last packet of an upload is behind the "
        "first, and too short to be noticed at the start of a stream.",
    )
    body: Annotated[int, Field(ge=0)] = Field(0, description="Largest request body, 413 above; 0 is no limit.")
    publish_check: Seconds = Field(30.0, description="How long a program may take to answer before it is published.")
    drain_not_ready: SecondsOrZero = Field(5.0, description="SIGTERM: /readyz says no this long first.")
    drain_requests: SecondsOrZero = Field(30.0, description="SIGTERM: then requests may finish this long.")
    drain_tunnels: SecondsOrZero = Field(300.0, description="SIGTERM: then tunnels and event streams end.")
    process_start: Seconds = Field(
        30.0, description="With several workers: how long a process may take to be ready before it is replaced."
    )
    heartbeat_timeout: Seconds = Field(
        5.0, description="With several workers: how long a process may give no sign of life before it is replaced."
    )

"""The corpus against a running proxy: each message whole, byte by byte, and with another request behind it."""

import re

import pytest
import pytest_asyncio

from tests.support.edge import OUTSIDE, RunningEdge
from tests.support.wire import Backend, End, Ended, Message
from tests.wire.conftest import BuildEdge
from tests.wire.corpus import Sample, load, unescape

pytestmark = pytest.mark.asyncio

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
NOTHING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
# Chunked bodies go on as they come: how they are framed again is what is looked at here.
LIMITS = {"whole_body": 0, "request_line": 1024, "header": 1024, "headers": 2048, "header_count": 16}

# What the proxy adds to every request.
ADDED = (
    rb"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: [^\r\n]+\r\nX-Forwarded-Port: 80\r\n"
    rb'Forwarded: for=%b;host="[^"]+";proto=http\r\nX-Request-ID: req_[0-9a-f]+\r\nX-Miosa-Hops: 1\r\n'
) % (re.escape(OUTSIDE).encode(), re.escape(OUTSIDE).encode())


@pytest_asyncio.fixture
async def edge(build_edge: BuildEdge) -> RunningEdge:
    """A proxy whose limits the corpus can reach with short messages."""
    return await build_edge(**LIMITS)


async def everything_seen(edge: RunningEdge, *backends: Backend) -> bytes:
    """All bytes that reached the backends, once nothing more can come."""
    await edge.settled()
    seen = b""
    for backend in backends:
        while backend.has_visitor():
            pass
        for end in backend.ends:
            seen += await end.read_until_gone()
    return seen


@pytest.mark.parametrize("delivery", ["whole", "dribbled", "followed"])
@pytest.mark.parametrize("sample", load("refused"), ids=str)
async def test_refused(sample: Sample, delivery: str, edge: RunningEdge) -> None:
    """The status named, the connection ended cleanly, nothing complete at a backend, and nothing behind it runs."""
    shop, blog = edge.backend("shop"), edge.backend("blog")
    client = await edge.client()
    if delivery == "dribbled":
        await client.dribble(sample.message)
    else:
        await client.send(sample.message + (SMUGGLED * 2 if delivery == "followed" else b""))
    answer = await client.read_response()
    assert str(answer.status) in sample.facts["status"].split()
    assert answer.get(b"connection") == b"close"
    assert answer.get(b"x-miosa-error")
    assert await client.read_until_close() == b""
    client.close()
    seen = await everything_seen(edge, shop, blog)
    assert b"smuggled" not in seen
    assert b"0\r\n\r\n" not in seen
    assert len(edge.finished) == 1


@pytest.mark.parametrize("delivery", ["whole", "dribbled"])
@pytest.mark.parametrize("sample", load("normalised"), ids=str)
async def test_normalised(sample: Sample, delivery: str, edge: RunningEdge) -> None:
    """Served, and the backend sees exactly these bytes."""
    backend = edge.backend("shop")
    client = await edge.client()
    if delivery == "dribbled":
        await client.dribble(sample.message)
    else:
        await client.send(sample.message)
    end = await backend.accept()
    # What the proxy adds ends with a line end of its own: behind it come more lines, or the empty one at once.
    before, _, behind = sample.becomes.partition(b"{edge}")
    more, mark, body = (b"\r\n" + behind).partition(b"\r\n\r\n")
    seen = await end.read_until(b"\r\n\r\n")
    assert re.fullmatch(re.escape(before) + ADDED + re.escape((more + mark)[2:]), seen), seen
    if delivery == "dribbled" and b"chunked" in sample.becomes:  # chunks are made of what there is to send
        assert await read_as_one_chunk(end) == body
    else:
        assert await end.read_exactly(len(body)) == body
    await end.send(NOTHING)
    assert (await client.read_response()).status == 200
    await edge.idle()
    assert end.arrived() == b""
    assert edge.endings == ["--"]


@pytest.mark.parametrize("delivery", ["whole", "dribbled"])
@pytest.mark.parametrize("sample", load("responses"), ids=str)
async def test_responses(sample: Sample, delivery: str, edge: RunningEdge) -> None:
    """502, or a truncation that shows, or the body; and the next answer on that connection is never a leftover."""
    method = sample.facts.get("request", "GET").encode()
    outcome = sample.facts["outcome"]
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(method + b" / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    end = await backend.accept()
    await end.read_request()
    if delivery == "dribbled" and len(sample.message) < 20_000:
        await end.dribble(sample.message)
    else:
        await end.send(sample.message)
    head = await client.read_head() if outcome == "cut" else None
    if sample.facts.get("then") == "close":
        end.close()
    elif sample.facts.get("then") == "reset":
        end.reset()
    if head is not None:
        await assert_cut(client, head)
        await edge.idle()
        assert edge.endings == ["BB"]
        return
    answer = await read_final(client, method)
    if outcome == "502":
        assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
        assert edge.endings == ["BH"]
    else:
        assert answer.body == unescape(outcome.removeprefix("body: ").removeprefix("body:"))
        assert edge.endings == ["--"]
    if outcome != "502" and sample.facts.get("reuse") != "no":
        return
    # The connection is closed and its leftovers are nobody's answer.
    if "then" not in sample.facts:
        await end.read_until_gone()
    assert edge.kept() == 0
    await client.send(b"GET /next HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    _, request = await backend.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert request.target == b"/next"
    assert (await client.read_response()).body == b"next"


async def read_as_one_chunk(end: End) -> bytes:
    """A chunked body, as it would have been sent if all of it had been there at once."""
    content, trailers = b"", b""
    while piece := await end.read_chunk():
        content += piece
    while (line := await end.read_until(b"\r\n")) != b"\r\n":
        trailers += line
    return (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + b"0\r\n" + trailers + b"\r\n"


async def read_final(client: End, method: bytes) -> Message:
    """The answer behind the 1xx."""
    while (answer := await client.read_response(method)).status < 200:
        pass
    return answer


async def assert_cut(client: End, head: Message) -> None:
    """The head came, and then the answer ended in a way that no client takes for its end."""
    assert head.status == 200
    chunked = head.get(b"transfer-encoding") is not None
    body = client.read_chunked(head) if chunked else client.read_exactly(int(head.get(b"content-length") or b""))
    with pytest.raises(Ended):
        await body

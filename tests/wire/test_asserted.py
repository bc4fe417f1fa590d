"""What a stranger must not say reaches no backend; and how far a request may go."""

import ipaddress

import pytest

from tests.support.edge import FRONT, OUTSIDE, RunningEdge
from tests.support.wire import Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

SAID = (
    b"Client-Cert: :MIIB:\r\nX-SSL-Client-Cert: x\r\nTrue-Client-IP: 192.0.2.1\r\nCF-Connecting-IP: 192.0.2.1\r\n"
    b"cf_connecting_ip: 192.0.2.2\r\nX-Original-URL: /admin\r\nRemote-User: root\r\nX-Amzn-Oidc-Identity: root\r\n"
    b"X-Forwarded-User: root\r\nX-Real-IP: 192.0.2.1\r\nX-Client-Id: mine\r\nProxy: http://192.0.2.1/\r\n"
    b"Forwarded-For: 192.0.2.1\r\nX-Forwarded: 192.0.2.1\r\nFRONT_END_HTTPS: on\r\n"
)
REBUILT = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"}


async def heard(edge: RunningEdge, lines: bytes, *, source: str = FRONT, method: bytes = b"GET") -> Message:
    """What the backend hears of a request with these lines."""
    backend = edge.backend("shop")
    client = await edge.client(source)
    await client.send(method + b" / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + lines + b"\r\n")
    _, request = await backend.answer(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await client.read_response()).status == 204
    return request


def own(request: Message) -> dict[bytes, bytes]:
    """The headers beside those that we write."""
    ours = REBUILT | {b"host", b"forwarded", b"x-miosa-hops", b"x-request-id"}
    return {name.lower(): value for name, value in request.headers if name.lower() not in ours}


@pytest.mark.parametrize("source", [FRONT, OUTSIDE])
async def test_what_only_a_proxy_may_say_is_dropped(edge: RunningEdge, source: str) -> None:
    """Whoever sends it, a trusted proxy too: most pass on what they don't know. A program's own header passes."""
    for _ in range(3):  # the third time from memory
        assert own(await heard(edge, SAID, source=source)) == {b"x-client-id": b"mine"}


async def test_what_is_named_for_a_trusted_proxy_passes(build_edge: BuildEdge) -> None:
    """From that one alone, in any case, and never its twin with an underscore."""
    edge = await build_edge(
        trusted_headers={ipaddress.ip_network(f"{FRONT}/32"): ("cf-connecting-IP", "X-Forwarded-User")}
    )
    passed = {b"x-client-id": b"mine", b"cf-connecting-ip": b"192.0.2.1", b"x-forwarded-user": b"root"}
    for _ in range(3):
        assert own(await heard(edge, SAID)) == passed
        assert own(await heard(edge, SAID, source=OUTSIDE)) == {b"x-client-id": b"mine"}
    elsewhere = await build_edge(trusted_headers={ipaddress.ip_network("10.0.0.0/8"): ("CF-Connecting-IP",)})
    assert own(await heard(elsewhere, SAID)) == {b"x-client-id": b"mine"}


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
@pytest.mark.parametrize(
    ("said", "then"),
    [(b"1", b"0"), (b"10", b"9"), (b"007", b"6"), (b"9" * 30, b"2147483646"), (None, None)],
)
async def test_a_request_has_one_hop_less_behind_us(
    edge: RunningEdge, method: bytes, said: bytes | None, then: bytes | None
) -> None:
    """RFC 9110 §7.6.2, for the two methods that it is about; the same bytes again count from where they were."""
    for _ in range(3):
        lines = b"X-A: 1\r\n" + (b"" if said is None else b"Max-Forwards: " + said + b"\r\n") + b"X-B: 2\r\n"
        request = await heard(edge, lines, method=method)
        assert request.get(b"max-forwards") == then
        assert (request.get(b"x-a"), request.get(b"x-b"), request.method) == (b"1", b"2", method)


async def test_hops_are_counted_whatever_connection_says(edge: RunningEdge) -> None:
    """`Connection` takes out what is for the next hop only, and this is for all of them: without it a TRACE has no end."""
    lines = b"Connection: max-forwards\r\nMax-Forwards: 3\r\n"
    assert (await heard(edge, lines, method=b"TRACE")).get(b"max-forwards") == b"2"


async def test_other_methods_don_t_count(edge: RunningEdge) -> None:
    """A recipient may ignore it there, and we do, whatever it says."""
    for said in (b"0", b"5", b"many"):
        assert (await heard(edge, b"Max-Forwards: " + said + b"\r\n")).get(b"max-forwards") == said


async def test_a_trace_that_goes_no_further_sees_itself(edge: RunningEdge) -> None:
    """The backend hears nothing, and what could be a secret is not in the answer."""
    edge.backend("shop")
    client = await edge.client()
    for _ in range(2):
        await client.send(
            b"TRACE /a?token=s3cret HTTP/1.1\r\nHost: shop.miosa.app\r\nAuthorization: s3cret\r\nCookie: a=s3cret\r\n"
            b"X-Api-Key: s3cret\r\nMax-Forwards: 0\r\nVia: 1.1 other\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        )
        answer = await client.read_response()
        assert (answer.status, answer.get(b"content-type")) == (200, b"message/http")
        assert answer.body == b"TRACE /a HTTP/1.1\r\nHost: shop.miosa.app\r\nMax-Forwards: 0\r\nVia: 1.1 other\r\n\r\n"
    assert edge.kept() == 0
    assert edge.endings == ["--", "--"]


async def test_an_options_that_goes_no_further(edge: RunningEdge) -> None:
    """It is told which methods pass; the connection goes on."""
    edge.backend("shop")
    client = await edge.client()
    for _ in range(3):
        await client.send(b"OPTIONS / HTTP/1.1\r\nHost: shop.miosa.app\r\nMax-Forwards: 0\r\n\r\n")
        answer = await client.read_response()
        assert (answer.status, answer.body) == (200, b"")
        assert b"TRACE" in (answer.get(b"allow") or b"")


@pytest.mark.parametrize(
    "lines",
    [
        b"Max-Forwards: -1\r\n",
        b"Max-Forwards: 1.0\r\n",
        b"Max-Forwards:\r\n",
        b"Max-Forwards: 1, 2\r\n",
        b"Max-Forwards: 1\r\nMax-Forwards: 0\r\n",
    ],
)
async def test_a_number_of_hops_that_is_none(edge: RunningEdge, lines: bytes) -> None:
    """Refused, as all that two readers could read differently."""
    edge.backend("shop")
    client = await edge.client()
    await client.send(b"OPTIONS / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + lines + b"\r\n")
    assert (await client.read_response()).status == 400


async def test_a_host_that_is_unknown_is_so_at_any_distance(edge: RunningEdge) -> None:
    """We speak only for hosts that are served."""
    client = await edge.client()
    await client.send(b"TRACE / HTTP/1.1\r\nHost: nobody.miosa.app\r\nMax-Forwards: 0\r\n\r\n")
    assert (await client.read_response()).status == 404

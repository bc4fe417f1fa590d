"""A head that is read in one pass, and the same read in full: the same outcome, whatever its lines are."""

from typing import Any, Final

from hypothesis import assume, example, given
from hypothesis import strategies as st

from router.http1.heads import RefusedError
from router.http1.requests import RequestHead, RequestReader, read_request_head
from router.http1.responses import ResponseHead, ResponseReader, read_response_head
from router.settings import Limits

LIMITS: Final = Limits().model_copy(update={"header": 400, "headers": 500, "header_count": 8, "request_line": 60})

_OF_REQUEST: Final = (
    *("method", "target", "version", "host", "framing", "expect", "trailers", "upgrade", "forwarding", "request_id"),
    *("user_agent", "referer", "traceparent", "hops", "max_forwards", "special", "binds", "begins_login", "asserted"),
    *("plain_http", "keep_alive"),
)
_OF_RESPONSE: Final = (
    *("status", "reason", "version", "framing", "upgrade", "location_at", "may_refuse", "keep_for", "binds"),
    *("domain_cookies", "has_request_id", "keep_alive", "lines"),
)

NAMES: Final = st.sampled_from(
    (
        *(
            "Host",
            "host",
            "Accept",
            "Cookie",
            "Referer",
            "User-Agent",
            "Origin",
            "Authorization",
            "X-Request-ID",
            "Via",
        ),
        *(
            "X-Forwarded-For",
            "x-forwarded-proto",
            "Forwarded",
            "X-Forwarded-User",
            "X-Real-IP",
            "Connection",
            "TE",
            "DNT",
        ),
        *("Content-Length", "Transfer-Encoding", "Upgrade", "Keep-Alive", "Expect", "traceparent", "X-Miosa-Hops"),
        *(
            "X_Forwarded_For",
            "Max-Forwards",
            "Proxy-Connection",
            "X-Miosa-Preview-Token",
            "Content-Type",
            "Trailer",
            "A b",
        ),
    )
)
VALUES: Final = st.one_of(
    st.sampled_from(
        (
            *(
                "a.example",
                "shop.miosa.app:443",
                "a.",
                "keep-alive",
                "Keep-Alive",
                "close",
                "chunked",
                "0",
                "5",
                "05",
                "+5",
            ),
            *(
                "5, 5",
                "1" * 25,
                "a=b; __Host-miosa-preview=x; c=d",
                "__Host-miosa-preview=x",
                "__Host-miosa-acme=y; z=1",
            ),
            *(
                "__HOST-miosa=x",
                "Bearer x",
                "NTLM TlRMTVNTUAABAAAA",
                "100-continue",
                "trailers",
                "timeout=5, max=100",
                "",
                " ",
            ),
            *(
                "timeout=0",
                "\xe9",
                "\x7f",
                "a\tb",
                "203.0.113.9",
                "x" * 300,
                "https",
                "a; Domain=b",
                "identity",
                "gzip, chunked",
            ),
        )
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12),
)
LINES: Final = st.tuples(NAMES, st.sampled_from((":", ": ", ": \t")), VALUES).map("".join)
HOSTED: Final = st.builds(
    lambda before, after: [*before, "Host: a.example", *after], *[st.lists(LINES, max_size=4)] * 2
)


def outcome(read: Any, raw: bytes, fields: tuple[str, ...]) -> Any:
    """The fields of what comes out of it, or why it is refused."""
    try:
        head = read(raw)
    except RefusedError as error:
        return (error.problem.code, str(error), error.lines)
    if head is None:
        return None
    return {field: getattr(head, field) for field in fields} | _more(head)


def _more(head: RequestHead | ResponseHead) -> dict[str, Any]:
    if isinstance(head, ResponseHead):
        return {}
    credentials, block = head.credentials, head.block
    assert block is None or b"\r\n".join(head.lines) + b"\r\n" == (block or b"\r\n")
    return {"credentials": None if credentials is None else vars_of(credentials), "lines": head.lines}


def vars_of(credentials: Any) -> tuple[Any, ...]:
    return tuple(
        getattr(credentials, one) for one in ("authorization", "tokens", "cookies", "monitor", "debug", "of_login")
    )


@given(st.sampled_from(("GET /", "POST /a?b=c", "OPTIONS *", "PUT /" + "x" * 50, "GET http://a.example/")), HOSTED)
@example("GET /", ["Host: a.example", "Cookie: a=b; __Host-miosa-preview=x; c=d", "Connection: keep-alive"])
@example("POST /", ["Host: a.example", "Content-Length: 5", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4"])
def test_a_request(line: str, lines: list[str]) -> None:
    """All that is known of it."""
    raw = "\r\n".join([f"{line} HTTP/1.1", *lines, "", ""]).encode("latin-1")
    in_full = outcome(lambda raw: read_request_head(raw, LIMITS), raw, _OF_REQUEST)
    assert outcome(RequestReader(LIMITS).read, raw, _OF_REQUEST) == in_full


@given(
    st.sampled_from(
        (
            "HTTP/1.1 200 OK",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.1 204 ",
            "HTTP/1.0 200 OK",
            "HTTP/1.1 103 Early Hints",
            "HTTP/1.1 200",
            "HTTP/1.1 999 \xe9\t",
            "HTTP/1.1 099 No",
            "HTTP/1.2 200 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 500 \x7f",
            "",
        )
    ),
    st.lists(LINES, max_size=6),
    st.sampled_from((b"GET", b"HEAD", b"POST")),
)
@example("HTTP/1.1 200 OK", ["Content-Length: 5", "Keep-Alive: timeout=5", "Connection: keep-alive"], b"GET")
@example("HTTP/1.1 302 Found", ["Location: /a", "Set-Cookie: a=b", "Transfer-Encoding: chunked"], b"GET")
def test_a_response(line: str, lines: list[str], method: bytes) -> None:
    """All that is known of it."""
    raw = "\r\n".join([line, *lines, "", ""]).encode("latin-1")
    assume(raw.find(b"\r\n\r\n") == len(raw) - 4)
    in_full = outcome(lambda raw: read_response_head(raw, method, LIMITS), raw, _OF_RESPONSE)
    assert outcome(lambda raw: ResponseReader(LIMITS).read(raw, method), raw, _OF_RESPONSE) == in_full

"""Every answer of our own has one row here: whose fault, which status, may it be retried, what to tell people.

A `Problem` is a value, known when the program is written. `RouterError` carries one through code that raises; the
data plane passes the value itself. Each surface has one renderer (pages/ for the proxy, api/ for REST), and neither
decides anything: the row does.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """Whose fault a problem is; `exchanges` metrics and alerts depend on it."""

    CLIENT = "client"
    BACKEND = "backend"
    EDGE = "edge"


@dataclass(frozen=True, slots=True)
class Problem:
    """One public kind of failure.

    `code` is public and stable. `retry_after` is in seconds; None sends no Retry-After. `message` says what happened,
    why, and what to do next, without names that the asker may not know.
    """

    code: str
    status: int
    fault: Fault
    message: str
    retryable: bool = False
    retry_after: int | None = None


class RouterError(Exception):
    """A problem on its way to a renderer. `fields` is {field: [messages]} where a request body was wrong.

    `beside` are further members of the API's error object, where a client can go on with what is in the way.
    `retry_after` is in seconds, the problem's own where none is given.
    """

    def __init__(
        self,
        problem: Problem,
        message: str | None = None,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        beside: Mapping[str, object] | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.problem = problem
        self.message = message if message is not None else problem.message
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}
        self.beside = dict(beside or {})
        self.retry_after = retry_after if retry_after is not None else problem.retry_after
        super().__init__(f"{problem.code}: {self.message}")


class StoreUnavailableError(Exception):
    """The store could not answer in time. A fault of ours: never turned into a 404."""


class GaveWayError(StoreUnavailableError):
    """Transactions waited for each other in a circle, and this one was undone so that the others go on: it may begin anew."""


_CLIENT, _BACKEND, _EDGE = Fault.CLIENT, Fault.BACKEND, Fault.EDGE

# The proxy's own answers (codes are part of the outer surface).

BAD_REQUEST = Problem(
    "bad_request", 400, _CLIENT, "The request is not well-formed HTTP/1.1, so it was refused and the connection closed."
)
INVALID_HOST = Problem(
    "invalid_host",
    400,
    _CLIENT,
    "The Host header is missing, repeated or not a host name. Send exactly one valid Host.",
)
HOST_NOT_FOUND = Problem(
    "host_not_found",
    404,
    _CLIENT,
    "Nothing answers at this address. Check the spelling, or ask whoever sent you the link whether it still exists.",
)
METHOD_NOT_ALLOWED = Problem("method_not_allowed", 405, _CLIENT, "This method is not served here.")
REQUEST_TIMEOUT = Problem(
    "request_timeout",
    408,
    _CLIENT,
    "The request took too long to arrive. Check the connection and send it again.",
    True,
)
RESOURCE_DELETED = Problem(
    "resource_deleted", 410, _CLIENT, "What was here has been deleted for good. Create it again to get a new address."
)
PAYLOAD_TOO_LARGE = Problem("payload_too_large", 413, _CLIENT, "The request body is larger than this service accepts.")
URI_TOO_LONG = Problem(
    "uri_too_long", 414, _CLIENT, "The request line is longer than this service accepts. Shorten the URL."
)
EXPECTATION_FAILED = Problem("expectation_failed", 417, _CLIENT, "Only `Expect: 100-continue` is supported.")
TOO_MANY_REQUESTS = Problem(
    "too_many_requests",
    429,
    _CLIENT,
    "Too many requests are in flight to this preview at once. Wait a moment and try again.",
    True,
    1,
)
HEADERS_TOO_LARGE = Problem(
    "headers_too_large",
    431,
    _CLIENT,
    "The request headers are too large or too many. Clear this site's cookies and retry.",
)
BLOCKED = Problem(
    "blocked", 451, _CLIENT, "This address has been blocked. Its owner can contact support to find out why."
)
METHOD_NOT_IMPLEMENTED = Problem("method_not_implemented", 501, _CLIENT, "This method is not known here.")
PORT_CLOSED = Problem(
    "port_closed",
    502,
    _BACKEND,
    "Nothing is listening on this port yet. Start your server and bind it to 0.0.0.0, not 127.0.0.1 or localhost.",
    True,
)
BAD_BACKEND_RESPONSE = Problem(
    "bad_backend_response",
    502,
    _BACKEND,
    "The program behind this address closed the connection or answered with something that is not valid HTTP. "
    "Look at its log, then try again.",
    True,
)
STARTING = Problem(
    "starting", 503, _BACKEND, "This preview is starting. It will answer in a moment; try again shortly.", True, 3
)
STOPPED = Problem(
    "stopped", 503, _BACKEND, "This preview is stopped. Start it from the console or the API, then try again.", True, 30
)
CERTIFICATE_PENDING = Problem(
    "certificate_pending",
    503,
    _BACKEND,
    "The certificate of this address is being issued, which takes a few seconds. Then it answers over HTTPS.",
    True,
    3,
)
RESOLVER_UNAVAILABLE = Problem(
    "resolver_unavailable",
    503,
    _EDGE,
    "We could not look up where this address leads. That is our fault; try again in a few seconds.",
    True,
    5,
)
DRAINING = Problem("draining", 503, _EDGE, "This server is restarting. Try again now: another one answers.", True, 1)
OVERLOADED = Problem(
    "overloaded", 503, _EDGE, "This server has no room for another connection. Try again shortly.", True, 2
)
BACKEND_TIMEOUT = Problem(
    "backend_timeout", 504, _BACKEND, "The program behind this address did not answer in time. Look at its log.", True
)
LOOP_DETECTED = Problem(
    "loop_detected", 508, _BACKEND, "The request has passed through here several times: this preview proxies to itself."
)
VERSION_NOT_SUPPORTED = Problem("http_version_not_supported", 505, _CLIENT, "Use HTTP/1.1 or HTTP/1.0 here.")

EDGE_PROBLEMS: tuple[Problem, ...] = (
    BAD_REQUEST,
    INVALID_HOST,
    HOST_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    RESOURCE_DELETED,
    PAYLOAD_TOO_LARGE,
    URI_TOO_LONG,
    EXPECTATION_FAILED,
    TOO_MANY_REQUESTS,
    HEADERS_TOO_LARGE,
    BLOCKED,
    METHOD_NOT_IMPLEMENTED,
    PORT_CLOSED,
    BAD_BACKEND_RESPONSE,
    STARTING,
    STOPPED,
    CERTIFICATE_PENDING,
    RESOLVER_UNAVAILABLE,
    DRAINING,
    OVERLOADED,
    BACKEND_TIMEOUT,
    VERSION_NOT_SUPPORTED,
    LOOP_DETECTED,
)

# The REST API's answers.

UNAUTHORIZED = Problem(
    "unauthorized",
    401,
    _CLIENT,
    "The API key or token is missing, invalid, expired or revoked. Send a valid Bearer token.",
)
FORBIDDEN = Problem("forbidden", 403, _CLIENT, "forbidden")
MALFORMED_JSON = Problem("malformed_json", 400, _CLIENT, "The request body is not valid JSON in UTF-8.")
NOT_FOUND = Problem("not_found", 404, _CLIENT, "There is nothing at this path, or not with this id.")
API_METHOD_NOT_ALLOWED = Problem(
    "method_not_allowed",
    405,
    _CLIENT,
    "This path does not take that method; the Allow header lists those that it takes.",
)
CONFLICT = Problem("conflict", 409, _CLIENT, "The request conflicts with what exists.")
API_PAYLOAD_TOO_LARGE = Problem("payload_too_large", 413, _CLIENT, "The request body exceeds 10 MB.")
UNSUPPORTED_MEDIA_TYPE = Problem("unsupported_media_type", 415, _CLIENT, "Send the body as application/json.")
VALIDATION_FAILED = Problem("VALIDATION_FAILED", 422, _CLIENT, "The request has invalid fields; see error.fields.")
CNAME_NOT_FOUND = Problem(
    "cname_not_found", 422, _CLIENT, "The domain's CNAME record is missing, or leads elsewhere; see error.fields."
)
DNS_UNKNOWN = Problem(
    "dns_unknown",
    422,
    _CLIENT,
    "The name servers of this domain could not be asked, so nothing has changed. Try again in a minute.",
    True,
    60,
)
CHECKED_JUST_NOW = Problem(
    "checked_just_now",
    429,
    _CLIENT,
    "This domain was checked only seconds ago. Wait for the time in Retry-After, then ask again.",
    True,
    10,
)
IDEMPOTENCY_IN_PROGRESS = Problem(
    "idempotency_in_progress",
    409,
    _CLIENT,
    "A request with this Idempotency-Key is still running. Wait for it, then send it again to get its answer.",
    True,
    1,
)
IDEMPOTENCY_KEY_REUSED = Problem(
    "idempotency_key_reused",
    422,
    _CLIENT,
    "This Idempotency-Key was used for a different request. Use a new key for each new request.",
)
INVALID_IDEMPOTENCY_KEY = Problem(
    "invalid_idempotency_key",
    400,
    _CLIENT,
    "Idempotency-Key must be 1 to 255 visible ASCII characters, sent once. Use a UUID.",
)
WORKSPACE_REQUIRED = Problem(
    "WORKSPACE_REQUIRED",
    400,
    _CLIENT,
    "A project belongs to a workspace. Send workspace_id, workspace_slug or external_workspace_id.",
)
WORKSPACE_NOT_FOUND = Problem(
    "WORKSPACE_NOT_FOUND", 404, _CLIENT, "The workspace selector matches no workspace of this organization."
)
WORKSPACE_NAME_EXISTS = Problem(
    "WORKSPACE_NAME_EXISTS",
    409,
    _CLIENT,
    "A workspace of this name exists. Use it, or send allow_duplicate_name: true to create a second one.",
)
RATE_LIMITED = Problem("rate_limited", 429, _CLIENT, "Too many requests. Wait for the time in Retry-After.", True)
INTERNAL_ERROR = Problem(
    "internal_error",
    500,
    _EDGE,
    "Something went wrong on our side. Quote the request id when you contact support.",
    True,
)
UNAVAILABLE = Problem(
    "unavailable", 503, _EDGE, "The service cannot reach its store right now. Try again shortly.", True, 5
)

API_PROBLEMS: tuple[Problem, ...] = (
    UNAUTHORIZED,
    FORBIDDEN,
    MALFORMED_JSON,
    NOT_FOUND,
    API_METHOD_NOT_ALLOWED,
    CONFLICT,
    API_PAYLOAD_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    VALIDATION_FAILED,
    CNAME_NOT_FOUND,
    DNS_UNKNOWN,
    CHECKED_JUST_NOW,
    IDEMPOTENCY_IN_PROGRESS,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_IDEMPOTENCY_KEY,
    WORKSPACE_REQUIRED,
    WORKSPACE_NOT_FOUND,
    WORKSPACE_NAME_EXISTS,
    RATE_LIMITED,
    INTERNAL_ERROR,
    UNAVAILABLE,
)

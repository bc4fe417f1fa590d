"""Every answer of our own has one row here: whose fault, which status, may it be retried, what to tell people.

A `Problem` is a value, known when the program is written. `RouterError` carries one through code that raises; the
data plane passes the value itself. Each surface has one renderer (pages/ for the proxy, api/ for REST), and neither
decides anything: the row does.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


class Fault(enum.StrEnum):
    """Whose fault a problem is; `exchanges` metrics and alerts depend on it."""

    CLIENT = "client"
    BACKEND = "backend"
    EDGE = "edge"


@dataclass(frozen=True, slots=True)
class Problem:
    """One public kind of failure.

    `code` is public and stable. `retry_after` is in seconds; None sends no Retry-After. `message` says what happened,
    why, and what to do next, without names that the asker may not know. `reason` tells apart what shares a code and
    needs another remedy; clients may ignore it. `proxy_error` is the error type of RFC 9209 §2.3 that Proxy-Status gives;
    each of the proxy's problems has one, and none of the API's, which is no proxy there.
    """

    code: str
    status: int
    fault: Fault
    message: str
    retryable: bool = False
    retry_after: int | None = None
    reason: str | None = None
    proxy_error: str = ""


class RouterError(Exception):
    """A problem on its way to a renderer. `fields` is {field: [messages]} where a request body was wrong.

    `beside` are further members of the API's error object, where a client can go on with what is in the way.
    `retry_after` is in seconds, the problem's own where none is given; so with the public `code`.
    """

    def __init__(
        self,
        problem: Problem,
        message: str | None = None,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        beside: Mapping[str, object] | None = None,
        retry_after: int | None = None,
        code: str | None = None,
    ) -> None:
        self.problem = problem
        self.code = code if code is not None else problem.code
        self.message = message if message is not None else problem.message
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}
        self.beside = dict(beside or {})
        self.retry_after = retry_after if retry_after is not None else problem.retry_after
        super().__init__(f"{self.code}: {self.message}")


class StoreUnavailableError(Exception):
    """The store could not answer in time. A fault of ours: never turned into a 404."""


class StoreRefusedError(StoreUnavailableError):
    """The store can be reached and does not fit: an old schema, a database or a user that does not exist. Waiting alone
    mends none of it."""


class PruneRefusedError(Exception):
    """Nothing was deleted: so much is old at once that the clock may be wrong."""


class DeadlockError(StoreUnavailableError):
    """The database chose this transaction as deadlock victim and rolled it back: it may be tried again."""


_CLIENT, _BACKEND, _EDGE = Fault.CLIENT, Fault.BACKEND, Fault.EDGE

# The proxy's own answers (codes are part of the outer surface).

BAD_REQUEST = Problem(
    "bad_request",
    400,
    _CLIENT,
    "The request is not well-formed HTTP/1.1, so it was refused and the connection closed.",
    proxy_error="http_request_error",
)
INVALID_HOST = Problem(
    "invalid_host",
    400,
    _CLIENT,
    "The Host header is missing, repeated or not a host name. Send exactly one valid Host.",
    proxy_error="http_request_error",
)
HOST_NOT_FOUND = Problem(
    "host_not_found",
    404,
    _CLIENT,
    "Nothing answers at this address. Check the spelling, or ask whoever sent you the link whether it still exists.",
    proxy_error="destination_not_found",
)
NO_CERTIFICATE = replace(
    HOST_NOT_FOUND,
    message="Nothing answers at this address, so it has no certificate, and https fails here. If this domain is yours, "
    "add it and verify it with the record that you are shown then. Otherwise check the spelling of the link.",
    reason="no_certificate",
)
TOKEN_MISSING = Problem(
    "token_missing",
    401,
    _CLIENT,
    "Only those who were let in may open this preview, and the request brought nothing that opens it. Follow a link that its "
    "owner has shared with you, or ask them for one. Programs send a preview token as X-Miosa-Preview-Token, or an API key "
    "as a Bearer token.",
    proxy_error="http_request_denied",
)
TOKEN_WRONG = Problem(
    "token_wrong",
    403,
    _CLIENT,
    "This preview is private, and the link, token, key or cookie that was sent does not open it. Check that it was copied "
    "whole and is for this address, or ask the preview's owner for a new one.",
    proxy_error="http_request_denied",
)
SEVERAL_TOKENS = replace(
    TOKEN_WRONG,
    message="This preview is private, and the request brought several different tokens, so none of them was looked at. Send "
    "one: in X-Miosa-Preview-Token, in the query, or as a Bearer token.",
    reason="several_tokens",
)
TOKEN_EXPIRED = Problem(
    "token_expired",
    403,
    _CLIENT,
    "What was sent opened this private preview once, and its time is over. Ask the preview's owner for a new link or token.",
    proxy_error="http_request_denied",
)
TOKEN_REVOKED = Problem(
    "token_revoked",
    403,
    _CLIENT,
    "What was sent opened this private preview once, and has been revoked or, where it works a single time, used. Ask the "
    "preview's owner for a new link or token.",
    proxy_error="http_request_denied",
)
ADDRESS_NOT_ALLOWED = Problem(
    "address_not_allowed",
    403,
    _CLIENT,
    "This preview may be opened from certain networks only, and your address is in none of them. Open it from one of those, "
    "such as your company's, or ask the preview's owner to add yours.",
    proxy_error="http_request_denied",
)
ORIGIN_NOT_ALLOWED = Problem(
    "origin_not_allowed",
    403,
    _CLIENT,
    "This private preview does not take this request from pages of other sites, since those could act in your name. Send it "
    "from a page of the preview, send a preview token with it, or have the owner list the site under cors_origins.",
    proxy_error="http_request_denied",
)
LOGIN_NOT_ALLOWED = Problem(
    "login_not_allowed",
    403,
    _CLIENT,
    "You have signed in, and this account is not among those that the preview's team lets in: its e-mail address is of another "
    "domain or not verified, or it is in none of their groups. Sign in once more with another account, or ask the team to let "
    "you in.",
    proxy_error="http_request_denied",
)
LOGIN_FAILED = Problem(
    "login_failed",
    403,
    _CLIENT,
    "Signing in did not come to its end: it was broken off, took more than ten minutes, came back in another browser, or its "
    "link was used before. Open the preview again, and sign in from there.",
    proxy_error="http_request_denied",
)
IDENTITY_PROVIDER_UNAVAILABLE = Problem(
    "identity_provider_unavailable",
    503,
    _BACKEND,
    "The service where the preview's team signs in can't be used just now: it does not answer, answers with something that must "
    "not be believed, or refuses the settings that the team has made. Nothing is wrong with your account. Try again in a "
    "minute; if it stays so, tell the team.",
    True,
    10,
    proxy_error="destination_unavailable",
)
PREVIEW_EXPIRED = Problem(
    "preview_expired",
    410,
    _CLIENT,
    "This preview was open for a limited time, which is over. Ask its owner to extend it or to share it again.",
    proxy_error="destination_unavailable",
)
TOO_EARLY = Problem(
    "too_early",
    425,
    _CLIENT,
    "This link works once, and the request came before the connection was safe from being replayed. Send it again.",
    True,
    proxy_error="http_request_denied",
)
TOO_EARLY_TO_WAKE = replace(
    TOO_EARLY,
    message="This preview sleeps, and the request that would wake it came before the connection was safe from being replayed. "
    "Send it again.",
    reason="wake",
)
PASSWORD_WRONG = Problem(
    "password_wrong",
    403,
    _CLIENT,
    "This is not the preview's password. Check the spelling, capitals and the keyboard's language, and type it again; or ask "
    "the preview's owner for it.",
    proxy_error="http_request_denied",
)
TOO_MANY_TRIES = Problem(
    "too_many_tries",
    429,
    _CLIENT,
    "Too many passwords were tried from your network or for this preview, so this one was not looked at. Wait for the time in "
    "Retry-After, then try again. A link from the preview's owner opens it meanwhile.",
    True,
    60,
    proxy_error="http_request_denied",
)


def too_many_tries(wait: int) -> Problem:
    """Passwords are looked at again in so many seconds, which a page has to say: people see no Retry-After."""
    minutes = -(-wait // 60)
    long = f"{minutes} minutes" if wait > 60 else "1 minute" if wait == 60 else f"{wait} second{'s' * (wait != 1)}"
    message = TOO_MANY_TRIES.message.replace("for the time in Retry-After", long)
    return replace(TOO_MANY_TRIES, message=message, retry_after=wait)


FORM_WRONG = replace(
    BAD_REQUEST,
    message="The form with the password was not sent as our page sends it, so nothing in it was looked at. Open the preview's "
    "address, and type the password there.",
    reason="form_wrong",
)
METHOD_NOT_ALLOWED = Problem(
    "method_not_allowed",
    405,
    _CLIENT,
    "This method is not served here.",
    proxy_error="http_request_error",
)
REQUEST_TIMEOUT = Problem(
    "request_timeout",
    408,
    _CLIENT,
    "The request took too long to arrive. Check the connection and send it again.",
    True,
    proxy_error="http_request_error",
)
RESOURCE_DELETED = Problem(
    "resource_deleted",
    410,
    _CLIENT,
    "What was here has been deleted for good. Create it again to get a new address.",
    proxy_error="destination_not_found",
)
PAYLOAD_TOO_LARGE = Problem(
    "payload_too_large",
    413,
    _CLIENT,
    "The request body is larger than this service accepts.",
    proxy_error="http_request_error",
)
URI_TOO_LONG = Problem(
    "uri_too_long",
    414,
    _CLIENT,
    "The request line is longer than this service accepts. Shorten the URL.",
    proxy_error="http_request_error",
)
EXPECTATION_FAILED = Problem(
    "expectation_failed",
    417,
    _CLIENT,
    "Only `Expect: 100-continue` is supported.",
    proxy_error="http_request_error",
)
TOO_MANY_REQUESTS = Problem(
    "too_many_requests",
    429,
    _CLIENT,
    "Too many requests are in flight at once: to this preview, to others of its owner, or from your address. "
    "Wait a moment and try again.",
    True,
    1,
    proxy_error="connection_limit_reached",
)
TOO_MANY_LOGINS = replace(
    TOO_MANY_REQUESTS,
    message="More sign-ins were begun from your network within a minute than one may begin. Wait a minute, then open the preview "
    "again, and sign in from there.",
    retry_after=60,
    reason="too_many_logins",
    proxy_error="http_request_denied",
)
HEADERS_TOO_LARGE = Problem(
    "headers_too_large",
    431,
    _CLIENT,
    "The request headers are too large or too many. Clear this site's cookies and retry.",
    proxy_error="http_request_error",
)
BLOCKED = Problem(
    "blocked",
    451,
    _CLIENT,
    "This address has been blocked. Its owner can contact support to find out why.",
    proxy_error="http_request_denied",
)
METHOD_NOT_IMPLEMENTED = Problem(
    "method_not_implemented",
    501,
    _CLIENT,
    "This method is not known here.",
    proxy_error="http_request_error",
)
PORT_CLOSED = Problem(
    "port_closed",
    502,
    _BACKEND,
    "Nothing is listening on this port yet. Start your server and bind it to 0.0.0.0, not 127.0.0.1 or localhost.",
    True,
    proxy_error="connection_refused",
)
LISTENS_ON_LOOPBACK = replace(
    PORT_CLOSED,
    message="A program is listening on this port, but on a loopback address only, which nothing outside its machine can "
    "reach. Bind it to 0.0.0.0, not 127.0.0.1 or localhost.",
    reason="listens_on_loopback",
)
LISTENS_ELSEWHERE = replace(
    PORT_CLOSED,
    message="Nothing is listening on this port, but something is on another one. Open the address of that port, or start "
    "your server on this one, bound to 0.0.0.0.",
    reason="listens_elsewhere",
)
BAD_BACKEND_RESPONSE = Problem(
    "bad_backend_response",
    502,
    _BACKEND,
    "The program behind this address answered with something that is not valid HTTP. Look at its log, then try again.",
    True,
    proxy_error="http_protocol_error",
)


def bad_response(why: str) -> Problem:
    """A response that is not passed on, and why, in words for the program's owner: what was wrong, without its values."""
    return replace(
        BAD_BACKEND_RESPONSE,
        message=f"The program behind this address sent a response that cannot be passed on: {why}.",
    )


CONNECTION_CLOSED = replace(
    BAD_BACKEND_RESPONSE,
    message="The program behind this address closed the connection before it answered. It may have crashed or restarted: "
    "look at its log. If it expects TLS, set this port's scheme to https.",
    reason="connection_closed",
    proxy_error="connection_terminated",
)
SPEAKS_TLS = replace(
    BAD_BACKEND_RESPONSE,
    message="The program on this port speaks TLS (https), and was asked in plain HTTP. Set this port's scheme to https, "
    "or serve plain HTTP there: visitors have https either way.",
    reason="speaks_tls",
)
SPEAKS_SSH = replace(
    BAD_BACKEND_RESPONSE,
    message="The program on this port is an SSH server, which no browser can open. Connect to it with an SSH client, or "
    "open the port of your web server.",
    reason="speaks_ssh",
)
SPEAKS_HTTP2 = replace(
    BAD_BACKEND_RESPONSE,
    message="The program on this port speaks HTTP/2 alone, as gRPC servers do, and was asked in HTTP/1.1. Set this port's "
    "protocol to h2c, or have the program speak HTTP/1.1 too.",
    reason="speaks_http2",
)
SPEAKS_ANOTHER_PROTOCOL = replace(
    BAD_BACKEND_RESPONSE,
    message="The program on this port does not speak HTTP: it answered as a database, a mail server or the like does. Open "
    "the port of your web server.",
    reason="speaks_another_protocol",
)
TLS_EXPECTED = Problem(
    "tls_expected",
    502,
    _BACKEND,
    "This port is set to https, and the program on it does not speak TLS. Set the port's scheme to http, or give the "
    "program a certificate; any will do.",
    True,
    proxy_error="tls_protocol_error",
)
WRONG_PROTOCOL = Problem(
    "wrong_protocol",
    502,
    _BACKEND,
    "This port is set to h2c, and the program on it does not speak HTTP/2 without an upgrade. Set the port's protocol to "
    "http1, or start a server that speaks it, as gRPC servers do.",
    True,
    proxy_error="http_protocol_error",
)
STARTING = Problem(
    "starting",
    503,
    _BACKEND,
    "This preview is starting. It will answer in a moment; try again shortly.",
    True,
    3,
    proxy_error="destination_unavailable",
)
STOPPED = Problem(
    "stopped",
    503,
    _BACKEND,
    "This preview is stopped. Start it from the console or the API, then try again.",
    True,
    30,
    proxy_error="destination_unavailable",
)
WAKE_FAILED = Problem(
    "wake_failed",
    503,
    _BACKEND,
    "This preview was asleep, and it did not wake up in time. Try again in a moment. If it goes on, start it from the console or "
    "the API, or tell its owner.",
    True,
    10,
    proxy_error="destination_unavailable",
)
WAKE_QUEUE_FULL = Problem(
    "wake_queue_full",
    503,
    _EDGE,
    "This preview is asleep. So many others are waking up that no more can get in line, and it was not asked to start. Try again "
    "in a moment, or have its owner start it from the console or the API.",
    True,
    10,
    proxy_error="destination_unavailable",
)
WAKE_NOT_POSSIBLE = Problem(
    "wake_not_possible",
    503,
    _BACKEND,
    "This preview is asleep, and can't be woken by a visit at the moment. Try again later, or have its owner start it from the "
    "console or the API.",
    True,
    30,
    proxy_error="destination_unavailable",
)
WAKE_REFUSED = Problem(
    "wake_refused",
    403,
    _CLIENT,
    "This preview is asleep, and a visit may not wake it. Ask its owner to start it.",
    proxy_error="http_request_denied",
)
WAKE_PAYMENT_REQUIRED = Problem(
    "wake_payment_required",
    402,
    _CLIENT,
    "This preview is asleep, and its owner's plan or balance does not let it start. If it is yours, look at your plan in the "
    "console. Otherwise tell its owner.",
    proxy_error="http_request_denied",
)
CERTIFICATE_PENDING = Problem(
    "certificate_pending",
    503,
    _BACKEND,
    "The certificate of this address is being issued, which takes a few seconds. Then it answers over HTTPS.",
    True,
    3,
    proxy_error="proxy_internal_response",
)
CAA_FORBIDDEN = replace(
    CERTIFICATE_PENDING,
    message="This address has no certificate, so https fails here: the CAA records of the domain let our certificate "
    "authority issue none. If this domain is yours, allow letsencrypt.org there.",
    reason="caa_forbidden",
)
NOT_POINTING = replace(
    CERTIFICATE_PENDING,
    message="This address has no certificate, so https fails here: when its DNS records were last checked, they did not "
    "lead to us. If this domain is yours, have it diagnosed to see which record to change.",
    reason="dns_not_pointing",
)
RESOLVER_UNAVAILABLE = Problem(
    "resolver_unavailable",
    503,
    _EDGE,
    "We could not look up where this address leads. That is our fault; try again in a few seconds.",
    True,
    5,
    proxy_error="proxy_internal_error",
)
CI_SYSTEM_UNAVAILABLE = Problem(
    "identity_provider_unavailable",
    503,
    _BACKEND,
    "The CI system that this token names could not be asked for the keys that it signs with, or its answer must not be believed, "
    "so nobody can tell whether the token is right. Send the request again in a few seconds. If it stays so, check the issuer "
    "among the trusted issuers of the preview's owner.",
    True,
    10,
    reason="ci_system",
    proxy_error="destination_unavailable",
)
DRAINING = Problem(
    "draining",
    503,
    _EDGE,
    "This server is restarting. Try again now: another one answers.",
    True,
    1,
    proxy_error="proxy_internal_response",
)
SESSION_CLOSED = Problem(
    "session_closed",
    503,
    _EDGE,
    "The platform's operators have closed this request while it was open.",
    True,
    None,
    proxy_error="proxy_internal_response",
)
OVERLOADED = Problem(
    "overloaded",
    503,
    _EDGE,
    "This server has no room for another connection. Try again shortly.",
    True,
    2,
    proxy_error="proxy_internal_error",
)
BACKEND_TIMEOUT = Problem(
    "backend_timeout",
    504,
    _BACKEND,
    "The program behind this address did not answer in time. Look at its log.",
    True,
    proxy_error="http_response_timeout",
)
CONNECT_TIMEOUT = replace(
    BACKEND_TIMEOUT,
    message="The machine behind this address did not accept a connection in time. It may be starting or overloaded; try "
    "again shortly.",
    reason="connect",
    proxy_error="connection_timeout",
)
LOOP_DETECTED = Problem(
    "loop_detected",
    508,
    _BACKEND,
    "The request has passed through here several times: this preview proxies to itself.",
    proxy_error="proxy_loop_detected",
)
VERSION_NOT_SUPPORTED = Problem(
    "http_version_not_supported",
    505,
    _CLIENT,
    "Use HTTP/1.1 or HTTP/1.0 here.",
    proxy_error="http_request_error",
)

EDGE_PROBLEMS: tuple[Problem, ...] = (
    BAD_REQUEST,
    INVALID_HOST,
    HOST_NOT_FOUND,
    NO_CERTIFICATE,
    TOKEN_MISSING,
    TOKEN_WRONG,
    SEVERAL_TOKENS,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    ADDRESS_NOT_ALLOWED,
    ORIGIN_NOT_ALLOWED,
    LOGIN_NOT_ALLOWED,
    LOGIN_FAILED,
    IDENTITY_PROVIDER_UNAVAILABLE,
    PREVIEW_EXPIRED,
    TOO_EARLY,
    TOO_EARLY_TO_WAKE,
    PASSWORD_WRONG,
    TOO_MANY_TRIES,
    FORM_WRONG,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    RESOURCE_DELETED,
    PAYLOAD_TOO_LARGE,
    URI_TOO_LONG,
    EXPECTATION_FAILED,
    TOO_MANY_REQUESTS,
    TOO_MANY_LOGINS,
    HEADERS_TOO_LARGE,
    BLOCKED,
    METHOD_NOT_IMPLEMENTED,
    PORT_CLOSED,
    LISTENS_ON_LOOPBACK,
    LISTENS_ELSEWHERE,
    BAD_BACKEND_RESPONSE,
    CONNECTION_CLOSED,
    SPEAKS_TLS,
    SPEAKS_SSH,
    SPEAKS_HTTP2,
    SPEAKS_ANOTHER_PROTOCOL,
    TLS_EXPECTED,
    WRONG_PROTOCOL,
    STARTING,
    STOPPED,
    WAKE_FAILED,
    WAKE_QUEUE_FULL,
    WAKE_NOT_POSSIBLE,
    WAKE_REFUSED,
    WAKE_PAYMENT_REQUIRED,
    CERTIFICATE_PENDING,
    CAA_FORBIDDEN,
    NOT_POINTING,
    RESOLVER_UNAVAILABLE,
    CI_SYSTEM_UNAVAILABLE,
    DRAINING,
    SESSION_CLOSED,
    OVERLOADED,
    BACKEND_TIMEOUT,
    CONNECT_TIMEOUT,
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
PROOF_NEEDED = Problem(
    "proof_needed",
    422,
    _CLIENT,
    "The domain leads to us, but a record that proves that it is yours is needed; see error.fields and error.proof.",
)
DNS_UNKNOWN = Problem(
    "dns_unknown",
    422,
    _CLIENT,
    "The name servers of this domain could not be asked, so nothing has changed. Try again in a minute.",
    True,
    60,
)
CERTIFICATE_REFUSED = Problem(
    "certificate_refused",
    422,
    _CLIENT,
    "The certificate or its key can't be used; see error.findings for each reason and what to do about it.",
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
INVALID_TENANT = Problem(
    "invalid_tenant",
    400,
    _CLIENT,
    "X-MIOSA-Tenant must be the id or the slug of one organization, sent once, and not to the platform's own endpoints.",
)
TENANT_NOT_FOUND = Problem("tenant_not_found", 404, _CLIENT, "There is no organization that X-MIOSA-Tenant names.")
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
NOT_SERVED_HERE = Problem(
    "not_served_here",
    501,
    _CLIENT,
    "This path is served by another service of the platform, not by this router.",
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
    PROOF_NEEDED,
    DNS_UNKNOWN,
    CERTIFICATE_REFUSED,
    CHECKED_JUST_NOW,
    IDEMPOTENCY_IN_PROGRESS,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_TENANT,
    TENANT_NOT_FOUND,
    WORKSPACE_REQUIRED,
    WORKSPACE_NOT_FOUND,
    WORKSPACE_NAME_EXISTS,
    NOT_SERVED_HERE,
    RATE_LIMITED,
    INTERNAL_ERROR,
    UNAVAILABLE,
)

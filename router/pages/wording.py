"""What the pages say beyond a problem's message: a heading per reason, or else per code, and what a port has to do with it.

Pages about a host that leads to something may name it. The others must not depend on the host at all: an answer that
differs between a name that exists and one that doesn't would tell which is which.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from router.errors import Problem
from router.routes.records import ListeningSocket

HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "bad_request": "This request could not be understood",
        "invalid_host": "That is not a valid address",
        "host_not_found": "There is nothing here",
        "no_certificate": "There is nothing here yet",
        "token_missing": "This preview is private",
        "token_wrong": "That does not open this preview",
        "several_tokens": "One token at a time",
        "token_expired": "Your access has expired",
        "token_revoked": "Your access has ended",
        "address_not_allowed": "Not from this network",
        "origin_not_allowed": "Not from another site",
        "login_not_allowed": "This account is not let in",
        "login_failed": "Sign in once more, please",
        "identity_provider_unavailable": "Signing in does not work just now",
        "preview_expired": "This preview has ended",
        "too_early": "Once more, please",
        "password_wrong": "That is not the password",
        "too_many_tries": "Too many tries",
        "form_wrong": "That form could not be read",
        "method_not_allowed": "Not with this method",
        "request_timeout": "That took too long",
        "resource_deleted": "Gone for good",
        "payload_too_large": "That is too large",
        "uri_too_long": "That address is too long",
        "expectation_failed": "That expectation is not supported",
        "too_many_requests": "This preview is busy",
        "too_many_logins": "Too many sign-ins",
        "headers_too_large": "The request’s headers are too large",
        "blocked": "Not available",
        "method_not_implemented": "That method is not known here",
        "port_closed": "Waiting for this port",
        "listens_on_loopback": "Bound to the wrong address",
        "listens_elsewhere": "Listening on another port",
        "bad_backend_response": "The program here did not answer properly",
        "tls_expected": "The program here does not speak TLS",
        "wrong_protocol": "The program here does not speak HTTP/2",
        "starting": "Just a moment",
        "stopped": "Not running",
        "wake": "Once more, please",
        "wake_failed": "It did not wake up",
        "wake_queue_full": "Asleep, and the line is full",
        "wake_not_possible": "Asleep for now",
        "wake_refused": "Asleep",
        "wake_payment_required": "Asleep, and may not start",
        "certificate_pending": "Just a moment",
        "caa_forbidden": "No certificate may be issued",
        "dns_not_pointing": "This domain does not lead here",
        "resolver_unavailable": "Something is wrong on our side",
        "ci_system": "The CI system can't be asked just now",
        "draining": "Back in a moment",
        "session_closed": "Closed by the platform",
        "overloaded": "No room just now",
        "connection_closed": "The program here broke off",
        "speaks_tls": "This port wants https",
        "speaks_ssh": "This port is for SSH",
        "speaks_http2": "This port speaks HTTP/2 only",
        "speaks_another_protocol": "This port is no web server",
        "backend_timeout": "The program here did not answer in time",
        "connect": "The machine here did not answer in time",
        "loop_detected": "Round in circles",
        "http_version_not_supported": "That version of HTTP is not supported",
    }
)

# What a link that works once asks before it is used.
CONFIRMATION = "Open this private preview?"
CONFIRMATION_TEXT = (
    "This link works once, and for you alone: whoever opens the preview by it first uses it up. Then this browser may come "
    "back until the link's time is over."
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A page that is no problem. With a `button` it is a form that is sent to the page's own address."""

    heading: str
    text: str
    button: str = ""


LOGIN_HOST = Notice(
    "People sign in here",
    "This address belongs to the platform. Whoever opens a private preview whose team has a login comes by here, signs in at "
    "the team's own identity provider, and is sent back. Nothing is asked of you here, and no password is typed. To sign in, "
    "open the preview.",
)
LOG_OUT = Notice(
    "Log out?",
    "That ends your sign-in for all previews of this team, in every tab and at once, also for pages that are open. If you came in "
    "by a link or a password, this browser forgets that for this preview.",
    "Log out",
)
LOGGED_OUT = Notice(
    "You are logged out",
    "This browser opens no private preview by your sign-in any more. Your identity provider may still know you: to end that "
    "too, log out there.",
)

# What the page of a private preview says where whoever belongs to its team can sign in.
SIGNING_IN = (
    "Only those who were let in may open this preview. If you belong to its team, sign in with the account that you have there. "
    "Others follow a link that its owner has shared with them, or ask for one."
)

# And where there is both.
ASKING_BOTH = (
    "Only those who were let in may open this preview. Type its password, or sign in if you belong to its team. If you can do "
    "neither, ask whoever sent you here."
)

# What a page says that asks for a password.
ASKING = (
    "Type its password to open it; this browser may come back then. If you don’t know it, ask whoever sent you here, or follow "
    "a link that the preview’s owner has shared with you."
)

# Where what let somebody in has ended, a sign-in of yesterday for example, and the page has a way to come in again.
_ENDED = (
    "What let you in does not open this preview any more: its time is over, it was ended or revoked, or it worked a single time "
    "and was used."
)

# Of who may open a preview: it is hidden from strangers by another problem than these, or by none.
_REFUSALS = (
    "token_missing",
    "token_wrong",
    "token_expired",
    "token_revoked",
    "address_not_allowed",
    "origin_not_allowed",
    "preview_expired",
    "too_early",
    "password_wrong",
    "too_many_tries",
)

# Problems of a preview that every visitor knows to exist.
ABOUT_A_PREVIEW = frozenset(
    (
        "port_closed",
        "bad_backend_response",
        "tls_expected",
        "wrong_protocol",
        "starting",
        "stopped",
        "wake_failed",
        "wake_queue_full",
        "wake_not_possible",
        "wake_refused",
        "wake_payment_required",
        "backend_timeout",
        "too_many_requests",
        "ci_system",  # its code is that of the login host's pages too, which are about no preview
        *_REFUSALS,
    )
)

# How the preview stands, in the picture of the way to it: a mark, and a word or two.
STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(_REFUSALS, ("unknown", "private")),
        "several_tokens": ("unknown", "private"),
        "ci_system": ("unknown", "private"),
        "preview_expired": ("bad", "expired"),
        "address_not_allowed": ("unknown", "restricted"),
        "too_many_logins": ("unknown", "private"),
        "starting": ("wait", "starting"),
        "too_many_requests": ("wait", "busy"),
        "stopped": ("unknown", "stopped"),
        "wake": ("unknown", "asleep"),
        "wake_failed": ("bad", "not waking"),
        "wake_queue_full": ("unknown", "asleep"),
        "wake_not_possible": ("unknown", "asleep"),
        "wake_refused": ("unknown", "asleep"),
        "wake_payment_required": ("unknown", "asleep"),
        "port_closed": ("bad", "port closed"),
        "listens_on_loopback": ("bad", "out of reach"),
        "listens_elsewhere": ("bad", "on another port"),
        "bad_backend_response": ("bad", "answered badly"),
        "connection_closed": ("bad", "broke off"),
        "speaks_tls": ("bad", "speaks TLS"),
        "speaks_ssh": ("bad", "speaks SSH"),
        "speaks_http2": ("bad", "speaks HTTP/2"),
        "speaks_another_protocol": ("bad", "speaks no HTTP"),
        "tls_expected": ("bad", "speaks no TLS"),
        "wrong_protocol": ("bad", "speaks no HTTP/2"),
        "backend_timeout": ("bad", "not answering"),
        "connect": ("bad", "not answering"),
    }
)

# Problems of one port, which their words name.
_ABOUT_A_PORT = frozenset(("port_closed", "bad_backend_response", "tls_expected", "wrong_protocol"))

# Problems that soon end by themselves: the page reloads.
RELOADING = frozenset(("port_closed", "listens_on_loopback", "listens_elsewhere", "starting", "certificate_pending"))


def asking(*, password: bool, login: bool) -> str:
    """What the page of a private preview says that has a field for a password, a button to sign in, or both."""
    if password and login:
        return ASKING_BOTH
    return ASKING if password else SIGNING_IN


def ended(*, password: bool, login: bool) -> str:
    """The same where the visitor was in before, and what let them in has ended."""
    if password and login:
        return f"{_ENDED} Type the preview’s password, or sign in again."
    return f"{_ENDED} {'Type the preview’s password.' if password else 'Sign in again.'}"


def is_about_a_preview(problem: Problem) -> bool:
    """Whether its page shows which preview it is about. `ABOUT_A_PREVIEW` names it by its code, or by its reason."""
    return problem.code in ABOUT_A_PREVIEW or problem.reason in ABOUT_A_PREVIEW


def heading(problem: Problem, port: int | None) -> str:
    """The headline of a problem's page; the message below it says what happened."""
    text = HEADINGS.get(problem.reason or problem.code) or HTTPStatus(problem.status).phrase
    return _with_port(text, port) if problem.code in _ABOUT_A_PORT else text


def message(problem: Problem, port: int | None) -> str:
    """What happened and what to do, naming the port where that is the point."""
    return _with_port(problem.message, port) if problem.code in _ABOUT_A_PORT else problem.message


def socket_text(socket: ListeningSocket) -> str:
    """As programs print it: `127.0.0.1:3000`, `[::]:3000`."""
    return f"[{socket.address}]:{socket.port}" if ":" in socket.address else f"{socket.address}:{socket.port}"


def _with_port(text: str, port: int | None) -> str:
    if port is None:
        return text
    named = text.replace("this port", f"port {port}", 1)
    return named.replace("This port", f"Port {port}", 1) if named == text else named

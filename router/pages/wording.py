"""What the pages say beyond a problem's message: a heading per code, and what a port has to do with it.

Pages about a host that leads to something may name it. The others must not depend on the host at all: an answer that
differs between a name that exists and one that doesn't would tell which is which.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from router.errors import PORT_CLOSED, Problem

HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "bad_request": "This request could not be understood",
        "invalid_host": "That is not a valid address",
        "host_not_found": "There is nothing here",
        "method_not_allowed": "Not with this method",
        "request_timeout": "That took too long",
        "resource_deleted": "Gone for good",
        "payload_too_large": "That is too large",
        "uri_too_long": "That address is too long",
        "expectation_failed": "That expectation is not supported",
        "too_many_requests": "This preview is busy",
        "headers_too_large": "The request’s headers are too large",
        "blocked": "Not available",
        "method_not_implemented": "That method is not known here",
        "port_closed": "Waiting for this port",
        "bad_backend_response": "The program here did not answer properly",
        "starting": "Just a moment",
        "stopped": "Not running",
        "certificate_pending": "Just a moment",
        "resolver_unavailable": "Something is wrong on our side",
        "draining": "Back in a moment",
        "overloaded": "No room just now",
        "backend_timeout": "The program here did not answer in time",
        "loop_detected": "Round in circles",
        "http_version_not_supported": "That version of HTTP is not supported",
    }
)

# Problems of a preview that is known to exist, to everybody who sees the page.
ABOUT_A_PREVIEW = frozenset(
    ("port_closed", "bad_backend_response", "starting", "stopped", "backend_timeout", "too_many_requests")
)

# Problems that soon pass by themselves: the page loads itself again.
RELOADING = frozenset(("port_closed", "starting", "certificate_pending"))


def heading(problem: Problem, port: int | None) -> str:
    """The headline of a problem's page; the message below it says what happened."""
    text = HEADINGS.get(problem.code) or HTTPStatus(problem.status).phrase
    return _with_port(text, port) if problem is PORT_CLOSED else text


def message(problem: Problem, port: int | None) -> str:
    """What happened and what to do, naming the port where that is the point."""
    return _with_port(problem.message, port) if problem is PORT_CLOSED else problem.message


def _with_port(text: str, port: int | None) -> str:
    return text if port is None else text.replace("this port", f"port {port}", 1)

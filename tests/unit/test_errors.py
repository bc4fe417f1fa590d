"""Every problem, walked: what any of them promises must hold for all."""

import re

import pytest

from router import errors
from router.errors import API_PROBLEMS, EDGE_PROBLEMS, Fault, Problem, RouterError

ALL = sorted({*EDGE_PROBLEMS, *API_PROBLEMS}, key=lambda problem: (problem.status, problem.code))

# Who may be blamed by a status. 501, 505 and the like are about what the client sent.
FAULTS = {
    404: {Fault.CLIENT},
    500: {Fault.EDGE},
    501: {Fault.CLIENT},
    502: {Fault.BACKEND},
    503: {Fault.BACKEND, Fault.EDGE},
    504: {Fault.BACKEND},
    505: {Fault.CLIENT},
    508: {Fault.BACKEND},
}

# The platform's pages promise this very word where a key may not do something.
WORDS_OF_THE_API = {"forbidden": "forbidden"}

# What the request can't help, and what may be different in a minute.
RETRIED_WITHOUT_A_CHANGE = {"dns_unknown", "too_early"}

# RFC 9209 §2.3: the error types that are registered.
PROXY_ERRORS = set(
    re.findall(
        r"\w+",
        "dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited "
        "destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout "
        "connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received "
        "http_request_error http_request_denied http_response_incomplete http_response_header_section_size "
        "http_response_header_size http_response_body_size http_response_trailer_section_size "
        "http_response_trailer_size http_response_transfer_coding http_response_content_coding http_response_timeout "
        "http_upgrade_failed http_protocol_error proxy_internal_response proxy_internal_error "
        "proxy_configuration_error proxy_loop_detected",
    )
)

# The answers that design promises at the edge, by code.
EDGE_STATUSES = {
    "token_missing": 401,
    "token_wrong": 403,
    "token_expired": 403,
    "token_revoked": 403,
    "address_not_allowed": 403,
    "origin_not_allowed": 403,
    "preview_expired": 410,
    "too_early": 425,
    "password_wrong": 403,
    "too_many_tries": 429,
    "invalid_host": 400,
    "host_not_found": 404,
    "request_timeout": 408,
    "resource_deleted": 410,
    "payload_too_large": 413,
    "uri_too_long": 414,
    "expectation_failed": 417,
    "too_many_requests": 429,
    "headers_too_large": 431,
    "blocked": 451,
    "port_closed": 502,
    "bad_backend_response": 502,
    "tls_expected": 502,
    "wrong_protocol": 502,
    "starting": 503,
    "certificate_pending": 503,
    "stopped": 503,
    "resolver_unavailable": 503,
    "identity_provider_unavailable": 503,
    "draining": 503,
    "session_closed": 503,
    "backend_timeout": 504,
    "http_version_not_supported": 505,
}

# Those which must tell when to come back.
WITH_RETRY_AFTER = {
    "starting",
    "certificate_pending",
    "stopped",
    "resolver_unavailable",
    "identity_provider_unavailable",
    "draining",
    "too_many_requests",
    "too_many_tries",
}


def label(problem: Problem) -> str:
    return f"{problem.status}-{problem.code}"


def test_every_problem_of_the_file_is_on_a_surface() -> None:
    """A row that no renderer walks would never be tested."""
    named = {value for value in vars(errors).values() if isinstance(value, Problem)}
    assert named == set(ALL)


@pytest.mark.parametrize("surface", [EDGE_PROBLEMS, API_PROBLEMS], ids=["edge", "api"])
def test_codes_are_unique_on_each_surface(surface: tuple[Problem, ...]) -> None:
    """Programs tell problems apart by code, and by reason where they share one: then all else that they act on is the same."""
    assert len({(problem.code, problem.reason) for problem in surface}) == len(surface)
    shared = {(problem.code, problem.status, problem.fault, problem.retryable) for problem in surface}
    assert len({problem.code for problem in surface}) == len(shared)


@pytest.mark.parametrize("problem", ALL, ids=label)
def test_a_problem_is_well_formed(problem: Problem) -> None:
    """The code is one word, the status an error, the message whole sentences."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*|[A-Z]+(_[A-Z]+)*", problem.code)
    assert 400 <= problem.status <= 599
    if problem.code in WORDS_OF_THE_API:
        assert problem.message == WORDS_OF_THE_API[problem.code]
        return
    assert re.fullmatch(r"[A-Z].*[.]", problem.message)
    assert problem.message == " ".join(problem.message.split())
    assert problem.message.isascii()


@pytest.mark.parametrize("problem", ALL, ids=label)
def test_a_status_says_whose_fault_it_is(problem: Problem) -> None:
    """4xx are the client's; a fault of ours is never a 404."""
    assert problem.fault in FAULTS.get(problem.status, {Fault.CLIENT})


@pytest.mark.parametrize("problem", ALL, ids=label)
def test_only_what_may_be_retried_says_when(problem: Problem) -> None:
    """Retry-After goes with retryable, in whole seconds that are worth waiting."""
    if problem.retry_after is not None:
        assert problem.retryable
        assert 1 <= problem.retry_after <= 60
    if problem.status in {408, 429, 500, 502, 503, 504}:
        assert problem.retryable
    elif problem.status != 409 and problem.code not in RETRIED_WITHOUT_A_CHANGE:  # a conflict may pass
        assert not problem.retryable


@pytest.mark.parametrize("problem", EDGE_PROBLEMS, ids=label)
def test_each_of_the_proxys_problems_has_a_registered_type(problem: Problem) -> None:
    """For Proxy-Status; client errors are never said to be the backend's, nor the other way round."""
    assert problem.proxy_error in PROXY_ERRORS
    if problem.proxy_error == "http_request_error":
        assert problem.fault is Fault.CLIENT
    if problem.proxy_error.startswith(("http_response", "http_protocol", "connection_refused")):
        assert problem.fault is Fault.BACKEND
    if problem.proxy_error == "proxy_internal_error":
        assert problem.fault is Fault.EDGE


def test_the_edge_answers_with_the_promised_codes() -> None:
    """Codes and statuses are public; those that people should wait for say how long."""
    statuses = {problem.code: problem.status for problem in EDGE_PROBLEMS}
    assert {code: statuses.get(code) for code in EDGE_STATUSES} == EDGE_STATUSES
    assert {problem.code for problem in EDGE_PROBLEMS if problem.retry_after} >= WITH_RETRY_AFTER


@pytest.mark.parametrize("code", ["host_not_found", "blocked", "resource_deleted", "stopped", "starting"])
def test_messages_name_nobody(code: str) -> None:
    """What a stranger reads must not tell who owns what is here."""
    for problem in EDGE_PROBLEMS:
        if problem.code == code:
            assert not re.search(r"tenant|workspace|project|sandbox|slug", problem.message, re.IGNORECASE)
            assert problem.reason is not None or "record" not in problem.message


def test_a_closed_port_tells_what_to_do() -> None:
    """The commonest mistake of all has its remedy in the message."""
    assert "0.0.0.0" in errors.PORT_CLOSED.message


def test_an_error_carries_its_problem() -> None:
    """The row's message unless a better one is given; fields only where a body was wrong."""
    plain = RouterError(errors.CONFLICT)
    assert (plain.problem, plain.message, plain.fields) == (errors.CONFLICT, errors.CONFLICT.message, {})
    assert str(plain) == f"conflict: {errors.CONFLICT.message}"
    wrong = RouterError(errors.VALIDATION_FAILED, "Two fields are wrong.", fields={"slug": ("is taken",), "name": []})
    assert wrong.message == "Two fields are wrong."
    assert wrong.fields == {"slug": ["is taken"], "name": []}
    assert RouterError(errors.CONFLICT, "").message == ""


@pytest.mark.parametrize(
    ("wait", "said"),
    [(1, "1 second,"), (41, "41 seconds,"), (60, "1 minute,"), (61, "2 minutes,"), (3540, "59 minutes,")],
)
def test_how_long_to_wait_is_said_in_words(wait: int, said: str) -> None:
    """Who reads a page sees no header."""
    problem = errors.too_many_tries(wait)
    assert f"Wait {said} then try again." in problem.message
    assert problem.retry_after == wait

"""Which problems send a client of an event stream away with a time to come back."""

import pytest

from router.errors import API_PROBLEMS, EDGE_PROBLEMS, Problem
from router.pages import Form, Pages, reconnect_after
from router.pages.event_streams import RETRIES

# What stays as it is however often it is asked for.
LASTING = {400, 401, 403, 404, 405, 408, 410, 413, 414, 417, 431, 451, 501, 505, 508}


@pytest.mark.parametrize("problem", [*EDGE_PROBLEMS, *API_PROBLEMS], ids=lambda problem: problem.code)
def test_only_what_passes_by_itself(problem: Problem) -> None:
    """Nothing that another try meets again; at least a second, and never sooner than our own trouble allows."""
    wait = reconnect_after(problem)
    if problem.status in LASTING:
        assert wait is None
    if wait is not None:
        assert problem.retryable
        assert 1000 <= wait <= 30_000


def test_the_table_knows_no_other_codes() -> None:
    """Each row is a problem of the proxy."""
    assert set(RETRIES) <= {problem.code for problem in EDGE_PROBLEMS}


def test_the_stream() -> None:
    """One field, complete, so that Chromium, Firefox and Safari take it."""
    (problem,) = [problem for problem in EDGE_PROBLEMS if problem.code == "port_closed" and problem.reason is None]
    page = Pages("https://docs.miosa.ai/errors").render(
        problem, form=Form.EVENT_STREAM, request_id="r", host="h", port=1
    )
    assert (page.status, page.content_type, page.body) == (200, b"text/event-stream", b"retry: 1000\n\n")

"""What a process says of itself, beside what prometheus_client says of it."""

import os

import pytest
from prometheus_client import ProcessCollector

from router.observe.process_figures import process_figures


def test_they_are_those_of_prometheus_client() -> None:
    """The same families, by name, type and text; values that stay are the same."""
    ours = {name: (kind, text, samples) for name, kind, text, _, samples in process_figures({})}
    theirs = {family.name: family for family in ProcessCollector(registry=None).collect()}
    assert set(ours) == set(theirs)
    for name, (kind, text, samples) in ours.items():
        assert (kind, text) == (theirs[name].type, theirs[name].documentation)
        (sample,) = theirs[name].samples
        assert [said[:2] for said in samples] == [[sample.name, {}]]
        if name in ("process_start_time_seconds", "process_max_fds"):
            assert samples[0][2] == pytest.approx(sample.value)


def test_they_follow_what_the_process_does() -> None:
    """A file more, and the labels that they are to have."""

    def opened() -> float:
        (samples,) = [found[4] for found in process_figures({"worker": "2"}) if found[0] == "process_open_fds"]
        ((_, labels, value),) = samples
        assert labels == {"worker": "2"}
        return float(value)

    before = opened()
    file = os.open("/dev/null", os.O_RDONLY)
    try:
        assert opened() == before + 1
    finally:
        os.close(file)

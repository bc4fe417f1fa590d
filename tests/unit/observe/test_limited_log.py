"""Lines that strangers cause: bounded in number, and none of them lost without being counted."""

import structlog
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.observe.limited_log import LimitedLog
from router.observe.metrics import Metrics


def test_so_many_a_second_and_the_rest_counted() -> None:
    """A flood is twenty lines a second; the next line says how many there were besides, and so does the metric."""
    clock, metrics = ManualClock(), Metrics()
    log = LimitedLog(structlog.get_logger("router.test"), clock.monotonic, metrics)
    with capture_logs() as lines:
        for number in range(1000):
            log.info("request refused", number=number)
        assert [line["number"] for line in lines] == list(range(20))
        assert not any("suppressed" in line for line in lines)
        clock.advance(1.0)
        log.info("backend's answer refused")
        log.info("request refused")
    assert lines[20] == {"event": "backend's answer refused", "log_level": "info", "suppressed": 980}
    assert "suppressed" not in lines[21]
    assert b"miosa_router_log_lines_suppressed_total 980.0" in metrics.render("text/plain")[0]

"""What `/readyz` shows beside its checks."""

from typing import Any

from router.base.clock import ClockWatch, ManualClock
from router.certificates.held import Origin
from router.gate.handover import HandOver
from router.gate.held_table import HeldTable
from router.node.readiness import Readiness
from tests.support.held_table import BOX

NOT_ASKED: Any = None


def test_certificates_that_can_not_be_decrypted() -> None:
    """They are counted, even where nothing else is held; a node with none shows nothing."""
    clock = ManualClock()
    handover = HandOver(HeldTable(BOX, clock), clock)
    readiness = Readiness(
        (),
        state=lambda: "serving",
        control_side=None,
        shared=None,
        handover=handover,
        surroundings=NOT_ASKED,
        watch=ClockWatch(clock),
    )
    assert readiness.facts() == {}
    handover.unreadable.add(("miosa.app", Origin.MANAGED))
    assert readiness.facts() == {"held_certificates": {"held": 0, "unreadable": 1, "fetched": False}}

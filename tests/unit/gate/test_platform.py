"""How the platform's own names stand, and who is told."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.domains.certificates import Leaf
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.platform import PlatformNames
from router.observe.metrics import Metrics
from router.settings import Gate

WILDCARDS = ["miosa.app", "sandbox.miosa.app"]


class Held:
    """What a HandOver knows of zones: those that it holds, and those whose key it can't decrypt."""

    def __init__(self) -> None:
        self.zones: set[str] = set()
        self.locked: set[str] = set()

    def holds(self, domain: str) -> bool:
        return domain in self.zones

    def lacks_key(self, zone: str) -> bool:
        return zone in self.locked


class Platform:
    def __init__(self, *, wildcards: Sequence[str] = (), **limits: object) -> None:
        self.clock = ManualClock()
        gate = Gate().model_copy(update={"in_flight": 1000, "starts": 1000, **limits})
        self.budgets = Budgets(gate, self.clock, ["miosa.app"])
        self.budgets.ready()
        self.evidence = MemoryEvidence(self.clock, wildcards=wildcards)
        self.held: Any = Held()
        self.names = PlatformNames(
            "miosa.app",
            budgets=self.budgets,
            evidence=self.evidence,
            settings=gate,
            held=self.held,
            metrics=Metrics(),
            clock=self.clock,
        )

    def warnings(self, count: int) -> list[str]:
        """What the log says while so many names get certificates, and others beside them."""
        with capture_logs() as logs:
            self.names.advise()
            for number in range(count):
                self.budgets.open(f"x{number}.sandbox.miosa.app", "acme")
                self.budgets.open(f"x{number}.org", "acme")
        return [line["event"] for line in logs if "domains delegation miosa.app" in line["advice"]]


def test_without_a_wildcard_it_is_said_at_the_start_and_when_half_is_spent() -> None:
    """Once an hour, however many there are; `/readyz` has the figures."""
    platform = Platform()
    assert platform.warnings(19) == ["no wildcard certificate known for the platform domain"]
    assert platform.warnings(30)[1:] == ["certificate budget of the platform domain running out"]
    facts = platform.names.facts()
    assert (facts["wildcard"], facts["spent"], facts["of"]) == (False, 30, 40)
    assert "configure a wildcard" in str(facts["advice"])


@pytest.mark.parametrize("known", ["set", "read", "no budgets"])
def test_with_a_wildcard_there_is_nothing_to_say(known: str) -> None:
    """Set, or seen at Caddy; nor where the authority is one's own."""
    platform = Platform(wildcards=WILDCARDS if known == "set" else (), budgets=known != "no budgets")
    now = platform.clock.now()
    leaf = Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=90))
    if known == "read":
        platform.evidence.read("*.miosa.app", leaf)
        assert platform.names.needs_wildcard  # that does not cover x.sandbox.miosa.app
        platform.evidence.read("*.sandbox.miosa.app", leaf)
    assert platform.warnings(30) == []
    assert platform.names.facts() == ({} if known == "no budgets" else {"wildcard": True})
    assert platform.names.limit == 0


def test_what_the_router_holds_is_a_wildcard() -> None:
    """Both names: then nothing is missing, whether or not a Caddy has fetched it lately."""
    platform = Platform()
    platform.held.zones.add("miosa.app")
    assert platform.names.needs_wildcard
    platform.held.zones.add("sandbox.miosa.app")
    assert not platform.names.needs_wildcard
    assert (platform.names.limit, platform.names.facts()) == (0, {"wildcard": True})


def test_a_wildcard_whose_key_can_not_be_decrypted() -> None:
    """There is nothing to delegate then: the advice is to give the node its key."""
    platform = Platform()
    platform.held.locked.add("elsewhere.example")
    assert platform.names.facts()["lacks_key"] is False
    platform.held.locked.add("miosa.app")
    facts = platform.names.facts()
    assert (facts["wildcard"], facts["lacks_key"], facts["of"]) == (False, True, 40)
    assert str(facts["advice"]).startswith(
        "the certificate of miosa.app is in the store, and this node can't decrypt its key"
    )
    assert "delegat" not in str(facts["advice"])
    with capture_logs() as logs:
        platform.names.advise()
    assert [line["advice"] for line in logs] == [facts["advice"]]

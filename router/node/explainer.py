"""An explainer of one host for one command: it reads the store, and knows nothing of any running node's memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.base.clock import SystemClock
from router.gate.ask import Ask
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.policy import read_name
from router.observe.metrics import Metrics
from router.routes.explain import Explainer
from router.routes.resolver import Resolver
from router.settings import Settings
from router.store import open_store


@asynccontextmanager
async def open_explainer(settings: Settings, host: str) -> AsyncIterator[Explainer]:
    """See the module. Raises StoreUnavailableError."""
    clock = SystemClock()
    async with open_store(settings, clock) as store:
        resolver = Resolver.of(store.records, settings, clock)
        evidence, budgets = MemoryEvidence(clock), Budgets(settings.gate, clock, [settings.platform_domain])
        ask = Ask(routes=resolver, evidence=evidence, budgets=budgets, metrics=Metrics(), clock=clock)
        now = clock.now()
        try:
            # Attempts count wherever they were made, certificates only of this host.
            budgets.merge((await store.certificate_log.changes_since(None, now.timestamp() - budgets.kept, 1)).attempts)
            budgets.ready()
            name = read_name(host)
            if isinstance(name, str):
                found = await store.certificate_log.live([name])
                evidence.hold({name: until.timestamp() for name, until in found.items() if until > now})
            yield Explainer(resolver=resolver, gate=ask.judge, clock=clock)
        finally:
            await resolver.close()

"""Rules of the holder: may the one who asks have the name at all. All that apply. Pure."""

from collections.abc import Callable

from router.domains.diagnosis.findings import (
    Context,
    Finding,
    an_error,
)
from router.domains.diagnosis.snapshot import DnsSnapshot


def _held_by_another(snapshot: DnsSnapshot, context: Context) -> Finding | None:
    if not context.held_by_another:
        return None
    how = "register it here to be given the record that proves that it is yours"
    if snapshot.proof is not None:
        how = "prove that it is yours"
    return an_error(
        "held_by_another",
        f"{snapshot.subject.name} is held by another account, or was within the last 30 days. Remove it there, or {how}.",
    )


def _suspended(snapshot: DnsSnapshot, context: Context) -> Finding | None:
    if not context.suspended:
        return None
    return an_error("suspended", f"{snapshot.subject.name} is suspended, whatever its DNS says. Contact support.")


OWNER_RULES: tuple[Callable[[DnsSnapshot, Context], Finding | None], ...] = (_held_by_another, _suspended)

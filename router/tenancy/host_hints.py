"""What owners read about programs that refuse the name that they are visited under."""

from collections.abc import Collection, Mapping

from router.base.transactions import Transactions
from router.routes.host_notes import HostNotes
from router.tenancy.transaction import Tx


class HostHints:
    """What this node has seen of programs, while they run: a machine that has been started again has told nothing yet."""

    def __init__(self, store: Transactions[Tx], notes: HostNotes) -> None:
        self._store = store
        self.notes = notes

    async def of(self, resource_id: str, ports: Collection[int]) -> Mapping[int, str]:
        """A hint for each of these ports whose program needs one. Reads the store only where something is known."""
        known = {port: note for port in ports if (note := self.notes.of(resource_id, port)) is not None}
        if not known:
            return {}
        async with self._store.read() as tx:
            endpoints = await tx.resources.endpoints(resource_id)
        generations = {endpoint.generation for endpoint in endpoints if endpoint.version_id is None}
        return {port: note.hint for port, note in known.items() if note.generation in generations}

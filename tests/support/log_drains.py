"""Log drains for tests: one in memory, and endpoints that note what comes."""

import json
from datetime import UTC, datetime
from typing import Any

from router.drains.batch import Line
from router.drains.credentials import Credentials
from router.drains.log_drain import DrainKind, LogDrain
from router.tenancy.deliveries import Attempt
from tests.support.request_records import ACME

NOW = datetime(2026, 5, 17, 10, tzinfo=UTC)


def drain(**changes: Any) -> LogDrain:
    """A drain of Acme's. Every field can be replaced."""
    values: dict[str, Any] = {
        "id": "d1",
        "tenant_id": str(ACME),
        "name": "logs",
        "kind": DrainKind.HTTP,
        "url": "https://logs.example.com/in",
        "secret": "whsec_" + "A" * 44,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return LogDrain(**values | changes)


class Collector:
    """drains.log_drains.DrainSender: takes everything, unless it was told other answers. `got` has (drain, batch, lines), `refused` what it
    answers to a batch that has the record of a request id."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, list[Line]]] = []
        self.answers: list[Attempt] = []
        self.refused: dict[str, int] = {}
        self.credentials: list[Credentials] = []

    async def send(
        self, drain: LogDrain, batch_id: str, lines: list[Line], secrets: tuple[str, ...], credentials: Credentials
    ) -> Attempt:
        assert secrets
        self.credentials.append(credentials)
        answer = self.answers.pop(0) if self.answers else Attempt(status=self._status(lines))
        self.got.append((drain.id, batch_id, lines))
        return answer

    def _status(self, lines: list[Line]) -> int:
        found = [self.refused.get(json.loads(line.text).get("request_id", ""), 204) for line in lines]
        return max(found, default=204)

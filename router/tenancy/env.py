"""Environment variables of a deployment: what the platform gives to its program when it starts it.

Each environment has its own. A value that was once marked as secret is never shown to customers again, and stays secret
when it is set again; only the platform reads it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError
from router.routes.records import Kind
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.resources import live
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields, invalid
from router.tenancy.versions import PRODUCTION

MAX_VARS = 500  # of one environment
MAX_VALUE = 32_000  # characters: whatever they are, with its name it is below the 128 KiB that execve(2) takes

NAME = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
ENVIRONMENT = r"[a-z0-9][a-z0-9_-]{0,79}"
_NAME = re.compile(NAME)
_ENVIRONMENT = re.compile(ENVIRONMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """One variable in one environment."""

    id: str
    resource_id: str
    environment: str
    name: str
    value: str
    secret: bool = False
    created_at: datetime
    updated_at: datetime


class EnvRows(Protocol):
    """Stored variables."""

    async def list(self, resource_id: str, environment: str | None) -> Sequence[EnvVar]:
        """By environment and name; None is every environment."""

    async def put(self, variables: Sequence[EnvVar]) -> None:
        """Store them, in the place of those with the same id."""

    async def drop(self, ids: Collection[str]) -> None: ...


class Env:
    """The service of variables. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, deployment_id: str, environment: str | None = None) -> Sequence[EnvVar]:
        """By environment and name, secret values included. Raises RouterError NOT_FOUND."""
        async with self._store.read() as tx:
            live(await tx.resources.get(deployment_id), Kind.DEPLOYMENT)
            return await tx.env.list(deployment_id, environment)

    @retry_on_deadlock
    async def set(
        self,
        deployment_id: str,
        values: Mapping[str, str | None],
        *,
        environment: str = PRODUCTION,
        secret: Collection[str] = (),
    ) -> Sequence[EnvVar]:
        """Set some variables; those that are not named stay, those that are None go. `secret` names the secret ones.

        What the environment has then. Raises RouterError: NOT_FOUND, VALIDATION_FAILED (`env`, `environment`).
        """
        fields = Fields()
        check_environment(fields, environment)
        _check(fields, values)
        fields.check()
        now = self._clock.now()
        async with self._store.begin() as tx:
            live(await tx.resources.get(deployment_id), Kind.DEPLOYMENT)
            old = {variable.name: variable for variable in await tx.env.list(deployment_id, environment)}
            kept = {name: variable for name, variable in old.items() if values.get(name, "") is not None}
            for name, value in values.items():
                if value is None:
                    continue
                before = old.get(name) or EnvVar(
                    id=new_id(),
                    resource_id=deployment_id,
                    environment=environment,
                    name=name,
                    value=value,
                    created_at=now,
                    updated_at=now,
                )
                kept[name] = replace(before, value=value, secret=before.secret or name in secret, updated_at=now)
            if len(kept) > MAX_VARS:
                raise invalid("env", f"would make more than {MAX_VARS} variables")
            await tx.env.drop([variable.id for name, variable in old.items() if name not in kept])
            await tx.env.put([kept[name] for name, value in values.items() if value is not None])
            return [kept[name] for name in sorted(kept)]

    @retry_on_deadlock
    async def delete(self, deployment_id: str, name: str, environment: str = PRODUCTION) -> EnvVar:
        """Forget one. Raises RouterError NOT_FOUND."""
        async with self._store.begin() as tx:
            live(await tx.resources.get(deployment_id), Kind.DEPLOYMENT)
            for variable in await tx.env.list(deployment_id, environment):
                if variable.name == name:
                    await tx.env.drop([variable.id])
                    return variable
        raise RouterError(NOT_FOUND, "variable not found")


def check_environment(fields: Fields, environment: str) -> None:
    """Lower case, as it may become a part of a name one day."""
    if _ENVIRONMENT.fullmatch(environment) is None:
        fields.add("environment", "must start with alphanumeric and contain only a-z 0-9 - _")


def _check(fields: Fields, values: Mapping[str, str | None]) -> None:
    if len(values) > MAX_VARS:
        fields.add("env", f"should have at most {MAX_VARS} item(s)")
    for name, value in values.items():
        if _NAME.fullmatch(name) is None:
            fields.add(f"env.{name}", "is not a name: letters, digits and underscores, not a digit first")
        if value is not None and len(value) > MAX_VALUE:
            fields.add(f"env.{name}", f"should be at most {MAX_VALUE} character(s)")
        if value is not None and "\x00" in value:
            fields.add(f"env.{name}", "must not contain a null character")

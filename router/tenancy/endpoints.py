"""Endpoints: where a resource listens now, as the platform says. `base/addresses.py` says where none may."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from router.base.addresses import Network, own_listener, refusal
from router.base.clock import Clock
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.records import ListeningSocket, State
from router.tenancy import lifecycle
from router.tenancy.resources import Resource, StoredEndpoint, live
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields, invalid

_MAX_BATCH = 1000
_PER_TRANSACTION = 250
_MAX_MAPPED_PORTS = 256
_MAX_LISTENING = 32  # each record carries them


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """The platform's notice of where a resource listens. `ports` maps public to real ports; absent ones are the same number.
    `listening` is what programs listen on inside, port and address; None where the platform does not know.

    With `version_id` it is where that version of a deployment listens; `state` is then left aside, because the
    deployment's state is not one version's.
    """

    resource_id: str
    address: str
    generation: str
    state: State = State.RUNNING
    ports: Mapping[int, int] = field(default_factory=dict)
    listening: tuple[ListeningSocket, ...] | None = None
    version_id: str | None = None


class Endpoints:
    """The service of endpoints. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._networks = tuple(networks)
        self._own_listeners = frozenset(own_listeners)

    async def put(self, change: EndpointChange) -> StoredEndpoint:
        """Store where a resource listens and the state it is in. The same change twice changes nothing.

        Raises RouterError: NOT_FOUND, VALIDATION_FAILED (`address`, `generation`, `listening`, `ports`, `state`,
        `version_id`).
        """
        async with self._store.begin() as tx:
            (result,) = await self._apply(tx, [change])
        if isinstance(result, RouterError):
            raise result
        return result

    async def put_many(self, changes: Sequence[EndpointChange]) -> Sequence[StoredEndpoint | RouterError]:
        """Many at once: those that are right are stored, for each other one its error comes back in its place.

        Raises RouterError VALIDATION_FAILED where there are more than 1000. Where StoreUnavailableError is raised, some
        may be stored; sending all again is safe.
        """
        if len(changes) > _MAX_BATCH:
            raise invalid("endpoints", f"should have at most {_MAX_BATCH} item(s)")
        results: list[StoredEndpoint | RouterError] = []
        # In pieces, so that other writers get their turn in between.
        for start in range(0, len(changes), _PER_TRANSACTION):
            async with self._store.begin() as tx:
                results += await self._apply(tx, changes[start : start + _PER_TRANSACTION])
        return results

    async def get(self, resource_id: str, version_id: str | None = None) -> StoredEndpoint:
        """The resource's own endpoint, or that of a version of it. Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            live(await tx.resources.get(resource_id))
            for endpoint in await tx.resources.endpoints(resource_id):
                if endpoint.version_id == version_id:
                    return endpoint
        raise RouterError(NOT_FOUND, "endpoint not found")

    async def list(self, resource_id: str) -> Sequence[StoredEndpoint]:
        """The resource's own endpoint and those of its versions. Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            live(await tx.resources.get(resource_id))
            return await tx.resources.endpoints(resource_id)

    async def delete(self, resource_id: str, version_id: str | None = None) -> None:
        """Forget where the resource (or one version of it) listens; its state stays. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            live(await tx.resources.get(resource_id))
            if not await tx.resources.drop_endpoint(resource_id, version_id):
                raise RouterError(NOT_FOUND, "endpoint not found")

    async def _apply(self, tx: Tx, changes: Sequence[EndpointChange]) -> Sequence[StoredEndpoint | RouterError]:
        """Each change's endpoint, or what is wrong with it: one that is wrong stops no other."""
        now = self._clock.now()
        resources = dict(await tx.resources.get_many({change.resource_id for change in changes}))
        results: list[StoredEndpoint | RouterError] = []
        states: dict[str, State] = {}
        for change in changes:
            try:
                self._check(change)
                endpoint = await self._endpoint(tx, resources.get(change.resource_id), change, now)
            except RouterError as error:
                results.append(error)
                continue
            results.append(endpoint)
            if change.version_id is None:
                states[change.resource_id] = change.state
        await tx.resources.put_endpoints([result for result in results if isinstance(result, StoredEndpoint)])
        for state in sorted(set(states.values())):
            named = [resources[resource_id] for resource_id, wanted in states.items() if wanted is state]
            entered = [resource for resource in named if resource.state is not state]
            if entered:
                await lifecycle.enter_all(tx, entered, state, now)
        return results

    async def _endpoint(self, tx: Tx, found: Resource | None, change: EndpointChange, now: datetime) -> StoredEndpoint:
        resource = live(found)
        if change.version_id is not None and not await tx.resources.version_exists(resource.id, change.version_id):
            raise invalid("version_id", "is not a version of this deployment")
        self._check_listeners(resource, change)
        return StoredEndpoint(
            resource_id=resource.id,
            version_id=change.version_id,
            address=str(ipaddress.ip_address(change.address)),
            generation=change.generation,
            ports=dict(change.ports),
            listening=None
            if change.listening is None
            else tuple(ListeningSocket(port, str(ipaddress.ip_address(address))) for port, address in change.listening),
            state=change.state if change.version_id is None else resource.state,
            updated_at=now,
        )

    def _check(self, change: EndpointChange) -> None:
        fields = Fields()
        words = refusal(change.address, self._networks)
        if words is not None:
            fields.add("address", words)
        fields.text("generation", change.generation, max_length=128, required=True)
        if len(change.ports) > _MAX_MAPPED_PORTS:
            fields.add("ports", f"should have at most {_MAX_MAPPED_PORTS} item(s)")
        for public, real in change.ports.items():
            fields.port("ports", public)
            fields.port("ports", real)
        if change.listening is not None and len(change.listening) > _MAX_LISTENING:
            fields.add("listening", f"should have at most {_MAX_LISTENING} item(s)")
        for port, address in change.listening or ():
            fields.port("listening", port)
            if not _is_address(address):
                fields.add("listening", "must have IP addresses, as 0.0.0.0 or ::1")
        if change.state is State.DESTROYED:
            fields.add("state", "must not be destroyed; delete the resource instead")
        fields.check()

    def _check_listeners(self, resource: Resource, change: EndpointChange) -> None:
        """No port that could be dialled now may be one of ours; the proxy asks again for each that it dials."""
        public = {*resource.exposed_ports, *change.ports}
        if resource.default_port is not None:
            public.add(resource.default_port)
        for port in public:
            if own_listener(change.address, change.ports.get(port, port), self._own_listeners):
                raise RouterError(VALIDATION_FAILED, fields={"address": ["is one of the router's own listeners"]})


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone is the sandbox's own affair

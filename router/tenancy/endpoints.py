"""Endpoints: where a resource listens now, as the platform says, and where none may.

`refusal` and `own_listener` are pure; they are asked when an endpoint is registered and again before it is dialled.
Whoever registers an endpoint makes us send requests there, so an address outside the networks that hold sandboxes
would turn the proxy into a way into our own: the cloud's metadata service, this machine, the API without its token.
Some addresses are refused even inside a listed network, because no sandbox can live there.
"""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from router.clock import Clock
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.records import State
from router.settings import Network
from router.tenancy import lifecycle
from router.tenancy.fields import Fields, invalid
from router.tenancy.resources import Resource, ResourcesTx, StoredEndpoint, live
from router.unit import Unit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds answer machines with their credentials. The first lies in link-local; the others are ordinary addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, GCP, Azure and most others
        "169.254.170.2",  # AWS ECS task credentials
        "fd00:ec2::254",  # AWS over IPv6; inside the unique local block that private networks use
        "fd20:ce::254",  # GCP over IPv6; likewise
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host agent
    )
)
_LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_MAX_BATCH = 1000
_PER_TRANSACTION = 250
_MAX_MAPPED_PORTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """The platform's news of one endpoint. `ports` maps public to real ports; absent ones are the same number.

    With `version_id` it is where that version of a deployment listens; `state` is then left aside, because the
    deployment's state is not one version's.
    """

    resource_id: str
    address: str
    generation: str
    state: State = State.RUNNING
    ports: Mapping[int, int] = field(default_factory=dict)
    version_id: str | None = None


class Endpoints:
    """What can be done with endpoints. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Unit[ResourcesTx],
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

        Raises RouterError: NOT_FOUND, VALIDATION_FAILED (`address`, `generation`, `ports`, `state`, `version_id`).
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

    async def _apply(
        self, tx: ResourcesTx, changes: Sequence[EndpointChange]
    ) -> Sequence[StoredEndpoint | RouterError]:
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

    async def _endpoint(
        self, tx: ResourcesTx, found: Resource | None, change: EndpointChange, now: datetime
    ) -> StoredEndpoint:
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
            state=change.state if change.version_id is None else resource.state,
            updated_at=now,
        )

    def _check(self, change: EndpointChange) -> None:
        fields = Fields()
        words = refusal(change.address, self._networks)
        if words is not None:
            fields.add("address", words)
        fields.text("generation", change.generation, most=128, required=True)
        if len(change.ports) > _MAX_MAPPED_PORTS:
            fields.add("ports", f"should have at most {_MAX_MAPPED_PORTS} item(s)")
        for public, real in change.ports.items():
            fields.port("ports", public)
            fields.port("ports", real)
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


def refusal(address: str, networks: Sequence[Network]) -> str | None:
    """Why nothing may be dialled at `address`, as words for a form field; None where it may.

    Loopback counts as a backend network only where one is listed that lies in loopback itself: `0.0.0.0/0` does not
    open this machine. An IPv4 address inside an IPv6 one is judged as what it is dialled as.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return "must not name an interface"
        # Mapped and translated forms reach the IPv4 address that they carry.
        inner = (
            parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None) or _nat64(parsed)
        )
        if inner is not None:
            return refusal(str(inner), networks) or (None if parsed.ipv4_mapped else "is a translated IPv4 address")
    if parsed in _METADATA:
        return "is a metadata service"
    if parsed.is_link_local:
        return "is a link-local address"
    if parsed.is_unspecified:
        return "is the unspecified address"
    if parsed.is_multicast or parsed == _BROADCAST:
        return "is not the address of one machine"
    if parsed.is_loopback:
        listed = any(parsed in network and _inside_loopback(network) for network in networks)
        return None if listed else "is a loopback address"
    if not any(parsed in network for network in networks):
        return "is outside the backend networks"
    return None


def own_listener(address: str, port: int, listeners: Collection[tuple[str, int]]) -> bool:
    """Whether (address, port) is where we listen ourselves: a request sent there would come back to us for ever.

    `listeners` holds what our sockets are bound to. A socket bound to the unspecified address listens on every address
    of this machine; which those are is not known here, so it stands for every loopback address (the composition root
    lists the others).
    """
    parsed = _plain(address)
    for bound, bound_port in listeners:
        if bound_port != port:
            continue
        listener = _plain(bound)
        if parsed == listener or (listener.is_unspecified and parsed.is_loopback):
            return True
    return False


def _plain(address: str) -> Address:
    parsed = ipaddress.ip_address(address)
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # RFC 6052 §2.1: the well-known prefix carries the IPv4 address in its last 32 bits.
    if address in ipaddress.IPv6Network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _inside_loopback(network: Network) -> bool:
    return any(network.version == loop.version and network.subnet_of(loop) for loop in _LOOPBACK)  # type: ignore[arg-type]

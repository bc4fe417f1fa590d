"""/internal/v1/endpoints: where each resource listens now."""

from typing import Annotated

from pydantic import Field

from router.api.models import Body, Choice, Id, Instant, Out, Port, PortMap, Query
from router.api.operations import Auth, Call, Data, Handlers, operation
from router.errors import RouterError
from router.routes.records import ListeningSocket, State
from router.tenancy.endpoints import EndpointChange, Endpoints
from router.tenancy.resources import StoredEndpoint

_ADDRESS = "An IP address inside the backend networks."


class Listening(Body):
    """One socket that a program listens on inside the resource."""

    port: Port
    address: Annotated[
        str, Field(max_length=45, description="The IP address that it is bound to, `0.0.0.0` and `::` too.")
    ]


class PutEndpoint(Body):
    """`ports` maps public to real ports where they differ. With `version_id` it is that deployment version's."""

    address: Annotated[
        str,
        Field(
            max_length=64, description=_ADDRESS, json_schema_extra={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
        ),
    ]
    generation: Annotated[str, Field(min_length=1, max_length=128, description="Another one after each boot.")]
    state: Choice[State] = State.RUNNING
    ports: PortMap = Field(default_factory=dict)
    listening: Annotated[
        list[Listening] | None,
        Field(
            description="What programs listen on inside, for the page of a closed port: every visitor of the preview may "
            "read it there. Absent: not known. The real ports, those of `ports` too."
        ),
    ] = None
    version_id: Id | None = None

    def change(self, resource_id: str) -> EndpointChange:
        """It as `Endpoints` takes it."""
        return EndpointChange(
            resource_id=resource_id,
            address=self.address,
            generation=self.generation,
            state=self.state,
            ports={int(public): real for public, real in self.ports.items()},
            listening=None
            if self.listening is None
            else tuple(ListeningSocket(one.port, one.address) for one in self.listening),
            version_id=self.version_id,
        )


class BatchItem(PutEndpoint):
    """An address that is none is this item's error, and not the whole request's."""

    resource_id: Id
    address: Annotated[str, Field(max_length=64, description=_ADDRESS)]


class Batch(Body):
    endpoints: Annotated[list[BatchItem], Field(max_length=1000)]


class WhichVersion(Query):
    version_id: Id | None = None


class ListeningOut(Out):
    port: int
    address: str


class EndpointOut(Out):
    resource_id: str
    version_id: str | None
    address: str
    generation: str
    state: State
    ports: dict[int, int]
    listening: list[ListeningOut] | None
    updated_at: Instant


class ItemError(Out):
    code: str
    message: str
    fields: dict[str, list[str]]


class ItemOut(Out):
    """What became of one item of a batch: stored, or `error` says why not."""

    resource_id: str
    stored: bool
    error: ItemError | None


class Removed(Out):
    resource_id: str
    deleted: bool


class InternalEndpoints(Handlers):
    tag = "Internal endpoints"
    prefix = "/internal/v1/endpoints"
    auth = Auth.INTERNAL

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    @operation("POST", "/batch", "Say where many resources listen")
    async def batch(self, call: Call[Batch]) -> Data[list[ItemOut]]:
        """The right ones are stored together; each wrong one is answered with its error, in the order sent."""
        items = call.body.endpoints
        results = await self._endpoints.put_many([item.change(item.resource_id) for item in items])
        return Data([_outcome(item, result) for item, result in zip(items, results, strict=True)])

    @operation("PUT", "/{resource_id}", "Say where a resource listens, and in which state it is")
    async def put(self, call: Call[PutEndpoint]) -> Data[EndpointOut]:
        """The proxy sees it when this answers. A new `generation` closes the connections to the old one.

        A deployment answers where its live version has an endpoint (`version_id`), else where the sandbox listens that
        the version was published from, else at its own.
        """
        stored = await self._endpoints.put(call.body.change(call.ids["resource_id"]))
        return Data(EndpointOut.model_validate(stored))

    @operation("GET", "/{resource_id}", "Get where a resource listens")
    async def get(self, call: Call[None, WhichVersion]) -> Data[EndpointOut]:
        """With `version_id` that of the deployment's version."""
        stored = await self._endpoints.get(call.ids["resource_id"], call.query.version_id)
        return Data(EndpointOut.model_validate(stored))

    @operation("DELETE", "/{resource_id}", "Forget where a resource listens")
    async def delete(self, call: Call[None, WhichVersion]) -> Data[Removed]:
        """Its state stays. With `version_id` only that deployment version's endpoint goes."""
        resource_id = call.ids["resource_id"]
        await self._endpoints.delete(resource_id, call.query.version_id)
        return Data(Removed(resource_id=resource_id, deleted=True))


def _outcome(item: BatchItem, result: StoredEndpoint | RouterError) -> ItemOut:
    if isinstance(result, RouterError):
        error = ItemError(code=result.problem.code, message=result.message, fields=result.fields)
        return ItemOut(resource_id=item.resource_id, stored=False, error=error)
    return ItemOut(resource_id=item.resource_id, stored=True, error=None)

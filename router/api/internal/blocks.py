"""/internal/v1/blocks: which hosts, resources and tenants the operator has taken off the air, and why."""

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from router.api.models import NOT_BLANK, Body, Choice, Flag, Instant, Out, Paging, Query, moment
from router.api.operations import Auth, Call, Data, Handlers, Paged, operation
from router.tenancy.blocks import (
    MAX_ACTOR,
    MAX_PUBLIC_REASON,
    MAX_REASON,
    PLATFORM,
    BlockFilter,
    BlockKind,
    Blocks,
    Order,
)

Subject = Annotated[str, Field(min_length=1, max_length=253, json_schema_extra=NOT_BLANK)]
Actor = Annotated[str, Field(min_length=1, max_length=MAX_ACTOR, json_schema_extra=NOT_BLANK)]


Until = Annotated[
    datetime,
    BeforeValidator(moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class PutBlock(Body):
    """`subject` is a host name, or the id or slug of a resource or tenant. `reason` is for operators, the owner reads
    `public_reason`. With `expires_at` the block ends by itself."""

    kind: Choice[BlockKind]
    subject: Subject
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON, json_schema_extra=NOT_BLANK)]
    public_reason: Annotated[str, Field(max_length=MAX_PUBLIC_REASON)] | None = None
    actor: Annotated[Actor, Field(description="Who decided it.")] = PLATFORM
    expires_at: Until | None = None


class BlocksQuery(Paging):
    kind: BlockKind | None = None
    subject: str | None = None
    lifted: Annotated[Flag, Field(description="Those that were lifted too.")] = False


class LiftQuery(Query):
    actor: Annotated[Actor, Field(description="Who decided it.")] = PLATFORM


class BlockOut(Out):
    """`cause_id` is the block that this one follows from, and ends with. In force until `lifted_at`."""

    id: str
    kind: BlockKind
    subject: str
    reason: str
    public_reason: str | None
    actor: str
    tenant_id: str | None
    cause_id: str | None
    created_at: Instant
    expires_at: Instant | None
    lifted_at: Instant | None
    lifted_by: str | None


class InternalBlocks(Handlers):
    tag = "Internal blocks"
    prefix = "/internal/v1/blocks"
    auth = Auth.INTERNAL

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    @operation("POST", "", "Block a host, a resource or a tenant", status=201, also=(200,))
    async def block(self, call: Call[PutBlock]) -> Data[BlockOut]:
        """It answers 451 from now on, gets no certificate, and what is open to it is cut. 200 where it was blocked: then
        the reasons and the expiry are these from now on."""
        body = call.body
        order = Order(
            reason=body.reason, public_reason=body.public_reason, actor=body.actor, expires_at=body.expires_at
        )
        block, new = await self._blocks.block(body.kind, body.subject, order)
        return Data(BlockOut.model_validate(block), 201 if new else 200)

    @operation("GET", "", "List blocks")
    async def list(self, call: Call[None, BlocksQuery]) -> Paged[BlockOut]:
        """The newest first; each condition narrows."""
        query = call.query
        where = BlockFilter(kind=query.kind, subject=query.subject, lifted=query.lifted)
        found = await self._blocks.list(where, query.window)
        return Paged([BlockOut.model_validate(block) for block in found.items], found.total)

    @operation("GET", "/{id}", "Get a block")
    async def get(self, call: Call) -> Data[BlockOut]:
        return Data(BlockOut.model_validate(await self._blocks.get(call.ids["id"])))

    @operation("DELETE", "/{id}", "Lift a block")
    async def lift(self, call: Call[None, LiftQuery]) -> Data[BlockOut]:
        """And those that follow from it. The block stays to be read, with who lifted it."""
        return Data(BlockOut.model_validate(await self._blocks.lift(call.ids["id"], actor=call.query.actor)))

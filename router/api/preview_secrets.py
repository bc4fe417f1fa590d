"""What opens previews that are not public: share links, and named tokens for programs. Each is shown once, and kept as a
hash."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from router.api.computer_ports import PortOut, ports_shown
from router.api.links import Links
from router.api.machines import authorized_machine
from router.api.models import Body, Instant, Moment, Name, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.previews import LongTtl, PreviewOut, PreviewPresenter, port_of
from router.domains.urls import Link
from router.errors import CONFLICT
from router.routes.policies import SecretKind
from router.routes.records import Kind
from router.tenancy.preview_secrets import LINKS, MAX_TTL, MIN_TTL, TOKENS, PreviewSecret, PreviewSecrets
from router.tenancy.previews import Preview, Previews
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource

_TTL = 3600  # seconds that a link works where nothing is said
_PARAMETER = "miosa_token"  # what data planes look for in a link

Ttl = Annotated[int, Field(ge=MIN_TTL, le=MAX_TTL, description="For how many seconds it works: up to 30 days.")]
Once = Annotated[bool, Field(description="Whether it lets one visitor in, and nobody after that.")]
ShareScope = Annotated[Literal["read"], Field(description="It opens the preview, and nothing else.")]


class SharePreview(Body):
    ttl_seconds: Ttl = _TTL
    once: Once = False


class CreateShare(Body):
    expires_in: Ttl = _TTL
    scope: ShareScope = "read"
    once: Once = False


class CreatePreviewToken(Body):
    expires_in: Ttl = _TTL
    scope: ShareScope = "read"


class CreateToken(Body):
    """It works until `expires_at`, or for `ttl_seconds`; for ever where neither is given."""

    name: Name
    ttl_seconds: LongTtl | None = None
    expires_at: Moment | None = None


class ShareOut(Out):
    """A link that opens every port of a sandbox. `share_token_prefix` is how its token begins."""

    share_id: str
    share_url: Annotated[
        str | None,
        Field(description="Where people go, this once; null in lists and where the answer is a replayed one."),
    ]
    share_token_prefix: str
    scope: ShareScope
    once: bool
    created_at: Instant
    expires_at: Instant | None
    last_used_at: Instant | None
    revoked_at: Instant | None


class PreviewTokenOut(Out):
    """Programs send `token` as `X-Miosa-Preview-Token`, people follow `url`; both null where the answer is a replayed one."""

    token: str | None
    url: str | None
    scope: ShareScope
    expires_at: Instant | None


class TokenOut(Out):
    """A named token. `prefix` is how it begins, for people who look for it."""

    id: str
    name: str
    prefix: str
    created_at: Instant
    expires_at: Instant | None
    last_used_at: Instant | None
    revoked_at: Instant | None


class NewTokenOut(TokenOut):
    token: Annotated[
        str | None, Field(description="The token itself, this once; null where the answer is a replayed one.")
    ]


class SharedPreviewOut(Out):
    """A share link of a preview: its token and its URL, this once; null where the answer is a replayed one."""

    preview: PreviewOut
    preview_token: str | None
    share_url: str | None


class SharedPortOut(Out):
    """A share link of a port: its token and its URL, this once; null where the answer is a replayed one."""

    preview: PortOut
    preview_token: str | None
    share_url: str | None


class SandboxSecrets(Handlers):
    tag = "Sandbox previews"
    prefix = "/api/v1/sandboxes/{id}"

    def __init__(
        self,
        *,
        resources: Resources,
        previews: Previews,
        secrets: PreviewSecrets,
        links: Links,
        presenter: PreviewPresenter,
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._secrets = secrets
        self._links = links
        self._presenter = presenter

    @operation(
        "POST",
        "/previews/{preview_id}/share",
        "Make a share link of a preview",
        status=201,
        problems=(CONFLICT,),
    )
    async def share(self, call: Call[SharePreview]) -> Data[SharedPreviewOut]:
        """Whoever follows it gets in while it works, and so does a program that sends its token. Links that were made
        before go on working. One of a preview that is visible to `key` opens nothing: that is for programs.
        """
        sandbox, preview = await self._found(call)
        plain = await _new_link(self._secrets, preview, ttl=call.body.ttl_seconds, once=call.body.once)
        (shown,) = await self._presenter.of_sandbox(sandbox, preview)
        (link,) = await self._links.of_ports(sandbox, [preview.port])
        return Data(
            SharedPreviewOut(preview=shown, preview_token=plain, share_url=_leading(link, plain)),
            kept=SharedPreviewOut(preview=shown, preview_token=None, share_url=None),
        )

    @operation("DELETE", "/previews/{preview_id}/share", "End the share links of a preview")
    async def unshare(self, call: Call) -> Data[PreviewOut]:
        """All of them, and who came in by one is out when this answers. Named tokens stay, and links of the whole sandbox."""
        sandbox, preview = await self._found(call)
        await self._secrets.void(sandbox.id, preview.id)
        changed = await self._previews.get(sandbox.id, preview.id)
        return Data((await self._presenter.of_sandbox(sandbox, changed))[0])

    @operation("GET", "/previews/{preview_id}/tokens", "List the named tokens of a preview")
    async def tokens(self, call: Call[None, Paging]) -> Paged[TokenOut]:
        """The oldest first; those that ended lately too, never the tokens themselves."""
        _, preview = await self._found(call)
        return await _tokens(self._secrets, preview, call)

    @operation(
        "POST",
        "/previews/{preview_id}/tokens",
        "Make a named token of a preview",
        status=201,
        problems=(CONFLICT,),
    )
    async def create_token(self, call: Call[CreateToken]) -> Data[NewTokenOut]:
        """Programs send it as `X-Miosa-Preview-Token`, in a header or in the query. The answer is the only time that it is shown."""
        _, preview = await self._found(call)
        return await _new_token(self._secrets, preview, call.body)

    @operation("DELETE", "/previews/{preview_id}/tokens/{token_id}", "Revoke a named token of a preview")
    async def revoke_token(self, call: Call) -> Data[TokenOut]:
        """From now on it opens nothing, and what was opened by it is cut. Revoking it again changes nothing."""
        _, preview = await self._found(call)
        return await _revoked_token(self._secrets, preview, call)

    @operation("GET", "/shares", "List the share links of a sandbox")
    async def shares(self, call: Call[None, Paging]) -> Paged[ShareOut]:
        """Those that open all of its ports and still work; the oldest first."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        found = await self._secrets.list(sandbox.id, None, LINKS, call.query.window, only_opening=True)
        return Paged([_share(secret) for secret in found.items], found.total)

    @operation("POST", "/shares", "Make a share link of a sandbox", status=201, problems=(CONFLICT,))
    async def create_share(self, call: Call[CreateShare]) -> Data[ShareOut]:
        """It opens every port of the sandbox; its URL leads to the default one. The answer is the only time that it is shown."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        secret, plain = await self._secrets.create(
            sandbox.id, None, SecretKind.ONCE if call.body.once else SecretKind.LINK, ttl=call.body.expires_in
        )
        (link,) = await self._links.of([sandbox])
        return Data(_share(secret, _leading(link, plain)), kept=_share(secret))

    @operation("DELETE", "/shares/{share_id}", "Revoke a share link of a sandbox")
    async def revoke_share(self, call: Call) -> Data[ShareOut]:
        """From now on it opens nothing, and who came in by it is out. Revoking it again changes nothing."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return Data(_share(await self._secrets.revoke(sandbox.id, None, call.ids["share_id"], LINKS)))

    @operation(
        "POST",
        "/preview-token",
        "Make a token that opens every port of a sandbox",
        status=201,
        problems=(CONFLICT,),
    )
    async def preview_token(self, call: Call[CreatePreviewToken]) -> Data[PreviewTokenOut]:
        """Both for programs and for people; it is a share link of the sandbox, and ends as one. The answer is the only time that
        it is shown."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        secret, plain = await self._secrets.create(sandbox.id, None, SecretKind.LINK, ttl=call.body.expires_in)
        (link,) = await self._links.of([sandbox])
        return Data(
            PreviewTokenOut(token=plain, url=_leading(link, plain), scope="read", expires_at=secret.expires_at),
            kept=PreviewTokenOut(token=None, url=None, scope="read", expires_at=secret.expires_at),
        )

    async def _found(self, call: Call[Any, Any]) -> tuple[Resource, Preview]:
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return sandbox, await self._previews.get(sandbox.id, call.ids["preview_id"])


class ComputerSecrets(Handlers):
    tag = "Computer ports"
    prefix = "/api/v1/computers/{id}/ports/{port:text}"

    def __init__(
        self,
        *,
        resources: Resources,
        previews: Previews,
        secrets: PreviewSecrets,
        links: Links,
        presenter: PreviewPresenter,
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._secrets = secrets
        self._links = links
        self._presenter = presenter

    @operation("POST", "/share", "Make a share link of a computer's port", status=201, problems=(CONFLICT,))
    async def share(self, call: Call[SharePreview]) -> Data[SharedPortOut]:
        """Whoever follows it gets in while it works, and so does a program that sends its token. Links that were made
        before go on working. One of a port that is visible to `key` opens nothing: that is for programs.
        """
        computer, preview = await self._found(call)
        plain = await _new_link(self._secrets, preview, ttl=call.body.ttl_seconds, once=call.body.once)
        (shown,) = await ports_shown(self._presenter, computer, preview)
        (link,) = await self._links.of_ports(computer, [preview.port])
        return Data(
            SharedPortOut(preview=shown, preview_token=plain, share_url=_leading(link, plain)),
            kept=SharedPortOut(preview=shown, preview_token=None, share_url=None),
        )

    @operation("DELETE", "/share", "End the share links of a computer's port")
    async def unshare(self, call: Call) -> Data[PortOut]:
        """All of them, and who came in by one is out when this answers. Named tokens stay."""
        computer, preview = await self._found(call)
        await self._secrets.void(computer.id, preview.id)
        changed = await self._previews.get(computer.id, preview.id)
        return Data((await ports_shown(self._presenter, computer, changed))[0])

    @operation("GET", "/tokens", "List the named tokens of a computer's port")
    async def tokens(self, call: Call[None, Paging]) -> Paged[TokenOut]:
        """The oldest first; those that ended lately too, never the tokens themselves."""
        _, preview = await self._found(call)
        return await _tokens(self._secrets, preview, call)

    @operation("POST", "/tokens", "Make a named token of a computer's port", status=201, problems=(CONFLICT,))
    async def create_token(self, call: Call[CreateToken]) -> Data[NewTokenOut]:
        """Programs send it as `X-Miosa-Preview-Token`, in a header or in the query. The answer is the only time that it is shown."""
        _, preview = await self._found(call)
        return await _new_token(self._secrets, preview, call.body)

    @operation("DELETE", "/tokens/{token_id}", "Revoke a named token of a computer's port")
    async def revoke_token(self, call: Call) -> Data[TokenOut]:
        """From now on it opens nothing, and what was opened by it is cut. Revoking it again changes nothing."""
        _, preview = await self._found(call)
        return await _revoked_token(self._secrets, preview, call)

    async def _found(self, call: Call[Any, Any]) -> tuple[Resource, Preview]:
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return computer, await self._previews.of_port(computer.id, port_of(call))


async def _new_link(secrets: PreviewSecrets, preview: Preview, *, ttl: int, once: bool) -> str:
    kind = SecretKind.ONCE if once else SecretKind.LINK
    _, plain = await secrets.create(preview.resource_id, preview.id, kind, ttl=ttl)
    return plain


async def _new_token(secrets: PreviewSecrets, preview: Preview, body: CreateToken) -> Data[NewTokenOut]:
    secret, plain = await secrets.create(
        preview.resource_id,
        preview.id,
        SecretKind.PROGRAM,
        name=body.name,
        ttl=body.ttl_seconds,
        expires_at=body.expires_at,
    )
    fields = _token(secret).model_dump()
    return Data(NewTokenOut(**fields, token=plain), kept=NewTokenOut(**fields, token=None))


async def _tokens(secrets: PreviewSecrets, preview: Preview, call: Call[None, Paging]) -> Paged[TokenOut]:
    found = await secrets.list(preview.resource_id, preview.id, TOKENS, call.query.window)
    return Paged([_token(secret) for secret in found.items], found.total)


async def _revoked_token(secrets: PreviewSecrets, preview: Preview, call: Call) -> Data[TokenOut]:
    return Data(_token(await secrets.revoke(preview.resource_id, preview.id, call.ids["token_id"], TOKENS)))


def _token(secret: PreviewSecret) -> TokenOut:
    return TokenOut(
        id=secret.id,
        name=secret.name or "",
        prefix=secret.prefix,
        created_at=secret.created_at,
        expires_at=secret.expires_at,
        last_used_at=secret.last_used_at,
        revoked_at=secret.revoked_at,
    )


def _share(secret: PreviewSecret, url: str | None = None) -> ShareOut:
    return ShareOut(
        share_id=secret.id,
        share_url=url,
        share_token_prefix=secret.prefix,
        scope="read",
        once=secret.kind is SecretKind.ONCE,
        created_at=secret.created_at,
        expires_at=secret.expires_at,
        last_used_at=secret.last_used_at,
        revoked_at=secret.revoked_at,
    )


def _leading(link: Link, plain: str) -> str:
    """The URL that answers now, with the secret in it."""
    url = link.url if link.stable_for_embedding else link.fallback_url
    return f"{url.rstrip('/')}/?{urlencode({_PARAMETER: plain})}"

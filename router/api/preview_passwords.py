"""Passwords of previews: what people type who have no link. Only who sets one knows it; we keep a hash."""

from typing import Annotated, Any

from pydantic import Field, SecretStr

from router.api.computer_ports import PortOut, ports_shown
from router.api.machines import authorized_machine
from router.api.models import Exact, Instant, Moment, Out
from router.api.operations import Call, Data, Handlers, operation
from router.api.previews import PreviewOut, PreviewPresenter, password_fields, port_of
from router.errors import CONFLICT
from router.routes.records import Kind
from router.tenancy.password_hashes import MAX_LENGTH, MIN_LENGTH
from router.tenancy.passwords import Passwords
from router.tenancy.previews import Preview, Previews
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource


class PutPassword(Exact):
    """It takes the place of the password that is there, and who came in by that is out."""

    password: Annotated[
        SecretStr,
        Field(description=f"{MIN_LENGTH} to {MAX_LENGTH} characters. No answer ever shows it again."),
        Field(json_schema_extra={"minLength": MIN_LENGTH, "maxLength": MAX_LENGTH, "format": "password"}),
    ]
    expires_at: Annotated[Moment | None, Field(description="From then on it opens nothing; null is never.")] = None


class PasswordOut(Out):
    """What is known of a password."""

    has_password: bool
    password_set_at: Instant | None
    password_expires_at: Instant | None
    password_last_used_at: Annotated[
        Instant | None, Field(description="When it, or a cookie that somebody got for it, last let somebody in.")
    ]


class SandboxPasswords(Handlers):
    tag = "Sandbox previews"
    prefix = "/api/v1/sandboxes/{id}"

    def __init__(
        self, *, resources: Resources, previews: Previews, passwords: Passwords, presenter: PreviewPresenter
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._passwords = passwords
        self._presenter = presenter

    @operation("PUT", "/previews/{preview_id}/password", "Set the password of a preview", problems=(CONFLICT,))
    async def set_password(self, call: Call[PutPassword]) -> Data[PreviewOut]:
        """People are asked for it on a page, and come back without it for up to 30 days. It goes before a password of the whole
        sandbox. 409 where it could let nobody in: the preview is public, hidden, or visible to `key`.
        """
        sandbox, preview = await self._found(call)
        await _put(self._passwords, sandbox, preview, call.body)
        return Data((await self._presenter.of_sandbox(sandbox, preview))[0])

    @operation("DELETE", "/previews/{preview_id}/password", "Remove the password of a preview")
    async def remove_password(self, call: Call) -> Data[PreviewOut]:
        """Who came in by it is out. Removing it again changes nothing."""
        sandbox, preview = await self._found(call)
        await self._passwords.remove(sandbox.id, preview.id)
        return Data((await self._presenter.of_sandbox(sandbox, preview))[0])

    @operation("GET", "/password", "Get what is known of the password of a sandbox")
    async def sandbox_password(self, call: Call) -> Data[PasswordOut]:
        """When it was set and last used; never the password."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return Data(await _of_all(self._passwords, sandbox))

    @operation("PUT", "/password", "Set the password of a sandbox", problems=(CONFLICT,))
    async def set_sandbox_password(self, call: Call[PutPassword]) -> Data[PasswordOut]:
        """It opens every port that has none of its own and takes one. 409 where the sandbox is public, or visible to `key`."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        await _put(self._passwords, sandbox, None, call.body)
        return Data(await _of_all(self._passwords, sandbox))

    @operation("DELETE", "/password", "Remove the password of a sandbox")
    async def remove_sandbox_password(self, call: Call) -> Data[PasswordOut]:
        """Who came in by it is out. Passwords of its previews stay. Removing it again changes nothing."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        await self._passwords.remove(sandbox.id, None)
        return Data(await _of_all(self._passwords, sandbox))

    async def _found(self, call: Call[Any, Any]) -> tuple[Resource, Preview]:
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return sandbox, await self._previews.get(sandbox.id, call.ids["preview_id"])


class ComputerPasswords(Handlers):
    tag = "Computer ports"
    prefix = "/api/v1/computers/{id}"

    def __init__(
        self, *, resources: Resources, previews: Previews, passwords: Passwords, presenter: PreviewPresenter
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._passwords = passwords
        self._presenter = presenter

    @operation("PUT", "/ports/{port:text}/password", "Set the password of a computer's port", problems=(CONFLICT,))
    async def set_password(self, call: Call[PutPassword]) -> Data[PortOut]:
        """People are asked for it on a page, and come back without it for up to 30 days. It goes before a password of the whole
        computer. 409 where it could let nobody in: the port is public, hidden, or visible to `key`.
        """
        computer, preview = await self._found(call)
        await _put(self._passwords, computer, preview, call.body)
        return Data((await ports_shown(self._presenter, computer, preview))[0])

    @operation("DELETE", "/ports/{port:text}/password", "Remove the password of a computer's port")
    async def remove_password(self, call: Call) -> Data[PortOut]:
        """Who came in by it is out. Removing it again changes nothing."""
        computer, preview = await self._found(call)
        await self._passwords.remove(computer.id, preview.id)
        return Data((await ports_shown(self._presenter, computer, preview))[0])

    @operation("GET", "/password", "Get what is known of the password of a computer")
    async def computer_password(self, call: Call) -> Data[PasswordOut]:
        """When it was set and last used; never the password."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return Data(await _of_all(self._passwords, computer))

    @operation("PUT", "/password", "Set the password of a computer", problems=(CONFLICT,))
    async def set_computer_password(self, call: Call[PutPassword]) -> Data[PasswordOut]:
        """It opens every port that has none of its own and takes one. 409 where the computer is public, or visible to `key`."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        await _put(self._passwords, computer, None, call.body)
        return Data(await _of_all(self._passwords, computer))

    @operation("DELETE", "/password", "Remove the password of a computer")
    async def remove_computer_password(self, call: Call) -> Data[PasswordOut]:
        """Who came in by it is out. Passwords of its ports stay. Removing it again changes nothing."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        await self._passwords.remove(computer.id, None)
        return Data(await _of_all(self._passwords, computer))

    async def _found(self, call: Call[Any, Any]) -> tuple[Resource, Preview]:
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return computer, await self._previews.of_port(computer.id, port_of(call))


async def _put(passwords: Passwords, resource: Resource, preview: Preview | None, body: PutPassword) -> None:
    preview_id = None if preview is None else preview.id
    await passwords.put(resource.id, preview_id, body.password.get_secret_value(), expires_at=body.expires_at)


async def _of_all(passwords: Passwords, resource: Resource) -> PasswordOut:
    """What is known of the password of the resource as a whole."""
    return PasswordOut(**password_fields((await passwords.of_resource(resource.id)).get(None)))

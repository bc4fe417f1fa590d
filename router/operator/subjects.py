"""What an operator names: a host, a resource or a tenant, by the words at a command line."""

from collections.abc import Awaitable, Callable

from router.base.ids import is_id
from router.errors import NOT_FOUND, RouterError, StoreUnavailableError
from router.hostname import InvalidNameError, canonical_name
from router.operator.server import OperatorError

FindTenant = Callable[[str], Awaitable[str]]
"""The id of the tenant with that id or slug. Raises RouterError NOT_FOUND, StoreUnavailableError."""


class Subjects:
    """Finds out what is meant. Slugs of resources are not looked up: a process knows those that have traffic."""

    def __init__(self, find_tenant: FindTenant) -> None:
        self._find_tenant = find_tenant

    async def resolve(self, of: str | None) -> dict[str, str]:
        """`{"host": name}`, `{"tenant": id}` or `{"resource": slug}`; an id may be either's: `{"resource": id, "tenant": id}`. Raises
        OperatorError."""
        if not of:
            message = "Say of what: give a host, or the id or slug of a resource or tenant, as `of`."
            raise OperatorError(400, "missing_subject", message)
        if "." in of:
            try:
                return {"host": canonical_name(of.removesuffix("."))}
            except InvalidNameError as error:
                raise OperatorError(422, "invalid_host", f"{of[:80]!r} is no host: {error}") from None
        if is_id(of):
            return {"resource": of, "tenant": of}
        try:
            return {"tenant": await self._find_tenant(of)}
        except RouterError as error:
            if error.problem is not NOT_FOUND:
                raise
            return {"resource": of}
        except StoreUnavailableError:
            message = "The store is away, so slugs of tenants are not known: give a host or an id."
            raise OperatorError(503, "store_unavailable", message) from None

"""One request to the API on its way through."""

from dataclasses import dataclass, field

from aiohttp.web import BaseRequest

from router.api.principal import ANYBODY, Principal
from router.audit.act import Act


@dataclass(slots=True)
class RequestState:
    """One request, who makes it, and what every response to it carries."""

    request: BaseRequest
    request_id: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    principal: Principal = ANYBODY
    act: Act | None = None

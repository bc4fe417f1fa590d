"""`jwt.*`, `rates.*`, `webhooks.*`, `credits.*`: the API."""

from pathlib import Path
from typing import Annotated

from router.settings.model import Field, SecretStr
from router.settings.types import Cost, Count, Group, Networks


class Jwt(Group):
    """JSON Web Tokens that the API accepts beside keys, and previews that are not public. None are, unless a secret or a key
    file is set."""

    secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="Shared secret for HS256, at least 32 bytes."
    )
    jwks_file: Path | None = Field(None, description="JWKS file with public keys for RS256 or ES256.")
    issuer: str | None = Field(None, description="Required `iss` claim.")
    audience: str | None = Field(None, description="Required `aud` claim.")


class Rates(Group):
    """How often the API may be asked, per minute."""

    workspace: Count = Field(300, description="Requests per workspace; per tenant for keys that have no workspace.")
    auth: Count = Field(20, description="Requests to endpoints that hand out or check credentials, per key or address.")
    metrics: Count = Field(60, description="Requests for `/api/v1/metrics`, per workspace or tenant as above.")
    anonymous: Count = Field(60, description="Requests without valid credentials, per client address.")


class Webhooks(Group):
    """Where customers may have events sent."""

    private_networks: Networks = Field(
        (),
        description="Networks beyond the Internet that webhooks may be sent to, over http as well. Never backend_networks.",
    )


class Credits(Group):
    """What one hour of a running computer or sandbox costs, in credits, by its size."""

    xs: Cost = Field(15.0, description="An extra small one.")
    small: Cost = Field(30.0, description="A small one.")
    medium: Cost = Field(60.0, description="A medium one.")
    large: Cost = Field(120.0, description="A large one.")
    xl: Cost = Field(240.0, description="An extra large one.")
    unsized: Cost = Field(30.0, description="One whose size the platform has not said.")

"""`console.*`: the web application for tenants' developers."""

from typing import Annotated

from router.settings.model import Field
from router.settings.types import Group, HttpsOrigin


class Console(Group):
    """The console at `/console/` of the API listener (docs/console.md)."""

    enabled: bool = Field(True, description="Whether it is served.")
    idle_timeout: Annotated[float, Field(ge=60, le=86400)] = Field(
        1800.0, description="After how long without a key press or click it forgets the key and asks again."
    )
    url: HttpsOrigin | None = Field(
        None,
        description="The origin at which browsers reach the console, as `https://api.example.com`. With it people can sign in to the console"
        " by their tenant's login, where the tenant allows it (docs/logins.md). None: by API key alone.",
    )

    @property
    def sign_in(self) -> str | None:
        """The origin of the console where people may sign in to it; None where they can't."""
        return self.url if self.enabled else None

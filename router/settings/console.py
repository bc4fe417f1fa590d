"""`console.*`: the web application for tenants' developers."""

from typing import Annotated

from pydantic import Field

from router.settings.types import Group


class Console(Group):
    """The console at `/console/` of the API listener (docs/console.md)."""

    enabled: bool = Field(True, description="Whether it is served.")
    idle_timeout: Annotated[float, Field(ge=60, le=86400)] = Field(
        1800.0, description="After how long without a key press or click it forgets the key and asks again."
    )

"""`wake.*`: how the platform is asked to wake a resource that sleeps, and how long visitors wait for it."""

from typing import Annotated

from router.settings.model import AfterValidator, Field, SecretStr, ValidationInfo
from router.settings.types import Count, Group, HttpUrl, Seconds


def _with_url(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if value is None and info.data.get("url") is not None:
        raise ValueError("must be set where wake.url is: the platform tells our calls by their signature")
    return value


def _not_above_budget(value: float, info: ValidationInfo) -> float:
    if value > info.data.get("budget", value):
        raise ValueError("must not be more than wake.budget")
    return value


class Wake(Group):
    """Waking a paused or stopped resource because somebody wants to visit it. Times in seconds."""

    url: HttpUrl | None = Field(
        None, description="Where the platform is asked to wake a resource (POST). None: nothing is ever woken."
    )
    secret: Annotated[SecretStr | None, AfterValidator(_with_url)] = Field(
        None,
        validate_default=True,
        min_length=16,
        description="What signs these calls, as the secret of a webhook signs its deliveries (`whsec_…`). Needed with `url`.",
    )
    budget: Seconds = Field(
        60.0,
        description="Time for a resource to run from when the platform is first asked; then waking it has failed.",
    )
    hold: Annotated[Seconds, AfterValidator(_not_above_budget)] = Field(
        10.0, description="How long a request that is no visit of a page is held; then it gets 503."
    )
    page_after: Annotated[Seconds, AfterValidator(_not_above_budget)] = Field(
        3.0, description="How long the visit of a page is held; then it gets the waiting page."
    )
    call_time: Seconds = Field(5.0, description="Time for one call to the platform.")
    ask_time: Annotated[Seconds, AfterValidator(_not_above_budget)] = Field(
        20.0,
        description="How long the platform is called again where it does not answer or is in trouble. Where the node that "
        "calls dies, another one takes over after this.",
    )
    remember: Seconds = Field(
        10.0, description="How long a refusal or a failure counts, before the next request asks the platform again."
    )
    per_tenant: Count = Field(10, description="Resources of one tenant that may be on their way at once.")
    per_fleet: Count = Field(100, description="Resources of all tenants that may be on their way at once.")
    queue: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1000,
        description="Resources that may wait for their turn, over the whole fleet; visitors of more hear at once that it is full.",
    )
    failures: Count = Field(
        5, description="Calls in a row without a usable answer after which a node calls no more for a while."
    )
    pause: Seconds = Field(10.0, description="How long it calls no more; then one call tries again.")

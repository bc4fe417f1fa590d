"""The ownership fields, as every create takes them and every list of resources filters by them."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import Conditions, bounds_of, list_conditions
from router.api.models import Body, ExternalId, Id, Name, Paging, Slug
from router.api.principal import Principal
from router.tenancy.ownership import Ownership


class OwnershipBody(Body):
    """A body that creates something in a project. Subclasses add their own fields."""

    workspace_id: Annotated[Id | None, Field(description="An existing workspace.")] = None
    workspace_slug: Annotated[Slug | None, Field(description="A workspace; made where it does not exist.")] = None
    workspace_name: Annotated[Name | None, Field(description="The name of a workspace that is made.")] = None
    project_id: Annotated[Id | None, Field(description="An existing project.")] = None
    project_slug: Annotated[Slug | None, Field(description="A project; made where it does not exist.")] = None
    project_name: Annotated[Name | None, Field(description="The name of a project that is made.")] = None
    external_workspace_id: Annotated[ExternalId | None, Field(description="Your customer, account or workspace.")] = (
        None
    )
    external_user_id: Annotated[ExternalId | None, Field(description="Your end user.")] = None
    external_project_id: Annotated[ExternalId | None, Field(description="Your project, app or document.")] = None

    def ownership(self, principal: Principal) -> Ownership:
        """The selectors, kept within what the caller may change."""
        return Ownership(
            **{name: getattr(self, name) for name in OwnershipBody.model_fields},
            bounds=bounds_of(principal),
        )


class OwnershipConditions(Conditions):
    """Conditions of a list of resources; None is no condition."""

    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None


class OwnershipQuery(Paging):
    """The query of a list of resources. Subclasses add their own conditions."""

    workspace_id: Id | None = None
    project_id: Id | None = None
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None

    def conditions(self, principal: Principal) -> OwnershipConditions:
        """What was asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
        return {
            **list_conditions(principal, self.workspace_id, self.project_id),
            "external_workspace_id": self.external_workspace_id,
            "external_user_id": self.external_user_id,
            "external_project_id": self.external_project_id,
        }

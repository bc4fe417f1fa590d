"""/deployments/{id}/env: the variables that the platform gives to the program, per environment."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, WithJsonSchema

from router.api.deployments import authorized_deployment
from router.api.models import Exact, Instant, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.versions import Environment
from router.tenancy.deployments import Deployments
from router.tenancy.env import MAX_VALUE, MAX_VARS, NAME, Env, EnvVar
from router.tenancy.versions import PRODUCTION

VarName = Annotated[str, Field(pattern=f"^{NAME}$")]
Values = Annotated[
    dict[str, str | None],
    WithJsonSchema(
        {
            "type": "object",
            "description": "Name to value; null forgets a variable, and those that are not named stay.",
            "propertyNames": {"pattern": f"^{NAME}$"},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_VALUE, "pattern": "^[^\\u0000]*$"},
                    {"type": "null"},
                ]
            },
            "maxProperties": MAX_VARS,
        }
    ),
]


class SetEnv(Exact):
    """A value that is marked as secret is never shown again, and stays secret when it is set anew."""

    env: Values
    environment: Environment | None = None
    secret: Annotated[bool | None, Field(description="Whether all of these are secret.")] = None
    secrets: Annotated[list[VarName], Field(max_length=MAX_VARS, description="The names of those that are secret.")] = (
        Field(default_factory=list)
    )


class EnvQuery(Paging):
    environment: Annotated[Environment | None, Field(description="Every environment, where none is given.")] = None


class OneEnvironment(Paging):
    environment: Environment = PRODUCTION


class EnvVarOut(Out):
    """One variable; `value` is null where it is secret. `key` and `name` are the same."""

    id: str
    deployment_id: str
    environment: str
    key: str
    name: str
    value: str | None
    secret: bool
    created_at: Instant
    updated_at: Instant


class EnvApi(Handlers):
    tag = "Deployment variables"
    prefix = "/api/v1/deployments/{id}/env"

    def __init__(self, *, deployments: Deployments, env: Env) -> None:
        self._deployments = deployments
        self._env = env

    @operation("GET", "", "List the variables of a deployment")
    async def list(self, call: Call[None, EnvQuery]) -> Paged[EnvVarOut]:
        """By environment and name."""
        deployment, query = await authorized_deployment(self._deployments, call), call.query
        found = await self._env.list(deployment.id, query.environment)
        page = found[query.window.offset :][: query.window.limit]
        return Paged([shown(variable) for variable in page], len(found))

    @operation("POST", "", "Set variables of a deployment")
    async def set(self, call: Call[SetEnv]) -> Data[Sequence[EnvVarOut]]:
        """All of that environment are answered. A program that runs sees them after its next start."""
        deployment, body = await authorized_deployment(self._deployments, call), call.body
        found = await self._env.set(
            deployment.id,
            body.env,
            environment=body.environment or PRODUCTION,
            secret=body.env if body.secret else body.secrets,
        )
        return Data([shown(variable) for variable in found])

    @operation("DELETE", "/{name:text}", "Forget a variable of a deployment")
    async def delete(self, call: Call[None, OneEnvironment]) -> Data[EnvVarOut]:
        deployment = await authorized_deployment(self._deployments, call)
        return Data(shown(await self._env.delete(deployment.id, call.ids["name"], call.query.environment)))


def shown(variable: EnvVar) -> EnvVarOut:
    """A variable as customers may see it."""
    return EnvVarOut(
        id=variable.id,
        deployment_id=variable.resource_id,
        environment=variable.environment,
        key=variable.name,
        name=variable.name,
        value=None if variable.secret else variable.value,
        secret=variable.secret,
        created_at=variable.created_at,
        updated_at=variable.updated_at,
    )

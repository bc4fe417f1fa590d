"""/internal/v1/deployments/{id}/env: what the platform gives to a deployment's program, secret values included."""

from router.api.models import Out, Query
from router.api.operations import Auth, Call, Data, Handlers, operation
from router.api.versions import Environment
from router.tenancy.env import Env
from router.tenancy.versions import PRODUCTION


class WhichEnvironment(Query):
    environment: Environment = PRODUCTION


class EnvironmentOut(Out):
    """`env` is name to value."""

    deployment_id: str
    environment: str
    env: dict[str, str]


class InternalEnv(Handlers):
    tag = "Internal variables"
    prefix = "/internal/v1/deployments"
    auth = Auth.INTERNAL

    def __init__(self, env: Env) -> None:
        self._env = env

    @operation("GET", "/{id}/env", "Get the variables of a deployment")
    async def get(self, call: Call[None, WhichEnvironment]) -> Data[EnvironmentOut]:
        """Of one environment; nobody else is shown secret values."""
        deployment_id, environment = call.ids["id"], call.query.environment
        found = await self._env.list(deployment_id, environment)
        env = {variable.name: variable.value for variable in found}
        return Data(EnvironmentOut(deployment_id=deployment_id, environment=environment, env=env))

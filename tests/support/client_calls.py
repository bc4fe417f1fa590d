"""Every request that the official client can send, found by calling all of its methods against a transport that only
takes notes."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import miosa
from miosa.resources.computer import Computer
from miosa.resources.sandboxes import Sandbox
from miosa.types import Computer as ComputerData

ID = "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11"
_BASE = "http://127.0.0.1:1/api/v1"
_RECORD = {
    "id": ID,
    "state": "running",
    "status": "running",
    "name": "n",
    "slug": "s",
    "tenant_id": ID,
    "workspace_id": ID,
    "template_type": "x",
    "size": "small",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
_LOCAL = frozenset({"close", "with_tenant", "verify_signature"})  # which send nothing
_DEEPEST = 5


class _Sent(BaseException):
    """A request was noted: nothing answers it. No Exception, so that no method of the client handles it."""


def client_calls() -> Mapping[tuple[str, str], str]:
    """Method and raw path of each request, with the name of one method that sends it."""
    found: dict[tuple[str, str], str] = {}
    current = ""

    def take(request: httpx.Request) -> httpx.Response:
        found.setdefault((request.method, request.url.raw_path.decode().partition("?")[0]), current)
        raise _Sent

    with miosa.Miosa(api_key="msk_x", base_url=_BASE, max_retries=0) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of methods on their way out, and of coroutines that nobody awaits
        client._transport._client.close()
        client._transport._client = httpx.Client(base_url=_BASE, transport=httpx.MockTransport(take))
        transport = client._transport
        roots: dict[str, Any] = {
            "client": client,
            "sandbox": Sandbox(transport, dict(_RECORD)),
            "computer": Computer(transport, ComputerData.model_validate(_RECORD)),
        }
        for root, thing in roots.items():
            for name, method in _methods(thing, root, set(), 0):
                current = name
                _call(method)
    return found


def _methods(thing: Any, name: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """All methods of a part of the client, and of the parts in it."""
    if id(thing) in seen or depth > _DEEPEST:
        return
    seen.add(id(thing))
    for attribute in dir(thing):
        if attribute.startswith("_") or attribute in _LOCAL:
            continue
        try:
            member = getattr(thing, attribute)
        except Exception:  # noqa: BLE001, S112 - a property that needs an answer
            continue
        whole = f"{name}.{attribute}"
        if inspect.ismethod(member) or inspect.isfunction(member):
            yield whole, member
            if _needs_only_ids(member):  # as `deployments.domains(id)`, which is a part of its own
                try:
                    part = _call(member)
                except Exception:  # noqa: BLE001, S112 - what it makes of made up arguments is its affair
                    continue
                yield from _parts(part, f"{whole}()", seen, depth)
        else:
            yield from _parts(member, whole, seen, depth)


def _parts(part: Any, name: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if type(part).__module__.startswith("miosa.resources"):
        yield from _methods(part, name, seen, depth + 1)


def _needs_only_ids(method: Any) -> bool:
    required = [each for each in inspect.signature(method).parameters.values() if each.default is each.empty]
    return bool(required) and all(each.name.endswith("_id") for each in required)


def _call(method: Any) -> Any:
    """Call it with something for each argument that it needs; what it returns without a request."""
    positional, named = [], {}
    for parameter in inspect.signature(method).parameters.values():
        if (
            parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
            or parameter.default is not parameter.empty
        ):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = _made_up(parameter)
        else:
            positional.append(_made_up(parameter))
    try:
        result = method(*positional, **named)
        if inspect.isgenerator(result):
            next(result)
        if inspect.iscoroutine(result):
            result.close()
    except _Sent:
        return None
    except Exception:  # noqa: BLE001 - it did not like the arguments
        return None
    return result


def _made_up(parameter: inspect.Parameter) -> Any:
    kind, name = str(parameter.annotation), parameter.name
    if "int" in kind and "str" not in kind and "Point" not in kind:
        return 8080 if "port" in name else 1
    for word, value in (("float", 1.0), ("ict", {"a": "b"}), ("Mapping", {"a": "b"}), ("bytes", b"x")):
        if word in kind and "str |" not in kind:
            return value
    if "ist[" in kind or "equence" in kind:
        return ["a"]
    if "bool" in kind and "str" not in kind:
        return True
    return ID if name.endswith("id") else "x"

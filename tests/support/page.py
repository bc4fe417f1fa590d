"""The examples of a page of the platform's documentation, as they stand there: `curl` lines that are sent, and JSON that
answers are held against.
"""

import json
import re
import shlex
from collections.abc import Collection, Iterator
from typing import Any

from tests.support.api import Answered, ApiClient

_BASE = "https://api.miosa.ai"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Page:
    """Sends a page's examples. `places` is what stands for `{id}` and `$WORKSPACE_ID` in them, `key` for the reader's key."""

    def __init__(self, api: ApiClient, key: str | None = None) -> None:
        self._api = api
        self._key = key or str(api.key)
        self.places: dict[str, str] = {}

    async def curl(self, command: str, **places: str) -> Answered:
        """Send what the line would send, with our address and key in it."""
        words = iter(shlex.split(command))
        assert next(words) == "curl"
        method, url, headers, body = "", "", {}, None
        for word in words:
            match word:
                case "-X":
                    method = next(words)
                case "-H":
                    name, _, value = next(words).partition(": ")
                    headers[name] = value.replace("$MIOSA_API_KEY", self._key)
                case "-d":
                    body = next(words)
                case _:
                    assert word.startswith(_BASE), word
                    url = word.removeprefix(_BASE)
        for name, value in {**self.places, **places}.items():
            url = url.replace(f"{{{name}}}", value).replace(f"${name}", value)
            body = body.replace(f'"{name}"', f'"{value}"') if body is not None else None
        method = method or ("GET" if body is None else "POST")
        return await self._api(method, url, headers=headers, data=body)


def shows(answer: Answered, status: int, example: str, *, varying: Collection[str] = ()) -> Any:
    """The answer's JSON, which must have the status and all that the example has: each key, and under it the same value.

    Ids and times may be others of the same form, `"..."` is any text, and of the fields that are `varying` the kind of
    value alone counts. What has more keys than the example is right.
    """
    assert answer.status == status, answer.body
    wrong = list(_differences("", json.loads(example), answer.json, varying))
    assert not wrong, (wrong, answer.body)
    return answer.json


def refuses(answer: Answered, status: int, words: str) -> None:
    """The answer is an error in the one shape, whose code or message or field says those words."""
    assert answer.status == status, answer.body
    error = answer.json["error"]
    assert error["request_id"] == answer.headers["X-Request-ID"]
    said = [error["code"], error["message"], *(text for texts in error.get("fields", {}).values() for text in texts)]
    assert words in said, answer.body


def _differences(where: str, example: Any, shown: Any, varying: Collection[str]) -> Iterator[str]:
    if isinstance(example, dict):
        if not isinstance(shown, dict):
            yield f"{where} is no object"
            return
        for name, value in example.items():
            if name not in shown:
                yield f"{where}.{name} is missing"
            else:
                yield from _differences(f"{where}.{name}", value, shown[name], varying)
    elif isinstance(example, list):
        if not isinstance(shown, list) or len(shown) < len(example):
            yield f"{where} has too little"
            return
        for number, value in enumerate(example):
            yield from _differences(f"{where}.{number}", value, shown[number], varying)
    elif not _alike(example, shown, varies=where.rpartition(".")[2] in varying):
        yield f"{where} is {shown!r} and not {example!r}"


def _alike(example: Any, shown: Any, *, varies: bool) -> bool:
    if isinstance(example, str) and isinstance(shown, str):
        for form in (_UUID, _TIME):
            if form.fullmatch(example):
                return form.fullmatch(shown) is not None
        return varies or example == shown or example.endswith("...")
    kinds = ((int, float), (bool,), (type(None),))
    same = next(kind for kind in kinds if isinstance(example, kind)) if not isinstance(example, str) else (str,)
    return isinstance(shown, same) if varies else example == shown

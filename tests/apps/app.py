"""One program: what it needs, how it is started, and what has to work through the router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.apps.site import Site

Check = Callable[[Site], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class App:
    """`files` are written into the program's folder, by path. `npm`, `pip` and `apt` are packages, of a major version: newer ones
    may not fit together. `build` are commands that run once after an installation. `start` runs it; `{port}` is the port it
    must listen on, `{folder}` its folder, `{python}` the Python with the pip packages, `{node}` node. `ready` is a path that
    answers once it serves, `environment` is added to ours. `checks` by what they show: each raises AssertionError. `setting`
    is what to set in the program so that it takes the public name; `told` has been told so, and shows that the advice is
    right. `port_settings` are what the platform sets for its port, by field. `folder` is the name of another program's,
    where both are the same."""

    name: str
    title: str
    start: Sequence[str]
    checks: Mapping[str, Check]
    files: Mapping[str, str] = field(default_factory=dict)
    npm: Sequence[str] = ()
    pip: Sequence[str] = ()
    apt: Sequence[str] = ()
    build: Sequence[Sequence[str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/"
    setting: str = "nothing"
    port_settings: Mapping[str, str] = field(default_factory=dict)
    told: bool = False
    folder: str = ""

    @property
    def untouched(self) -> bool:
        """Whether nothing is set, in the program or for its port: such programs are counted."""
        return not self.told and not self.port_settings

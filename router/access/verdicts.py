"""What may come of a request for a preview: the verdicts of `decision.py`, which `proxy/admission.py` carries out."""

from router.access.entry import Entry
from router.errors import Problem
from router.routes.policies import AccessSecret


class Allowed:
    """The request goes on. `consumed` are the values of Authorization that were ours."""

    def __init__(self, entry: Entry, consumed: frozenset[bytes] = frozenset()) -> None:
        self.entry = entry
        self.consumed = consumed


class Refused:
    """It does not."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class Preflight:
    """It is answered here."""


class Exchanged:
    """A link is exchanged for a cookie: the visitor is sent to the same address without it. `secret` None: they have one, or
    need none."""

    def __init__(self, secret: AccessSecret | None) -> None:
        self.secret = secret


class Confirm:
    """The visitor is asked to say that they mean to use a link that works once."""


class UseUp:
    """They have said so: it is taken, for good, and then exchanged for a cookie."""

    def __init__(self, secret: AccessSecret) -> None:
        self.secret = secret


class AtLogin:
    """The request is for one of the paths of a login, which the edge answers (`reserved.py`)."""

    def __init__(self, path: bytes) -> None:
        self.path = path


class TakePassword:
    """They have sent the form of our page: what is in it is compared with this password."""

    def __init__(self, secret: AccessSecret) -> None:
        self.secret = secret


class LookUp:
    """The API key of this hash has to be looked up first, or the session of this id, or the token of a CI system verified; or,
    where all are empty, the keys that sign cookies be looked up."""

    def __init__(self, key: str = "", *, session_id: str = "", ci_token: str = "") -> None:
        self.key = key
        self.session_id = session_id
        self.ci_token = ci_token


Verdict = Allowed | Refused | Preflight | Exchanged | Confirm | UseUp | AtLogin | TakePassword | LookUp

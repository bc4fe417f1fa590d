"""The data plane: Protocol classes on uvloop, no coroutine between a request's head and its response's last byte.

`exchange.py` tells one request's story: read it first; `response.py` is the half of it that begins with the backend's
first byte. `client.py` and `backend.py` are the two connections, `pool.py` keeps backends' connections, `dial.py` makes
them, `tunnel.py` is what follows a 101, `local_responses.py` has the responses of our own. `sweep.py` enforces the
deadlines, `capture.py` keeps headers and bodies where developers want them, `replay.py` sends what was captured again, `wakes.py` holds requests for resources that sleep, `turn_budget.py`, `pacer.py` and `connection_limits.py` keep one tenant's traffic from delaying another's.
`worker_state.py` is what all of them share; `listener.py` starts, drains and closes a worker.
"""

from router.proxy import exchange
from router.proxy.capture import Captures
from router.proxy.listener import Proxy
from router.proxy.wakes import WakeConfig
from router.proxy.worker_state import PlainHttp

__all__ = ["COMPILED", "Captures", "PlainHttp", "Proxy", "WakeConfig"]

# Whether the data plane runs as machine code (deploy/compile.py), rather than in the interpreter.
COMPILED = not exchange.__file__.endswith(".py")

"""The data plane: Protocol classes on uvloop, no coroutine between a request's head and its answer's last byte.

`exchange.py` tells one request's story: read it first. `client.py` and `backend.py` are the two connections,
`pool.py` keeps backends' connections, `dial.py` makes them, `tunnel.py` is what is left after a 101, `sweep.py` keeps
the deadlines, `edge.py` is what all of them share, and `listener.py` starts, drains and ends it all.
"""

from router.proxy import exchange
from router.proxy.edge import PlainHttp
from router.proxy.listener import Proxy

__all__ = ["COMPILED", "PlainHttp", "Proxy"]

# Whether the data plane runs as machine code (deploy/compile.py), rather than in the interpreter.
COMPILED = not exchange.__file__.endswith(".py")

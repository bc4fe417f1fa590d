"""MIOSA's edge: a preview router, a TLS gatekeeper and the control plane of domains.

The life of a request: a client (Caddy, in production) connects to the proxy listener (`proxy/listener.py`). Its head
is read and checked (`proxy/client.py`, `http1/heads.py`), its Host becomes a route (`routes/resolver.py`, decided by
`routes/chain.py`), a connection to the backend comes out of the pool of that resource (`proxy/pool.py`), the head goes
on rewritten (`http1/forwarding.py`), bodies stream both ways (`http1/bodies.py`), and the exchange ends with one
record of who ended it in which phase (`proxy/exchange.py`, `observe/`). Read `proxy/exchange.py` first.

The vocabulary: a *client* dials us, a *backend* is whom we dial. A *resource* is a sandbox, computer or deployment; an
*endpoint* is where it listens now; a *route* is the answer for one host; a *zone* is a configured preview domain or
the platform domain; a *scope* is project, workspace or tenant; the *gate* answers Caddy's ask.

What you will not find here: TLS (Caddy's work), running sandboxes (the platform's), HTTP/2 towards backends, caching
or compression of what passes through, load balancing between backends.
"""

"""A node as processes: their loops, their signals, their end.

`workers = 1`: one process with everything in it (`embedded.py`). More: a supervisor (`supervisor.py`) that carries no
traffic, one process with the API, the admin listener and the jobs, and so many workers with the proxy; each of these is
a fresh interpreter (`child.py`) on sockets that the supervisor opened and keeps. Which it is decides `serving.py`.

SIGTERM, SIGINT   the first: /readyz says no for `drain_not_ready`, then requests end within `drain_requests`, then
                  tunnels and event streams within `drain_tunnels`. The second: everything ends at once.
SIGHUP            the access log is opened again, after logrotate has moved it away. With several processes: each is
                  replaced by one with the settings and the code of now
"""

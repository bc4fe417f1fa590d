"""The processes of a node: how they start, which signals they obey, how they end.

`workers = 1`: one process with everything in it (`single.py`). More: a supervisor (`supervisor.py`) that carries no
traffic, a control process with the API, the admin listener and the jobs, and as many workers with the proxy; each is a
fresh interpreter (`child.py`) on sockets that the supervisor opened and keeps. A worker has its settings read by a process
that ends then (`settings_reader.py`). `serve.py` decides which.

SIGTERM, SIGINT   the first: /readyz says no for `drain_not_ready`, then requests end within `drain_requests`, then
                  tunnels and event streams within `drain_tunnels`. The second: everything ends at once.
SIGHUP            the access log is opened again, after logrotate has moved it away. With several processes: each is
                  replaced by one with the settings and the code of now
"""

"""MIOSA's edge: a preview router, a TLS gatekeeper and the control plane of domains.

docs/architecture.md tells the life of a request, explains the words and has the map; read `proxy/exchange.py` first.

What you will not find here: TLS (Caddy's work), running sandboxes (the platform's), HTTP/2 towards backends, caching
or compression of what passes through, load balancing between backends.
"""

"""The REST API: one table of operations that serves and documents itself.

`listener.py` tells one request's story: read it first. `operations.py` says how an operation is declared, `models.py`
what bodies and responses are made of, `table.py` finds the operation of a path. `parsing.py` and `messages.py` check what
comes in, `responses.py` renders what goes out, `auth.py` and `tokens.py` tell who calls, `authorization.py` what the
caller may see and change, `rates.py` how often. `openapi.py` and `docs.py` show the table; `server.py` is the HTTP server
underneath.

A noun is one file with one class: bodies (`Body`), responses (`Out`), and methods under `@operation` that call a service of
`tenancy/` or `domains/` and show what comes back. It decides nothing that a command could not do as well; its class goes
into the table in `node/rest.py`. `internal/` is the platform's side, under /internal/v1.
"""

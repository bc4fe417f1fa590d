"""The REST API: one table of endpoints that serves and documents itself.

`listener.py` tells one request's story: read it first. `endpoint.py` says how an endpoint is declared, `models.py`
what bodies and answers are made of, `table.py` finds the row of a path. `intake.py` and `wording.py` check what comes
in, `answers.py` renders what goes out, `auth.py` and `tokens.py` tell who calls, `rates.py` how often. `openapi.py` and
`docs.py` show the table; `server.py` is the HTTP server underneath.

A resource is one file with one class: bodies (`Body`), answers (`Out`), and methods under `@endpoint` that call verbs
of `tenancy/` or `domains/` and show what comes back. It decides nothing that a command could not do as well; its class
goes into the table in `app.py`. `internal/` is the platform's side, under /internal/v1.
"""

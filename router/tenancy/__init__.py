"""The services that the API and the command line share: one file per noun, each with its values, the rows that it needs of
a store (a `…Rows` Protocol), and its service class.

    tenants → workspaces → projects → resources → endpoints, previews → preview_secrets
                                      deployments → versions (publishing, checks) → releases, env
    keys open a tenant, a workspace or a project

A service method checks what the caller sent (VALIDATION_FAILED, with every wrong field), then does its work in one
transaction (`transaction.py`: the rows of all nouns). Who may call it is not decided here: that is the API's.
A method whose transaction was chosen as deadlock victim is called again (`deadlocks.py`).
"""

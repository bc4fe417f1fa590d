"""The documentation as a site: `make docs` builds it from docs/, the runbook and what the code says of itself."""

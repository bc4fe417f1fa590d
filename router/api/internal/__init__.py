"""/internal/v1: the platform tells the router what exists and where it runs. One file per noun."""

"""What `make run` starts: the router, Caddy in front of it and three sample sandboxes, on this machine alone.

`stage.py` tells the story: a folder and its lock (`folder.py`), free ports (`ports.py`), children that never outlive
us (`children.py`, `leash.py`), what exists on the stage (`seed.py`), and what people are told (`guide.py`). The router
and Caddy are run as they are in production; only their settings differ.
"""

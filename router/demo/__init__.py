"""What `make run` starts: the router, Caddy in front of it, sample sandboxes and a small platform, on this machine alone.

`stage.py` runs it all: a folder and its lock (`folder.py`), free ports (`ports.py`), child processes that end with us (`children.py`, `pdeathsig.py`), the sample customer (`seed.py`), a platform with a sandbox that sleeps (`platform.py`), and the printed links (`guide.py`). The router
and Caddy are run as they are in production; only their settings differ.
"""

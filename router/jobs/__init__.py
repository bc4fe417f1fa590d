"""Background jobs: `runner.py` runs each under a lease on one node at a time; the other files are the longer ones, short
ones are in `node/background.py`. `activity.py` is no job: every node that serves notes when resources were last used."""

"""One node: its processes (`processes/`), what they say to each other (`ipc/`), and the composition root (`app.py`)."""

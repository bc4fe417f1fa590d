"""How soon the event loop gets Python's lock back from the threads beside it."""

import sys

_SWITCH = 0.000_5  # seconds


def yield_to_the_loop() -> None:
    """Let threads that compute give way after half a millisecond, where Python lets them go on for five.

    SQLite's statements, log files and certificates are worked on in threads. The event loop releases Python's lock (the GIL)
    for each system call, and has to wait when a thread has taken it meanwhile. Measured beside a thread that computes for 3 ms at a time:
    with 5 ms a timer of the loop ran 3 to 4 ms late at the 99th percentile, with 0.5 ms it ran 0.8 ms late.
    """
    sys.setswitchinterval(_SWITCH)

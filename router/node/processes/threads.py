"""How soon the event loop gets Python's lock back from the threads beside it."""

import sys

_SWITCH = 0.000_5  # seconds


def yield_to_the_loop() -> None:
    """Let threads that compute give way after half a millisecond, where Python lets them go on for five.

    SQLite's statements, log files and certificates are worked on in threads. The loop releases the lock with each system call, and
    then waits for whoever has taken it: beside a thread that computed for 3 ms at a time a timer was late by 3 to 4 ms at the 99th
    percentile, and is by 0.8 so.
    """
    sys.setswitchinterval(_SWITCH)

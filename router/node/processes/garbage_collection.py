"""When Python's garbage collector runs: hardly while a process starts, in short steps while it serves."""

import gc

# Collections of generation 1 between two full ones; a control process has some 40 of them in a minute.
TRAFFIC, EVERYTHING, SQL = 20_000, 1_000, 100
_WHILE_STARTING = 500_000  # objects: a start makes about as many, nearly all of which stay


def spare_start() -> None:
    """Collect next to nothing until `tune_gc`: imports make objects that stay, and going through them again and again is an
    eighth of a start."""
    gc.set_threshold(_WHILE_STARTING)


def tune_gc(full_after: int) -> None:
    """Freeze start-up objects out of the garbage collector, and keep its pauses short.

    Requests are freed by reference counting, so the collector only handles rare cycles. Generation 0 stays small: going
    through fifty thousand new objects took 10 ms. A full collection takes 80 ms with a full cache of routes, so it comes
    after `full_after` collections of generation 1 only (`proxy/pacer.py` starts those as well): `TRAFFIC`, `SQL` or
    `EVERYTHING`, by what the process does. SQL statements leave cycles, which get old before they are garbage: a control
    process that has nothing but its jobs to do leaves 250 objects a second, 2 MiB a minute, and had 100 MiB of them in 40.

    What the start has left is frozen with the rest, not collected: 2,000 of 290,000 objects, which take no memory that can be
    measured, and going through all of them is a tenth of a start.
    """
    gc.freeze()
    gc.set_threshold(1_000, 3, full_after)

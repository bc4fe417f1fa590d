"""The processes of one node, among themselves: the control process and its workers, over local sockets.

    Crew         the control process's side: all workers that run here (`control.py`)
    Membership   a worker's side (`member.py`)
    AskedStore   the store as a worker has it: questions (`asked.py`), which `answers.py` answers
    Link         messages on one socket between the two (`link.py`)

Who starts them, and hands each pair of processes its socket, is `workers/`. What passes here makes a node of several
processes look like one: a change is known to every worker before the API answers, `/metrics` shows all of them, and
when a resource was used, or a name reached by https, is known where it is asked for. Nothing is lost where a link
fails: a worker reads the outbox (or the bus) itself, from where it was told last, as soon as there is somebody to ask.
"""

from router.crew.asked import AskedStore
from router.crew.control import Crew
from router.crew.member import Membership

__all__ = ["AskedStore", "Crew", "Membership"]

"""The audit log: who did what with which key from where.

entry.py        an entry, its actor, and what is asked of those that are kept
act.py          an act under way: the store writes its entry in the transaction that makes its change
notes.py        which records a transaction has read and written, seen from outside, so that no service can forget to say it
safe_fields.py  of which fields an entry may keep the values, and what is masked wherever it stands
actions.py      what each route of the API is called in an entry
system.py       what the router does by itself that is an entry
log.py          the service: entries of acts that changed nothing, lists, the export, retention
"""

"""The operators' tools of a running node: what its sockets in `runtime_dir` answer.

    listening.py   the two Unix sockets and their files
    server.py      `OperatorServer`: HTTP on both, who calls, which calls are acts
    processes.py   `Answers` of one process, `Processes`: the same question to every process of the node
    subjects.py    what a host, an id or a slug at a command line means
    log_levels.py  `log-level`
    sessions.py    `sessions` and `cut`, and open_sessions.py: what a process that carries traffic does for them
    top.py         `top`, and rates.py: what a process that carries traffic counts for it
    refused.py     `errors`; observe/refused.py keeps the messages, http1/refused.py finds the byte
    tap.py         `tap`, and tapping.py: what a process that carries traffic does for it

`operator-read.sock` takes GET only; `operator.sock` takes every route. A route that changes anything is a POST. Who may write to a
socket's file (its mode and group) may use it, and the kernel says which user and process that was. The commands are in `cli/`.
"""

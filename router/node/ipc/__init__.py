"""The control process of a node and its workers, talking over local sockets.

    wire.py             how a message is written, and what two versions owe each other
    messages.py         every message between the two, who sends it, who answers
    process_messages.py every one between the supervisor and the processes that it starts
    channel.py          `Channel`: messages over one socket
    control_side.py     `ControlSide`: the control process's side of all its workers
    worker_side.py      `WorkerSide`: a worker's side
    store_client.py     `StoreClient`: the store as a worker sees it, by asking the control process
    visitors_client.py  `VisitorsClient`: what it asks for visitors of previews
    store_server.py     what the control process answers
    wake_client.py      `WakeClient`: has resources woken, by asking the control process

`node/processes/` starts the processes and hands each pair a socket. Messages between them make several processes look
like one node: every worker knows of a change before the API answers, `/metrics` shows all workers, and the control
process knows when a resource was last used and which hosts were reached by https. Nothing is lost when a channel
breaks: a worker reads the outbox (or hears the bus) from where it was, as soon as it can.

Each module is imported by its own name: the supervisor, which has messages of its own only, would hold the rest for nothing, and
a node in one process all of them.
"""

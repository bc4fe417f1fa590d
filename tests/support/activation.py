"""What systemd does for a service with sockets: opens them, passes them from descriptor 3 on, and becomes the service.

python activation.py NAME=PORT … -- COMMAND …
"""

import os
import socket
import sys

FIRST = 3


def main(words: list[str]) -> None:
    place = words.index("--")
    opened = []
    for word in words[:place]:
        name, _, port = word.partition("=")
        if name == "dns":  # ListenDatagram= beside ListenStream=
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind(("127.0.0.1", int(port)))
            opened.append((name, os.dup(datagrams.fileno())))
        listener = socket.create_server(("127.0.0.1", int(port)))
        opened.append((name, os.dup(listener.fileno())))
    above = [os.dup2(descriptor, 100 + number) for number, (_, descriptor) in enumerate(opened)]
    for number, descriptor in enumerate(above):
        os.dup2(descriptor, FIRST + number)  # inheritable, unlike the others
        os.close(descriptor)
    os.environ["LISTEN_FDS"] = str(len(opened))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in opened)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(words[place + 1], words[place + 1 :])  # noqa: S606 - the command is the caller's own


if __name__ == "__main__":
    main(sys.argv[1:])

"""A program that knows who somebody is by their connection, as IIS does with NTLM: the messages, and what it says to them."""

import base64
import struct

_SIGNATURE = b"NTLMSSP\0"


def message(number: int, user: bytes = b"") -> bytes:
    """One of the three messages of a login, as it stands in a header line: 1 begins, 2 is the challenge, 3 says who it is."""
    return base64.b64encode(_SIGNATURE + struct.pack("<I", number) + user)


class NtlmLogins:
    """What the program knows of each of its connections, which a test names as it likes."""

    def __init__(self, scheme: bytes = b"NTLM") -> None:
        self._scheme = scheme
        self._challenged: set[object] = set()
        self._users: dict[object, bytes] = {}

    def respond(self, connection: object, authorization: bytes) -> bytes:
        """The response to a request on that connection. Who has logged in stays so, whatever their further requests say."""
        scheme, _, token = authorization.partition(b" ")
        said = base64.b64decode(token) if scheme.lower() == self._scheme.lower() else b""
        if connection not in self._users and connection in self._challenged and said[8:9] == b"\3":
            self._users[connection] = said[12:]
        user = self._users.get(connection)
        if user is not None:
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(user), user)
        challenge = b""
        if said[8:9] == b"\1":
            self._challenged.add(connection)
            challenge = b" " + message(2)
        return b"HTTP/1.1 401 No\r\nWWW-Authenticate: %b%b\r\nContent-Length: 0\r\n\r\n" % (self._scheme, challenge)

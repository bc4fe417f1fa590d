"""Header compression of HTTP/2 (HPACK, RFC 7541), compiled: the library hpack, whose tables these are, took half of what a
call costs here.

What we send needs no table of its own: fields that have no place in the static table are written as they are, and remembered as
bytes, since the same few come again and again. What we receive is read in full, the other side's table with it.
"""

from collections import deque
from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

_STATIC: Final[tuple[Field, ...]] = tuple((entry[0], entry[1]) for entry in HeaderTable.STATIC_TABLE)
_BY_FIELD: Final = {field: number for number, field in reversed(list(enumerate(_STATIC, 1)))}
_BY_NAME: Final = {field[0]: number for number, field in reversed(list(enumerate(_STATIC, 1)))}
_TABLE: Final = 4096  # bytes of the other side's table, as we have not said otherwise
_OVERHEAD: Final = 32  # bytes that a field counts beyond its own (§4.1)
_REMEMBERED: Final = 2048  # fields
_REMEMBERED_SIZE: Final = 256  # bytes of one of them
_MAX_DIGITS: Final = 5  # bytes of a number beyond its first


class CompressionError(Exception):
    """A header block that is none, or too large: the connection can't go on, since its table is lost."""


def _number(value: int, bits: int, first: int) -> bytes:
    """A number with a prefix of so many bits, in a byte that begins with `first` (§5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class FieldWriter:
    """Writes header blocks; see the module."""

    def __init__(self) -> None:
        self._known: dict[Field, bytes] = {}
        self._begin = b""

    def limit(self, size: int) -> None:
        """The other side wants a table of at most that size: it is told that there is none (§4.2)."""
        if size < _TABLE:
            self._begin = b"\x20"

    def write(self, fields: list[Field]) -> bytes:
        """One block."""
        known = self._known
        out: list[bytes] = []
        if self._begin:
            out.append(self._begin)
            self._begin = b""
        for field in fields:
            piece = known.get(field)
            if piece is None:
                piece = self._field(field)
            out.append(piece)
        return b"".join(out)

    def _field(self, field: Field) -> bytes:
        name, value = field
        number = _BY_FIELD.get(field)
        if number is not None:
            piece = _number(number, 7, 0x80)
        else:
            number = _BY_NAME.get(name)
            begin = b"\0" + _number(len(name), 7, 0) + name if number is None else _number(number, 4, 0)
            piece = begin + _number(len(value), 7, 0) + value
        if len(piece) <= _REMEMBERED_SIZE:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[field] = piece
        return piece


def _huffman() -> tuple[list[int], list[int], list[int]]:
    """The code (§5.2) as a machine that takes four bits at a time: the next state (-1: none), the symbol that is complete (-1:
    none), and whether the text may end in a state. State 0 is between two symbols. At most one symbol ends in four bits, the
    shortest having five."""
    tree: list[list[int]] = [[0, 0]]  # of each node: the next one, or -1 - symbol; 0 is none
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            if tree[node][bit] == 0:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = -1 - symbol
    ends = [0] * len(tree)
    node = 0
    for _ in range(8):  # padding: up to seven ones, the beginning of the longest code
        ends[node] = 1
        node = tree[node][1]
    following: list[int] = []
    symbols: list[int] = []
    for state in range(len(tree)):
        for nibble in range(16):
            at, symbol = state, -1
            for place in (3, 2, 1, 0):
                at = tree[at][nibble >> place & 1]
                if at < 0:
                    symbol, at = -1 - at, 0
                    if symbol == 256:  # the end of the text, which must not stand in it
                        at = -1
                        break
            following.append(at)
            symbols.append(symbol)
    return following, symbols, ends


_NEXT, _SYMBOL, _ENDS = _huffman()


def _from_huffman(data: bytes) -> bytes:
    """The text of a string that is coded. Raises CompressionError."""
    out = bytearray()
    state = 0
    following, symbols = _NEXT, _SYMBOL
    for byte in data:
        at = state * 16 + (byte >> 4)
        state = following[at]
        if state < 0:
            raise CompressionError("coded text")
        symbol = symbols[at]
        if symbol >= 0:
            out.append(symbol)
        at = state * 16 + (byte & 15)
        state = following[at]
        if state < 0:
            raise CompressionError("coded text")
        symbol = symbols[at]
        if symbol >= 0:
            out.append(symbol)
    if not _ENDS[state]:
        raise CompressionError("coded text without an end")
    return bytes(out)


class FieldReader:
    """Reads header blocks, one after the other, with the table that they build."""

    def __init__(self, max_size: int) -> None:
        """`max_size` is how large a list of fields may be, as §4.1 counts."""
        self._max_size = max_size
        self._table: deque[Field] = deque()  # the newest first
        self._table_size = 0
        self._limit = _TABLE
        self._at = 0

    def read(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises CompressionError."""
        fields: list[Field] = []
        left = self._max_size
        size = len(block)
        self._at = 0
        begun = False
        resized = 0
        while self._at < size:
            first = block[self._at]
            if first & 0x80:
                field = self._known(self._read_number(block, 7))
            elif first & 0xE0 == 0x20:
                resized += 1
                if begun or resized > 2:  # §4.2: the smallest size and the final one, and nothing before them
                    raise CompressionError("the table's size changes in the middle, or all the time")
                self._resize(self._read_number(block, 5))
                continue
            elif first & 0x40:
                field = self._literal(block, 6)
                self._insert(field)
            else:
                field = self._literal(block, 4)
            begun = True
            left -= len(field[0]) + len(field[1]) + _OVERHEAD
            if left < 0:
                raise CompressionError("header list too large")
            fields.append(field)
        return fields

    def _read_number(self, block: bytes, bits: int) -> int:
        most = (1 << bits) - 1
        value = block[self._at] & most
        self._at += 1
        if value < most:
            return value
        shift = 0
        while self._at < len(block) and shift < 7 * _MAX_DIGITS:
            byte = block[self._at]
            self._at += 1
            value += (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise CompressionError("a number without an end")

    def _known(self, number: int) -> Field:
        if 0 < number <= len(_STATIC):
            return _STATIC[number - 1]
        number -= len(_STATIC) + 1
        if not 0 <= number < len(self._table):
            raise CompressionError("a place beyond the table")
        return self._table[number]

    def _literal(self, block: bytes, bits: int) -> Field:
        number = self._read_number(block, bits)
        name = self._known(number)[0] if number else self._text(block)
        return name, self._text(block)

    def _text(self, block: bytes) -> bytes:
        if self._at >= len(block):
            raise CompressionError("a field without an end")
        coded = block[self._at] & 0x80
        size = self._read_number(block, 7)
        end = self._at + size
        if end > len(block):
            raise CompressionError("text without an end")
        text = block[self._at : end]
        self._at = end
        return _from_huffman(text) if coded else text

    def _insert(self, field: Field) -> None:
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        self._table.appendleft(field)
        self._table_size += size
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > _TABLE:
            raise CompressionError("a table larger than agreed")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._table_size > self._limit:
            name, value = self._table.pop()
            self._table_size -= len(name) + len(value) + _OVERHEAD

"""What must never reach a log, and how it is masked. Used by the access line and by every other log line.

Access lines keep the path. The query is kept too, because it is half of what an operator looks for, with the values of
secret parameters masked: all of our own (they begin with `miosa`), and the names under which the world passes secrets.
"""

import functools
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

MASK = "***"

# Anchored, so that a name without `=` is read once, not once from each of its bytes.
_PARAMETER = re.compile(rb"(?:^|(?<=[&;]))([^=&;]++)=[^&;]*")
_NAME = re.compile(rb"[\n&;]([^=&;\n]*+)=")  # in queries that stand each behind a line's end
_harmless: Final[set[bytes]] = set()  # names of parameters that are no secrets
_REMEMBERED: Final = 1024
_MAX_NAME: Final = 32  # bytes
_SECRET_PARAMETER = re.compile(
    rb"_*miosa.*|.*(?:token|secret|passw|signature|api_?key|credential).*"
    rb"|key|sig|jwt|auth|authorization|code|session|sid",
    re.IGNORECASE | re.DOTALL,
)

# Our own keys, what opens a preview, JSON Web Tokens, what follows an authentication scheme, and the password in a URL.
_SECRET_TEXT = re.compile(
    r"\b(msk_|mp[tlo]_)[A-Za-z0-9_-]+"
    r"|\b(eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+"
    r"|\b((?:bearer|basic) )[A-Za-z0-9+/=._~-]{6,}"
    r"|(://[^/\s:@]{0,256}:)[^/\s@]{1,256}(?=@)",
    re.IGNORECASE,
)
_KEYS = re.compile(rb"(m(?:sk_|p[tlo]_(?=[A-Za-z0-9_-]{43})))[A-Za-z0-9_-]+")
_MARK = re.compile(rb"m(?:sk|p[tlo])_")  # how they begin; one search by `re` takes a quarter of four by `find`
_BEGINNINGS = frozenset([b"msk", b"mpt", b"mpl", b"mpo"])
_MAX_PIECES: Final = 128

_SECRET_WORDS = frozenset(
    [
        "authorization",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "jwt",
        "key",
        "passwd",
        "password",
        "secret",
        "secrets",
        "token",
        "tokens",
    ]
)
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def mask_query(query: bytes) -> bytes:
    """The query of a target with the values of secret parameters masked."""
    # Nearly all queries have none, and are not built anew.
    for parameter in query.replace(b";", b"&").split(b"&"):
        name, equals, _ = parameter.partition(b"=")
        if equals and _is_secret_parameter(name):
            query = _PARAMETER.sub(_mask_parameter, query)
            break
    return mask_keys(query)


def may_have_secret(queries: Sequence[bytes]) -> bool:
    """Whether `mask_query` may find something in one of these queries besides keys. None may have a line's end in it.

    Cheap for queries whose parameters have been seen: programs have few names for them.
    """
    asked = [query for query in queries if query]
    if not asked:
        return False
    names = _NAME.findall(b"\n" + b"\n".join(asked))
    if _harmless.issuperset(names):
        return False
    for name in names:
        if _is_secret_parameter(name):
            return True
        if len(name) <= _MAX_NAME:
            if len(_harmless) >= _REMEMBERED:
                _harmless.clear()
            _harmless.add(name)
    return False


def _mask_parameter(match: re.Match[bytes]) -> bytes:
    return match[1] + b"=" + MASK.encode("ascii") if _is_secret_parameter(match[1]) else match[0]


@functools.lru_cache(maxsize=1024)
def _is_secret_parameter(name: bytes) -> bool:
    """By the name as programs read it: it may be percent-encoded."""
    return _SECRET_PARAMETER.fullmatch(unquote_to_bytes(name)) is not None


def mask_keys(text: bytes) -> bytes:
    """`text` with anything that looks like one of our keys, or like a preview's secret, masked."""
    return text if text.find(b"msk_") < 0 and text.find(b"mp") < 0 else _KEYS.sub(_mask_key, text)


def _mask_key(match: re.Match[bytes]) -> bytes:
    return match[1] + MASK.encode("ascii")


def may_have_key(text: bytes) -> bool:
    """Whether `mask_keys` may find something in it; cheap where it has few `_`, which all keys have after three bytes."""
    pieces = text.split(b"_", _MAX_PIECES)
    if len(pieces) > _MAX_PIECES:
        return _MARK.search(text) is not None
    return any(piece[-3:] in _BEGINNINGS for piece in pieces)


def mask_text(text: str) -> str:
    """`text` with everything that looks like a secret masked."""
    return _SECRET_TEXT.sub(lambda match: next(kept for kept in match.groups() if kept) + MASK, text)


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a value under this name is a secret: `api_key`, `Set-Cookie`, `internalToken` (but not `keys`)."""
    if name.lower().startswith("x-miosa-debug"):
        return True
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(name))


_LINE = re.compile(rb"[^\r\n]+")
_BEGINNING = re.compile(rb"[^:\s]*\s*:?")


def blank_secrets(head: bytes) -> bytes:
    """The bytes of a head, which may be no head, with `*` for each byte of what must not be shown: as many as before, so that places stay.

    What stands behind a name such as `Authorization`, with or without a colon, to the end of the line and in the lines that go on with
    it; the values of secret parameters of the first line; and whatever looks like a secret.
    """
    out = bytearray(head)
    secret = False
    for number, line in enumerate(_LINE.finditer(head)):
        start, end = line.span()
        text = line[0]
        if number == 0:
            for parameter in _PARAMETER.finditer(text.replace(b"?", b"&").replace(b";", b"&")):
                if _is_secret_parameter(parameter[1]):
                    _blank(out, start + parameter.end(1) + 1, start + parameter.end())
            continue
        begins = _BEGINNING.match(text)
        folded = text[:1] in b" \t"
        secret = (secret and folded) or is_secret(text[: 0 if begins is None else begins.end()].decode("latin-1"))
        if secret:
            _blank(out, start if folded or begins is None else start + begins.end(), end)
    text = bytes(out)
    for found in _SECRET_TEXT.finditer(text.decode("latin-1")):
        kept = next(group for group in range(1, 5) if found[group])
        _blank(out, found.end(kept), found.end())
    for key in _KEYS.finditer(text):
        _blank(out, key.end(1), key.end())
    return bytes(out)


def _blank(out: bytearray, start: int, end: int) -> None:
    out[start:end] = b"*" * (end - start)

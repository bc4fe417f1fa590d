"""Secrets in captures: what is masked before a capture is stored.

    headers       the whole value of those that carry secrets, by their names; in all others, what looks like a key of ours, a
                  JSON Web Token, the value behind an authentication scheme, a password or a secret parameter in an address, in
                  its query and in its fragment
    query         the values of secret parameters
    bodies        in text: the value of each JSON field with a secret name, with all that is in it, wherever JSON stands in the text,
                  also in a string of JSON; the values of secret fields of forms, of both encodings, and secrets of JSON in any of
                  their fields

By their names, then: a secret under a name that says nothing, in text that is neither JSON nor a form, or in a body that is compressed or
binary, stays. A body that ends in its middle is masked as far as it goes.
"""

import json
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote_to_bytes

from router.observe.secrets import MASK, mask_keys, mask_query, mask_text

_MASK: Final = MASK.encode("ascii")
_MASK_JSON: Final = b'"' + _MASK + b'"'

# Names of headers, parameters and fields, however they are spelled: `X-Api-Key`, `api_key`, `apiKey`.
_SECRET: Final = re.compile(
    r".*(?:token|secret|passw|passphrase|passcode|credential|api[-_ ]?key|private[-_ ]?key|access[-_ ]?key|signature|cookie"
    r"|session|jwt|authorization|authentication).*"
    r"|(?:.*[-_ ])?(?:auth|pwd|pass|otp|pin|sid|sig|csrf|xsrf|code|key|bearer)",
    re.IGNORECASE | re.DOTALL,
)
# Answered to who is not logged in, and no secret: what is asked for.
_HARMLESS: Final = frozenset({"www-authenticate", "proxy-authenticate"})

# Of JSON, or of text with JSON in it. A string that does not end is one to the end.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_CUT_ESCAPE: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PARAMETER: Final = re.compile(rb"(?:^|(?<=[&;]))([^=&;]++)=[^&;]*")
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;]{1,200}))', re.IGNORECASE)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")  # some programs read parts with bare line feeds
_FIELD: Final = re.compile(rb'\bname\*?=(?:"([^"\r\n]*)"|([^\s;]+))', re.IGNORECASE)

_OPENING: Final = (b"{", b"[")
_CLOSING: Final = (b"}", b"]")
_NO_VALUE: Final = (*_CLOSING, b",", b":")


class Masks:
    """`names` are secret ones besides those that are known."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names)

    def is_secret(self, name: str) -> bool:
        """Whether what stands under this name is masked."""
        lower = name.lower()
        if lower in self._names:
            return True
        return lower not in _HARMLESS and _SECRET.fullmatch(name) is not None

    def header(self, name: str, value: str) -> tuple[str, bool]:
        """A header's value, and whether something of it was masked."""
        if self.is_secret(name):
            return MASK, True
        masked = mask_text(value)
        path, *rest = re.split(
            r"([?#])", masked
        )  # in a fragment OAuth's implicit grant has its tokens (RFC 6749 §4.2.2)
        if rest:
            masked = path + "".join(part if part in ("?", "#") else self.query(part) for part in rest)
        return masked, masked != value

    def query(self, query: str) -> str:
        """A query, or the body of a form, with the values of secret parameters masked."""
        raw = mask_query(query.encode("latin-1", "replace"))
        return _PARAMETER.sub(self._parameter, raw).decode("latin-1")

    def target(self, target: str) -> str:
        """The target of a request."""
        path, mark, query = target.partition("?")
        path = mask_keys(path.encode("latin-1", "replace")).decode("latin-1")
        return path + mark + self.query(query) if mark else path

    def body(self, body: bytes, content_type: str, content_encoding: str) -> bytes:
        """A body, or its beginning."""
        if not body or content_encoding.strip().lower() not in ("", "identity"):
            return body
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            form = self.query(body.decode("latin-1")).encode("latin-1")
            return self._json(form)  # what calls itself a form is often JSON: curl -d says so of whatever it sends
        if kind.startswith("multipart/"):
            return self._multipart(body, content_type)
        if b"\0" in body:  # no text; what calls itself JSON and has this in it can't be looked through
            return _MASK if "json" in kind else body
        return self._json(mask_keys(body))

    def _parameter(self, match: re.Match[bytes]) -> bytes:
        name = unquote_to_bytes(match[1].replace(b"+", b" ")).decode("utf-8", "replace")
        # `user[password]` is how many programs nest them.
        secret = any(map(self.is_secret, re.split(r"[\[\].]", name)))
        if not secret and b"%22" in match[0]:  # JSON in a field, as chat services send what somebody clicked
            value = unquote_to_bytes(match[0][len(match[1]) + 1 :].replace(b"+", b" "))
            secret = self._json(value) != value
        return match[1] + b"=" + _MASK if secret else match[0]

    def _json(self, body: bytes) -> bytes:
        out: list[bytes] = []
        done = 0  # bytes of the body that are in `out`
        tokens = list(_TOKEN.finditer(body))
        place = 0
        while place < len(tokens):
            if place + 2 >= len(tokens) or not self._is_secret_key(tokens[place][0], tokens[place + 1][0]):
                token = tokens[place]
                if (inner := self._json_in_string(token[0])) is not None:
                    out += (body[done : token.start()], inner)
                    done = token.end()
                place += 1
                continue
            place += 2
            if tokens[place][0] in _NO_VALUE:
                continue
            out += (body[done : tokens[place].start()], _MASK_JSON)
            depth = 0
            while True:
                token = tokens[place]
                depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
                place += 1
                if depth <= 0 or place == len(tokens):
                    break
            done = token.end()
        return b"".join((*out, body[done:]))

    def _json_in_string(self, token: bytes) -> bytes | None:
        """A JSON string without the secrets of the JSON in it; None where it has none."""
        if b'\\"' not in token:
            return None
        text = _string(token).encode("utf-8", "surrogatepass")
        masked = self._json(text)
        return None if masked == text else json.dumps(masked.decode("utf-8", "surrogatepass")).encode("ascii")

    def _is_secret_key(self, token: bytes, following: bytes) -> bool:
        return following == b":" and token[:1] == b'"' and self.is_secret(_string(token))

    def _multipart(self, body: bytes, content_type: str) -> bytes:
        found = _BOUNDARY.search(content_type)
        if found is None:
            return _MASK
        boundary = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
        parts = body.split(boundary)
        for number, part in enumerate(parts):
            gap = _HEAD_END.search(part)
            if gap is None:
                continue
            head, content = part[: gap.end()], part[gap.end() :]
            field = _FIELD.search(head)
            name = "" if field is None else (field[1] or field[2] or b"").decode("utf-8", "replace")
            if any(map(self.is_secret, re.split(r"[\[\].]", name))):
                parts[number] = head + _MASK + (b"\r\n" if content.endswith(b"\r\n") else b"")
            else:
                parts[number] = head + (content if b"\0" in content else self._json(mask_keys(content)))
        return boundary.join(parts)


def _string(token: bytes) -> str:
    """What a JSON string says, also one that was cut off, in an escape as well."""
    cut = _CUT_ESCAPE.sub(rb"\1", token)
    for whole in (token, cut + b'"'):
        try:
            return str(json.loads(whole.decode("utf-8", "replace"), strict=False))
        except ValueError:
            pass
    return token.strip(b'"').decode("utf-8", "replace")

"""The traffic of visitors: requests of which no two heads are alike, and responses that differ too.

300 hosts in Zipf order. Path, query and referer differ, the browser is one of 60, cookies are 0.1 to 1.5 KB long and change
each time, and a third of the requests ask whether what they have is still fresh. Every run makes the same ones (a fixed
seed), so that all proxies and all ways of counting get the same work.
"""

import base64
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

HOSTS = 300
VISITS = 24_000
COOKIES = (100, 1500)  # bytes
BODIES = (1, 20)  # KiB
FRESH = "01234567"  # first digits of the ETags to which the backend answers 304: every second one
_CONDITIONAL = 1 / 3
_DATES = 1000  # responses of one second

# Sixty browsers: five systems, of each three browsers in four versions.
_SYSTEMS = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "iPhone; CPU iPhone OS 18_6 like Mac OS X",
    "Linux; Android 15; Pixel 9",
)
_FIREFOX = "Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
_CHROME = "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
_SAFARI = "Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{version}.1 Safari/605.1.15"
AGENTS = tuple(
    form.format(system=system, version=version)
    for system in _SYSTEMS
    for form, newest in ((_FIREFOX, 144), (_CHROME, 142), (_SAFARI, 26))
    for version in range(newest - 3, newest + 1)
)
_LANGUAGES = (
    "en-GB,en;q=0.7,de;q=0.3",
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.8",
    "fr-FR,fr;q=0.9",
    "pt-BR,pt;q=0.8",
)
# What is asked for: form of the target, Accept, Sec-Fetch-Dest, Sec-Fetch-Mode.
_PAGE = (
    "/{word}/{number}-{tail}",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "document",
    "navigate",
)
_KINDS = (
    _PAGE,
    ("/{word}?page={number}&sort=-created_at&filter={tail}", *_PAGE[1:]),
    ("/assets/{word}-{tail}.js?v={number}", "*/*", "script", "no-cors"),
    ("/images/{tail}/{number}.webp?w=640&q=75", "image/avif,image/webp,image/png,*/*;q=0.8", "image", "no-cors"),
    (
        "/api/v1/{word}/{number}?include=owner%2Ctags&cursor={tail}",
        "application/json, text/plain, */*",
        "empty",
        "cors",
    ),
)
_WORDS = ("articles", "projects", "users", "orders", "search", "checkout", "settings", "dashboard", "team", "invoices")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a visitor: `host` is the number of the host, and the `fields` those after Host."""

    host: int
    name: str
    target: str
    fields: tuple[tuple[str, str], ...]
    fresh: bool  # the backend answers that it has not changed

    @property
    def head(self) -> bytes:
        """As HTTP/1.1 has it."""
        lines = [
            f"GET {self.target} HTTP/1.1",
            f"Host: {self.name}",
            *(f"{name}: {value}" for name, value in self.fields),
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def visits(name: Callable[[int], str], count: int = VISITS) -> Iterator[Visit]:
    """The first `count` of them. `name` gives the name of a host by its number, 0 for the one that is asked most."""
    dice = random.Random(21)
    sums = list(accumulate(1 / rank for rank in range(1, HOSTS + 1)))
    for number in range(count):
        host = bisect(sums, dice.random() * sums[-1])
        yield _visit(dice, number, min(host, HOSTS - 1), name)


def _visit(dice: random.Random, number: int, host: int, name: Callable[[int], str]) -> Visit:
    form, accept, destination, mode = dice.choice(_KINDS)
    fields = [
        ("User-Agent", dice.choice(AGENTS)),
        ("Accept", accept),
        ("Accept-Language", dice.choice(_LANGUAGES)),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Referer", f"https://{name(host)}{_target(dice, dice.choice(_KINDS[:2])[0], number)}"),
        ("Sec-Fetch-Dest", destination),
        ("Sec-Fetch-Mode", mode),
        ("Sec-Fetch-Site", "same-origin"),
        ("Cookie", _cookie(dice)),
    ]
    tag = ""
    if dice.random() < _CONDITIONAL:
        tag = f"{dice.getrandbits(128):032x}"
        fields.append(("If-None-Match", f'"{tag}"'))
        fields.append(("If-Modified-Since", _date(-dice.randrange(1, 86_400))))
    return Visit(host, name(host), _target(dice, form, number), tuple(fields), is_fresh(tag))


def is_fresh(tag: str) -> bool:
    """Whether the backend answers 304 to this ETag."""
    return tag != "" and tag[0] in FRESH


def _target(dice: random.Random, form: str, number: int) -> str:
    return form.format(word=dice.choice(_WORDS), number=number, tail=f"{dice.getrandbits(40):010x}")


def _text(dice: random.Random, length: int) -> str:
    return base64.urlsafe_b64encode(dice.randbytes(length)).decode("ascii")[:length]


def _cookie(dice: random.Random) -> str:
    """Of a length between the two: what counts visits, then sessions and signed tokens until it is long enough."""
    wanted = dice.randint(*COOKIES)
    value = f"_ga=GA1.2.{dice.randrange(10**9)}.{dice.randrange(10**9)}; theme=dark; session={_text(dice, 32)}"
    number = 0
    while wanted - len(value) > 40:
        number += 1
        value += f"; token{number}={_text(dice, min(420, wanted - len(value) - 10))}"
    return value + _text(dice, wanted - len(value))


def _date(seconds: int) -> str:
    day, rest = divmod(seconds, 86_400)
    return (
        f"{'Sun' if day < 0 else 'Mon'}, {30 + day} Nov 2026 {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02} GMT"
    )


_BODY = b"".join(b"%063d\n" % line for line in range(BODIES[1] * 16))


def responses(asked: list[Visit]) -> Iterator[bytes]:
    """What the backend of the bench would answer, for counting without one: ETag and Set-Cookie differ each time, and Date
    each second."""
    dice = random.Random(22)
    for number, visit in enumerate(asked):
        size = 1024 * dice.randint(*BODIES)
        mark = f"{dice.getrandbits(128):032x}"
        lines = ["HTTP/1.1 304 Not Modified" if visit.fresh else "HTTP/1.1 200 OK"]
        lines += ["Server: nginx/1.22.1", f"Date: {_date(number // _DATES)}"]
        lines += [] if visit.fresh else ["Content-Type: text/html; charset=utf-8", f"Content-Length: {size}"]
        lines += ["Connection: keep-alive", f'ETag: "{mark}"', "Cache-Control: private, no-cache"]
        lines += [
            f"Set-Cookie: session={mark}; Path=/; HttpOnly; SameSite=Lax",
            "Vary: Accept-Encoding, Cookie",
            "",
            "",
        ]
        yield "\r\n".join(lines).encode("ascii") + (b"" if visit.fresh else _BODY[:size])

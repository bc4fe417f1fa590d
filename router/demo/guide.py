"""What the demo tells people: links to click and lines to paste."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from router.observe.endings import COMBINATIONS, COMPLETE

PLATFORM = "miosa.localhost"
TENANT_ZONE = "acme.localhost"
PROJECT_ZONE = "shop.acme.localhost"
CUSTOM_DOMAIN = "www.clinic.localhost"
NAP = "nap"  # a sandbox that sleeps
PRIVATE = "draft"  # one that only who has its link may open
STARTING = "later"  # a sandbox that never finishes starting
CLOSED_PORT = 3001

LOG = """The access log follows; Ctrl-C ends everything. A line is: time (UTC), status, ending, request, duration, bytes.
The ending is two letters: who ended the exchange and in which phase. `--` is complete; others are explained in brackets.

"""

_ACCESS_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d\d\d (?:\x1b\[\d+m)?(?:\d{3}|---)(?:\x1b\[0m)? (\S\S) ")


def explained(line: str) -> str:
    """A line of the router's log; where an exchange did not end as both sides wanted, with its ending in words."""
    found = _ACCESS_LINE.match(line)
    if found is None or found[1] == COMPLETE or found[1] not in COMBINATIONS:
        return line
    return f"{line} ({COMBINATIONS[found[1]]})"


@dataclass(frozen=True, slots=True)
class Place:
    """One thing to try. `refused`: the line is meant to fail, since the gate says no."""

    what: str
    url: str
    curl: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Guide:
    """The places of one run. `certificate` is the path of the CA's root; `resource_id` is that of the pages, `share_url` the private sandbox's link."""

    certificate: str
    api_key: str
    internal_token: str
    tenant_id: str
    resource_id: str
    https_port: int
    http_port: int
    api_port: int
    admin_port: int
    platform_port: int
    share_url: str

    def places(self) -> tuple[Place, ...]:
        return tuple(self._places())

    def _places(self) -> Iterator[Place]:
        api, admin = f"http://127.0.0.1:{self.api_port}", f"http://127.0.0.1:{self.admin_port}"
        yield self._page("a page, by its exact custom domain", CUSTOM_DOMAIN)
        yield self._page("the same, in the project's zone", f"pages.{PROJECT_ZONE}")
        yield self._page("the same, by port, on the platform's domain", f"3000-pages.sandbox.{PLATFORM}")
        upload = f"https://pages.{TENANT_ZONE}:{self.https_port}/"
        send = self._curl("-T", "-", upload + "upload")
        yield Place("an upload, in the tenant's zone", upload, f"head -c 50000000 /dev/zero | {send}")
        clock = f"https://clock.{TENANT_ZONE}:{self.https_port}/"
        yield Place("an event stream", clock, self._curl("-N", clock + "events?count=3"))
        echo = f"https://echo.{TENANT_ZONE}:{self.https_port}/"
        handshake = (
            *("-N", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"),
            *("-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: bWlvc2Etcm91dGVyLWRlbQ=="),
        )
        yield Place("a WebSocket", echo, self._curl("-i", *handshake, echo + "socket?say=hello", "-o", "-"))
        plain = f"http://pages.{PLATFORM}:{self.http_port}/"
        yield Place("plain HTTP, sent on to HTTPS", plain, f"curl -sSI {plain}")
        nobody = f"https://nobody.{PLATFORM}:{self.https_port}/"
        yield Place(
            "a name that leads nowhere: the gate refuses the certificate, the handshake fails",
            nobody,
            self._curl(nobody),
            refused=True,
        )
        yield self._page("a sandbox that sleeps: the visit wakes it, which takes some 3 s", f"{NAP}.{TENANT_ZONE}")
        sleep = f"http://127.0.0.1:{self.platform_port}/sleep"
        yield Place(
            "sending it to sleep again, as the platform does after 90 s without use", sleep, f"curl -sS -X POST {sleep}"
        )
        yield self._page("a private sandbox: strangers get a page that says so", f"{PRIVATE}.{TENANT_ZONE}")
        # The link sets a cookie and leads on to the page: -b "" has curl keep it for that.
        yield Place("the same, by its share link", self.share_url, self._curl("-L", "-b", "", self.share_url))
        yield self._page("a sandbox that is starting: the page tries again by itself", f"{STARTING}.{TENANT_ZONE}")
        yield self._page("a port on which nothing listens", f"{CLOSED_PORT}-pages.sandbox.{PLATFORM}")
        explain = f"{admin}/explain?host={CUSTOM_DOMAIN}"
        yield Place("why a name leads where it does", explain, shlex.join(["curl", "-sS", explain]))
        yield Place("metrics", f"{admin}/metrics", f"curl -sS {admin}/metrics")
        resource = f"{api}/internal/v1/resources/{self.resource_id}"
        token = ("-H", f"Authorization: Bearer {self.internal_token}")
        yield Place("the API, as the platform uses it", f"{api}/docs", shlex.join(["curl", "-sS", *token, resource]))

    def _page(self, what: str, host: str) -> Place:
        url = f"https://{host}:{self.https_port}/"
        return Place(what, url, self._curl(url))

    def _curl(self, *words: str) -> str:
        return shlex.join(["curl", "-sS", "--cacert", self.certificate, *words])

    def text(self) -> str:
        """For people at a terminal."""
        lines = [""]
        for place in self.places():
            lines += [f"{place.what}", f"  {place.url}", f"  {place.curl}", ""]
        lines += [
            f"API key of the tenant: {self.api_key}",
            f"A browser warns about the certificates, until it trusts {self.certificate}.",
            "",
        ]
        return "\n".join(lines) + "\n"

    def document(self) -> dict[str, object]:
        """For programs."""
        return {
            "api_key": self.api_key,
            "internal_token": self.internal_token,
            "tenant_id": self.tenant_id,
            "certificate": self.certificate,
            "ports": {
                "https": self.https_port,
                "http": self.http_port,
                "api": self.api_port,
                "admin": self.admin_port,
            },
            "places": [asdict(place) for place in self.places()],
        }

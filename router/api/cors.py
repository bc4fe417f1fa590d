"""Cross-origin requests: which programs in browsers may read our responses (the Fetch standard, "CORS protocol").

Callers show a key in a header, never a cookie, so no response ever allows credentials: a browser sends none of its own, and
another origin learns nothing that its program did not have a key for. The internal API sends no CORS headers.
"""

from collections.abc import Collection, Mapping

from aiohttp.web import BaseRequest

EVERYBODY = "*"
_FOR = "/api/v1/"
_DOCUMENT = "/openapi.json"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_TAKEN = "Authorization, Content-Type, Idempotency-Key, X-MIOSA-Tenant, X-MIOSA-Client-Id, X-Request-ID"
_SHOWN = "X-Request-ID, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Idempotent-Replayed"
_REMEMBERED = "600"  # seconds for which a browser may remember a preflight response


class Cors:
    """The headers that are added to responses, for the origins of the setting."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: BaseRequest) -> Mapping[str, str] | None:
        """The headers of the 204 that responds to a browser's preflight request; None for any other request."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        allowed = self.headers(request)
        if "Access-Control-Allow-Origin" not in allowed:
            return None
        return {
            **allowed,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _TAKEN,
            "Access-Control-Max-Age": _REMEMBERED,
        }

    def headers(self, request: BaseRequest) -> Mapping[str, str]:
        """The headers of any response to the request: none where no other origin may read it."""
        path = request.rel_url.raw_path
        if not self._origins or not (path.startswith(_FOR) or path == _DOCUMENT):
            return {}
        if EVERYBODY in self._origins:
            return {"Access-Control-Allow-Origin": EVERYBODY, "Access-Control-Expose-Headers": _SHOWN}
        origins = request.headers.getall("Origin", ())
        if len(origins) != 1 or origins[0] not in self._origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origins[0],
            "Access-Control-Expose-Headers": _SHOWN,
        }

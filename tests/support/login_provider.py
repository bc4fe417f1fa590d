"""A provider that people sign in at, of our own, so that it can lie: it gives a code for each visit to /authorize, and tokens
for each code, once."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.backends import Visit
from tests.support.identity_provider import RSA_KEY, IdentityProvider

CLIENT_ID = "miosa previews"
CLIENT_SECRET = "s€cret: of +the client%"


class LoginProvider(IdentityProvider):
    """`claims` go into every ID token beside the usual ones, where None takes one away; `userinfo` is what that endpoint says,
    None: there is none. `key`, `algorithm` and `kid` sign; `id_token` takes the place of the token. `answers` are what paths
    answer instead, as a status line and a body. `refusal` is what /authorize says instead of a code. `requests` are the forms
    and headers that came to the token endpoint."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self.claims: dict[str, Any] = {"email": "ada@example.com", "email_verified": True}
        self.userinfo: dict[str, Any] | None = None
        self.key: Any = RSA_KEY
        self.algorithm = "RS256"
        self.kid: str | None = "rsa"
        self.id_token: str | None = None
        self.more: dict[str, Any] = {}
        self.answers: dict[str, tuple[bytes, bytes]] = {}
        self.refusal: dict[str, str] = {}
        self.once = True
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.sign_ins = 0
        self._codes: dict[str, dict[str, str]] = {}

    def code(self, authorization_url: str) -> dict[str, str]:
        """What a visitor comes back with who was sent there: the query of the callback."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(authorization_url).query).items()}
        self.sign_ins += 1
        if self.refusal:
            return {**self.refusal, "state": asked["state"]}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    async def _answer(self, visit: Visit) -> None:
        path = urlsplit(visit.target.decode()).path
        if path in self.answers:
            self.asked.append(path)
            status, body = self.answers[path]
            await visit.answer(body, status, b"Location: https://127.0.0.1:1/", b"Connection: close")
        elif path == "/authorize":
            asked = f"{self.issuer}{visit.target.decode()}"
            back = parse_qs(urlsplit(asked).query)["redirect_uri"][0]
            location = f"Location: {back}?{urlencode(self.code(asked))}".encode()
            await visit.answer(b"", b"303 See Other", location, b"Connection: close")
        elif path == "/token":
            await self._exchange(visit)
        elif path == "/userinfo":
            self.asked.append(path)
            await visit.answer(json.dumps(self.userinfo).encode(), b"200 OK", b"Connection: close")
        else:
            endpoints = {name: f"{self.issuer}/{name.partition('_')[0]}" for name in ("token_endpoint",)}
            endpoints["authorization_endpoint"] = f"{self.issuer}/authorize"
            if self.userinfo is not None:
                endpoints["userinfo_endpoint"] = f"{self.issuer}/userinfo"
            self.document = {**endpoints, **self.more}
            await super()._answer(visit)

    async def _exchange(self, visit: Visit) -> None:
        self.asked.append("/token")
        await asyncio.sleep(self.delay)
        body = b"".join([piece async for piece in visit.body()]).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.requests.append((form, visit.header(b"authorization") or b""))
        asked = self._codes.pop(form["code"], None) if self.once else self._codes.get(form["code"])
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        right = asked is not None and asked["code_challenge"] == challenge
        if asked is None or not right or asked["redirect_uri"] != form["redirect_uri"]:
            body = json.dumps({"error": "invalid_grant"})
            await visit.answer(body.encode(), b"400 Bad Request", b"Connection: close")
            return
        now = int(time.time())
        usual = {"aud": asked["client_id"], "sub": "ada", "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        token = self.id_token or self.token(claims, self.key, self.algorithm, kid=self.kid)
        answer = {"access_token": "access", "token_type": "Bearer", "id_token": token}
        await visit.answer(json.dumps(answer).encode(), b"200 OK", b"Connection: close")

"""Which headers only a proxy in front may say, and which are a program's own."""

import pytest

from router.base.proxy_only_headers import BEGINNINGS, NAMES, is_asserted, twin

ASSERTED = [
    "Client-Cert",
    "Client-Cert-Chain",
    "X-SSL-Client-Cert",
    "X-SSL-Client-Verify",
    "X-SSL-CERT",
    "SSL-Client-Subject-DN",
    "SSL_CLIENT_VERIFY",
    "X-Client-Cert",
    "X-Client-Cert-DN",
    "X-Client-Verify",
    "X-Client-DN",
    "X-Forwarded-Client-Cert",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "Fastly-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Real-IP",
    "Forwarded-For",
    "X-Forwarded",
    "Front-End-HTTPS",
    "Proxy",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Remote-User",
    "X-Remote-User",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Amzn-Oidc-Identity",
    "x-amzn-oidc-data",
    "X-Auth-Request-Email",
    "Tailscale-User-Login",
    "x_client_ip",
    "X-Client_IP",
    "x.real.ip",
    "REMOTE_USER",
]

OWN = [
    "Accept",
    "Authorization",
    "Cookie",
    "Date",
    "From",
    "Client-Version",
    "X-Client",
    "X-Client-Id",
    "X-Client-Version",
    "X-Client-Trace-Id",
    "X-User",
    "X-User-Id",
    "X-Original-Filename",
    "X-Remote-Config",
    "X-SSL",
    "SSL",
    "X-HTTP-Method-Override",
    "X-Requested-With",
    "X-Amzn-Trace-Id",
    "X-Amz-Date",
    "CF-Ray",
    "CF-IPCountry",
    "CF-Access-Client-Id",
    "CF-Access-Client-Secret",
    "X-Goog-Api-Key",
    "X-Api-Key",
    "X-CSRF-Token",
    "Traceparent",
    "X-B3-TraceId",
    "Sec-WebSocket-Key",
]


@pytest.mark.parametrize("name", ASSERTED)
def test_what_only_a_proxy_may_say(name: str) -> None:
    """In any case, and as CGI, WSGI or PHP would read it."""
    assert is_asserted(twin(name.encode()))


@pytest.mark.parametrize("name", OWN)
def test_what_is_a_program_s_own(name: str) -> None:
    """Names that only look alike pass: many programs have their own."""
    assert not is_asserted(twin(name.encode()))


def test_every_row_has_a_reason_and_is_spelled_as_it_is_read() -> None:
    """A table of names, what each says, and whose it is."""
    for name, (what, whose) in (NAMES | BEGINNINGS).items():
        assert (twin(name), bool(what), bool(whose)) == (name, True, True)
    assert not [name for name in NAMES if name.startswith(tuple(BEGINNINGS))]

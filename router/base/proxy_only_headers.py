"""Request headers that are worth something only if a proxy in front has written them, and that anybody can send.

Programs believe them: that is what they are for. A proxy that speaks them removes what its visitors send; behind one
that does not, a visitor says who they are. So they are dropped, unless the settings name them for a trusted proxy
(`trusted_headers`). What is here is somebody's documented convention, with its source; a program's own headers pass.
"""

import re
from collections.abc import Mapping
from typing import Final

# How a name is read by CGI, WSGI and their like: as an environment variable, in which `-`, `_` and `.` are the same.
_TWIN: Final = re.compile(rb"[^0-9a-z]")

_CERTIFICATE: Final = "the client's certificate"
_ADDRESS: Final = "the client's address"
_TARGET: Final = "what was asked for"
_USER: Final = "who is logged in"
_SURROUNDINGS: Final = "where the program runs"

# What each says, and whose it is. The same for names that only begin so, below.
NAMES: Final[Mapping[bytes, tuple[str, str]]] = {
    b"client-cert": (_CERTIFICATE, "RFC 9440"),
    b"client-cert-chain": (_CERTIFICATE, "RFC 9440"),
    b"x-client-dn": (_CERTIFICATE, "guides for nginx"),
    b"x-client-verify": (_CERTIFICATE, "guides for nginx"),
    b"x-arr-clientcert": (_CERTIFICATE, "Azure App Service"),
    b"true-client-ip": (_ADDRESS, "Akamai, Cloudflare"),
    b"cf-connecting-ip": (_ADDRESS, "Cloudflare"),
    b"cf-connecting-ipv6": (_ADDRESS, "Cloudflare"),
    b"cf-pseudo-ipv4": (_ADDRESS, "Cloudflare"),
    b"fastly-client-ip": (_ADDRESS, "Fastly"),
    b"fly-client-ip": (_ADDRESS, "Fly.io"),
    b"do-connecting-ip": (_ADDRESS, "DigitalOcean"),
    b"x-nf-client-connection-ip": (_ADDRESS, "Netlify"),
    b"x-azure-clientip": (_ADDRESS, "Azure Front Door"),
    b"x-azure-socketip": (_ADDRESS, "Azure Front Door"),
    b"x-appengine-user-ip": (_ADDRESS, "Google App Engine"),
    b"x-envoy-external-address": (_ADDRESS, "Envoy"),
    b"x-client-ip": (_ADDRESS, "Apache's mod_remoteip"),
    b"x-cluster-client-ip": (_ADDRESS, "Riverbed, Rackspace"),
    b"x-real-ip": (_ADDRESS, "nginx"),
    b"x-remote-ip": (_ADDRESS, "Express and others"),
    b"x-remote-addr": (_ADDRESS, "Express and others"),
    b"x-originating-ip": (_ADDRESS, "mail and proxies"),
    b"x-forwarded": (_ADDRESS, "request-ip for Node"),
    b"forwarded-for": (_ADDRESS, "request-ip for Node"),
    b"appengine-user-ip": (_ADDRESS, "request-ip for Node"),
    b"x-vercel-forwarded-for": (_ADDRESS, "Vercel"),
    b"cloudfront-viewer-address": (_ADDRESS, "Amazon CloudFront"),
    b"client-ip": (_ADDRESS, "PHP's HTTP_CLIENT_IP"),
    b"proxy-client-ip": (_ADDRESS, "WebLogic"),
    b"wl-proxy-client-ip": (_ADDRESS, "WebLogic"),
    b"x-original-url": (_TARGET, "IIS, Symfony, Zend"),
    b"x-rewrite-url": (_TARGET, "IIS, Symfony, Zend"),
    b"x-original-uri": (_TARGET, "ingress-nginx"),
    b"x-original-host": (_TARGET, "Azure Application Gateway"),
    b"x-envoy-original-path": (_TARGET, "Envoy"),
    b"front-end-https": (_TARGET, "Microsoft: that it came over TLS"),
    b"x-url-scheme": (_TARGET, "as X-Forwarded-Proto, older servers"),
    b"cf-visitor": (_TARGET, "Cloudflare: the scheme"),
    b"proxy": (_SURROUNDINGS, "httpoxy: CGI makes it HTTP_PROXY, and a program dials through that"),
    b"remote-user": (_USER, "CGI's REMOTE_USER, Authelia"),
    b"remote-groups": (_USER, "Authelia"),
    b"remote-name": (_USER, "Authelia"),
    b"remote-email": (_USER, "Authelia"),
    b"x-remote-user": (_USER, "Kubernetes, Apache"),
    b"x-remote-group": (_USER, "Kubernetes"),
    b"x-authenticated-user": (_USER, "gateways"),
    b"x-webauth-user": (_USER, "Grafana, Gitea"),
    b"cf-access-jwt-assertion": (_USER, "Cloudflare Access"),
    b"cf-access-authenticated-user-email": (_USER, "Cloudflare Access"),
    b"x-goog-iap-jwt-assertion": (_USER, "Google IAP"),
}
BEGINNINGS: Final[Mapping[bytes, tuple[str, str]]] = {
    b"x-forwarded-": (_USER, "oauth2-proxy, Envoy, Traefik: X-Forwarded-User, -Email, -Groups, -Client-Cert"),
    b"x-ssl-": (_CERTIFICATE, "Apache, HAProxy, F5: X-SSL-Client-Cert, -Verify, -CN"),
    b"ssl-client-": (_CERTIFICATE, "ingress-nginx, Apache's SSL_CLIENT_*"),
    b"x-client-cert": (_CERTIFICATE, "guides for nginx, AWS"),
    b"x-client-ssl-": (_CERTIFICATE, "Envoy, Istio, Google"),
    b"x-amzn-mtls-": (_CERTIFICATE, "AWS Application Load Balancer"),
    b"x-amzn-oidc-": (_USER, "AWS Application Load Balancer"),
    b"x-auth-request-": (_USER, "oauth2-proxy"),
    b"x-authentik-": (_USER, "authentik"),
    b"x-goog-authenticated-user-": (_USER, "Google IAP"),
    b"x-ms-client-principal": (_USER, "Azure App Service"),
    b"x-remote-extra-": (_USER, "Kubernetes"),
    b"tailscale-user-": (_USER, "Tailscale Serve"),
}
_BEGINNINGS: Final = tuple(BEGINNINGS)


def twin(name: bytes) -> bytes:
    """The name in lower case as programs read it: what they don't tell apart is the same here."""
    return _TWIN.sub(b"-", name.lower())


def is_asserted(name: bytes) -> bool:
    """Whether a header of this name, given by its `twin`, is one of these."""
    return name in NAMES or name.startswith(_BEGINNINGS)

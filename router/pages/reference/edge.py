"""The codes that visitors of a preview, a deployment or a domain get, in the order of their status."""

from collections.abc import Mapping
from types import MappingProxyType

from router.pages.reference.entry import Entry, Foreign

_REPEATED = "If it is the same for everybody, a proxy in front of the router is missing in `trusted_proxies`."

EDGE: Mapping[str, Entry] = MappingProxyType(
    {
        "bad_request": Entry(
            "A header or the framing of the body breaks RFC 9110 or RFC 9112, or could be read in two ways (two `Content-Length`, a "
            "space before a colon, a bare line feed). The router refuses such requests and repairs none. With `reason` `form_wrong` "
            "the form of a password was not sent by the router's own page.",
            visitor="Reload the page. If it goes on, try without browser extensions and without a proxy.",
            developer="Send the request with a current HTTP library. Build no header lines by hand.",
            operator="`miosa-router explain HOST` lists the refused requests of a host with the reason of each.",
        ),
        "invalid_host": Entry(
            "The request has no `Host`, several, or one that is no host name: an underscore at a wrong place, an IP address, a port "
            "that is no number.",
            visitor="Check the address that you typed.",
            developer="Send exactly one `Host` header, with the name and, where it is not the usual one, the port.",
        ),
        "host_not_found": Entry(
            "The name is not registered, the custom domain has not been verified, no resource has that slug, or the port is not "
            "exposed. What exists and is hidden from strangers gets the same answer. With `reason` `no_certificate` the request came by plain HTTP "
            "for a name that can't get a certificate either.",
            visitor="Check the spelling of the link, or ask whoever sent it.",
            developer="Look up the domain's state (`GET /api/v1/custom-domains`), its diagnosis (`…/diagnose`), and whether the port is "
            "exposed. See the page on domains that are not verified.",
            operator="`miosa-router explain HOST` shows each step from the host to its backend and the one that failed.",
        ),
        "token_missing": Entry(
            "The preview is not public, and the request has no link, cookie, sign-in, preview token or API key that opens it.",
            visitor="Open the link that the owner shared with you, type the preview's password, or sign in where the page offers it.",
            developer="Programs send `X-Miosa-Preview-Token`, or an API key that reaches the resource as `Authorization: Bearer`. To open "
            "the preview to everybody, set its `visibility` to `public`.",
            operator="`miosa-router explain HOST` shows the visibility and where it is set: the preview, its resource or its tenant.",
        ),
        "token_wrong": Entry(
            "The link, token, key or cookie belongs to another preview or was cut off when it was copied. With `reason` "
            "`several_tokens` the request has several different tokens, and the router checks none of them.",
            visitor="Copy the whole link again, or ask the owner for a new one.",
            developer="Send one token, in one place. List the preview's tokens and check the name of the one that you use.",
            operator="Many at once after `keys rotate-signing` are cookies of the key that was replaced.",
        ),
        "token_expired": Entry(
            "The link, token or session was valid until a time that has passed.",
            visitor="Ask the owner for a new link.",
            developer="Create a new share link or token. `ttl_seconds` says how long it is valid.",
        ),
        "token_revoked": Entry(
            "The owner has revoked the link or token, has changed the password, or the link works a single time and was used.",
            visitor="Ask the owner for a new link.",
            developer="Create a new share link or token.",
        ),
        "address_not_allowed": Entry(
            "The preview has `networks`, and the visitor's address is in none of them.",
            visitor="Connect from an allowed network, such as your company's VPN.",
            developer="Add the network to the preview's `networks`.",
            operator=f"{_REPEATED} A load balancer in front has to pass the visitors' addresses on.",
        ),
        "origin_not_allowed": Entry(
            "A page of another site sent a request that changes something, or opened a WebSocket, with nothing but the preview's "
            "cookie; or its CORS preflight asks for an origin that the preview does not allow.",
            developer="Add the site to the preview's `cors_origins`, or send a preview token with each request.",
        ),
        "login_not_allowed": Entry(
            "The visitor has signed in at the tenant's identity provider, and the tenant's `email_domains` and `groups` do not let "
            "this account in, or the provider has not verified its e-mail address.",
            visitor="Sign in with another account, or ask the team to let yours in.",
            developer="Check `email_domains` and `groups` of the tenant's login.",
            operator="The log event `login not allowed` has the tenant and whether the address is verified.",
        ),
        "login_failed": Entry(
            "The sign-in took longer than ten minutes, came back in another browser, used a link twice, was cancelled at the "
            "provider, or the provider's ID token proves nothing.",
            visitor="Open the preview again and sign in from there.",
            operator="The log event `login failed` has the tenant and the reason.",
        ),
        "identity_provider_unavailable": Entry(
            "The tenant's identity provider does not answer in time, answers with something invalid, or refuses the client "
            "(`invalid_client`: a wrong `client_secret`). With `reason` `ci_system` it is the issuer of a CI token whose keys can't be fetched.",
            visitor="Try again in a minute.",
            developer="Check the issuer, client and secret of the tenant's login, or the trusted issuer of the CI system.",
            operator="The log events `identity provider unavailable` and `identity provider can't be used` say what was wrong.",
        ),
        "preview_expired": Entry(
            "The preview's `expires_at` has passed.",
            visitor="Ask the owner to extend it.",
            developer="Set a later `expires_at`, or none.",
        ),
        "too_early": Entry(
            "The request came in early data of TLS 1.3, which an attacker can send again, and it would have used up a link that works "
            "once or (`reason` `wake`) woken a machine.",
            visitor="Nothing: browsers send the request again by themselves.",
            developer="On status 425 send the request again after the handshake (RFC 8470).",
        ),
        "password_wrong": Entry(
            "The password that was typed is not the preview's.",
            visitor="Check capitals and the keyboard's language, or ask the owner.",
            developer="Set a new password with `PUT …/password`. That ends the access of everybody who used the old one.",
        ),
        "too_many_tries": Entry(
            "More than five passwords in a minute from one address, or a hundred in an hour for one preview. Nodes count together.",
            visitor="Wait for the time that the page shows, or open a share link.",
            operator=_REPEATED,
        ),
        "method_not_allowed": Entry(
            "The path belongs to the router and does not take that method. In the API the header `Allow` lists those that it takes.",
            developer="Use a method that the reference of the API lists for this path.",
        ),
        "request_timeout": Entry(
            "The head or the body of the request stopped arriving: a slow or broken connection, or a client that announced more "
            "bytes than it sent.",
            visitor="Check the connection and send it again.",
            developer="Send what `Content-Length` announces. Retry with a backoff.",
            operator="The limits are `limits.request_head` and `limits.body_idle`.",
        ),
        "resource_deleted": Entry(
            "The sandbox, computer or deployment was deleted. Nobody else gets its slug until `removed_retention` is over.",
            developer="Create it again, and share its new address.",
        ),
        "payload_too_large": Entry(
            "The body is larger than the limit: 10 MB in the API. The router streams bodies to previews without a limit of its own, "
            "but for its own forms.",
            developer="Send less, or in parts.",
        ),
        "uri_too_long": Entry(
            "The request line is longer than the router reads.",
            developer="Send what is long in the body of a POST.",
        ),
        "expectation_failed": Entry(
            "The header `Expect` has something else than `100-continue`.",
            developer="Remove the header.",
        ),
        "too_many_requests": Entry(
            "More requests at once than a resource, its tenant or one address may have, and no place became free in time; or more "
            "WebSockets than a resource may have. With `reason` `too_many_logins` more sign-ins from one network in a minute than are allowed.",
            visitor="Wait a moment and reload.",
            developer="Answer faster, or send fewer requests at once. Retry after `Retry-After`, with a backoff.",
            operator="The limits are `limits.exchanges_per_resource`, `queue_time`, `queue_per_resource`, `tunnels_per_resource`, "
            "`exchanges_per_tenant` and `exchanges_per_address`.",
        ),
        "headers_too_large": Entry(
            "The headers of the request are too large or too many. Mostly these are cookies.",
            visitor="Clear the cookies of this site.",
            developer="Set fewer and smaller cookies.",
        ),
        "blocked": Entry(
            "An operator has blocked the host, the resource or the tenant.",
            developer="Contact support with the request id.",
            operator="`miosa-router blocks list` shows why and by whom. `miosa-router unblock` ends it.",
        ),
        "method_not_implemented": Entry(
            "The router does not know the method, or does not serve it: `CONNECT`.",
            developer="Use a method of RFC 9110 or one that is registered.",
        ),
        "port_closed": Entry(
            "Nothing listens on the port: the program has not started, has ended, or uses another port (`listens_elsewhere`). Or it "
            "listens on 127.0.0.1 only (`listens_on_loopback`), which the router can't reach.",
            visitor="Wait: the page tries again by itself.",
            developer="Start the program, bind it to 0.0.0.0 and not to 127.0.0.1 or localhost, and check the port. `npm run dev -- --host "
            "0.0.0.0` does it for Vite.",
            operator="`miosa-router explain HOST` shows the address and port that the router dials.",
        ),
        "bad_backend_response": Entry(
            "The program closed the connection before it answered (`connection_closed`: it crashed, or expects TLS), speaks another "
            "protocol (`speaks_tls`, `speaks_ssh`, `speaks_http2`, `speaks_another_protocol`), or sent an answer that is not valid HTTP.",
            developer="Read the program's log. Set the port's `scheme` to `https` where it speaks TLS, and its `protocol` to `h2c` where it "
            "is a gRPC server.",
            operator="The ending is `BH`. The log event `backend's response refused` and `miosa-router explain HOST` have the reason.",
        ),
        "tls_expected": Entry(
            "The port's `scheme` is `https`, and the program made no TLS handshake.",
            developer="Set the `scheme` to `http`, or give the program a certificate. The router accepts any.",
        ),
        "wrong_protocol": Entry(
            "The port's `protocol` is `h2c`, and the program did not answer in HTTP/2.",
            developer="Set the `protocol` to `http1`, or start a server that speaks HTTP/2 without TLS.",
        ),
        "starting": Entry(
            "The platform reported that the resource starts.",
            visitor="Wait: the page reloads by itself.",
            developer="Retry after `Retry-After`.",
            operator="If it stays so, check the state that the platform reported: `miosa-router endpoints get ID`.",
        ),
        "stopped": Entry(
            "The resource is stopped, and visits do not wake it.",
            developer="Start it from the console or the API. `wake` of the resource says whether visits start it.",
        ),
        "wake_failed": Entry(
            "The platform did not answer the call that wakes the machine, or the machine did not run, or its port did not open, "
            "within `wake.budget`.",
            visitor="Try again in a moment.",
            developer="Start it from the console and read its log: the program may fail at its start.",
            operator="See “A machine does not wake” in the runbook.",
        ),
        "wake_queue_full": Entry(
            "As many machines as `wake.queue` allows wait to be woken already, so the router did not ask for this one.",
            visitor="Try again in a moment.",
            operator='`wakes_total{result="full"}` counts these. Check why the platform wakes slowly.',
        ),
        "wake_not_possible": Entry(
            "The platform answered 409: the machine can't be woken now, because it is being moved, restored or built, for example.",
            visitor="Try again later.",
            developer="Start it from the console, which shows what keeps it from running.",
        ),
        "wake_refused": Entry(
            "The platform answered 403: a visit may not wake this machine.",
            visitor="Ask the owner to start it.",
            developer="Start it from the console or the API.",
        ),
        "wake_payment_required": Entry(
            "The platform answered 402: the owner's plan or balance does not let the machine start.",
            visitor="Tell the owner.",
            developer="Check the plan and the balance in the console.",
        ),
        "certificate_pending": Entry(
            "Plain HTTP for a domain whose certificate is being issued. With `reason` `caa_forbidden` the domain's CAA records forbid it, "
            "with `dns_not_pointing` its records did not lead to the router when they were last checked.",
            visitor="Wait a few seconds: the page reloads by itself.",
            developer="Diagnose the domain (`…/diagnose`): it names the record to change. `cert` of the domain has the state.",
            operator="See “No certificate” in the runbook.",
        ),
        "resolver_unavailable": Entry(
            "The router could not look up the host: the store does not answer, and the route is not cached.",
            visitor="Try again in a few seconds.",
            operator="See “The store is down” in the runbook. `miosa-router doctor` checks the store and Redis.",
        ),
        "draining": Entry(
            "The node is shutting down and takes no new requests.",
            visitor="Reload: another node answers.",
            operator="If visitors see it, Caddy still sends requests to this node. With several routers set `MIOSA_CADDY_HEALTH=readyz`.",
        ),
        "session_closed": Entry(
            "An operator of the platform closed this open request (`miosa-router cut`). The next one is served as ever.",
            visitor="Reload.",
            developer="Ask the platform why: it has an audit entry of it.",
            operator="The audit log says who did it (`session.cut`).",
        ),
        "overloaded": Entry(
            "A worker has as many connections as `limits.connections` or its file descriptors allow.",
            visitor="Try again shortly.",
            operator="Raise `LimitNOFILE` and `limits.connections`, or add workers. The log says which limit was reached.",
        ),
        "backend_timeout": Entry(
            "The program did not begin its answer in time. With `reason` `connect` its machine did not accept the connection within "
            "`limits.dial`.",
            developer="Read the program's log. Answer long requests at once and stream the rest, or raise the resource's timeout.",
            operator="The ending says which: `bD` while dialling, `bH` while waiting for the response.",
        ),
        "http_version_not_supported": Entry(
            "The request line has another version than HTTP/1.1 or HTTP/1.0.",
            developer="Use HTTP/1.1 or, through Caddy, HTTP/2 or HTTP/3.",
        ),
        "loop_detected": Entry(
            "The request passed through the router several times: the program behind the preview is a proxy to the preview's own "
            "address.",
            developer="Set the proxy's target to the program itself (127.0.0.1 and its port), not to the public address.",
        ),
    }
)

CADDY: Mapping[str, Foreign] = MappingProxyType(
    {
        "misdirected_request": Foreign(
            421,
            "The connection was opened for another name than the one that the request is for, so the request was not answered.",
            Entry(
                "A CDN or another proxy connects with one name in its TLS handshake (SNI) and asks for another in `Host`; or a client chose the "
                "address itself.",
                visitor="Nothing: browsers send the request again on another connection.",
                developer="Have the CDN send the visited name in both places. Connect by the name, not by an address.",
            ),
        ),
        "edge_unavailable": Foreign(
            503,
            "Caddy reached no router for eight seconds.",
            Entry(
                "The router is stopped, restarts, or can't be reached at the address that Caddy has.",
                visitor="Try again in a few seconds.",
                operator="`systemctl status miosa-router`, `/readyz` of each node, and `MIOSA_CADDY_PROXY`.",
            ),
        ),
    }
)

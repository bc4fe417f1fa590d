"""The codes of the REST API."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from router.pages.reference.entry import Entry

API: Mapping[str, Entry] = MappingProxyType(
    {
        "unauthorized": Entry(
            "No `Authorization: Bearer` header, a key that was revoked or has expired, or a key of another installation.",
            developer="Send a valid API key. `GET /api/v1/whoami` shows whose a key is.",
            operator="`miosa-router keys list` and `miosa-router keys create --tenant T`. `/internal/v1` takes `internal_token` only.",
        ),
        "forbidden": Entry(
            "The key is valid and may not do this: it is of another workspace or project, read-only, or not of the platform.",
            developer="Use a key of a wider scope.",
            operator="`miosa-router keys list` shows the scope of each key.",
        ),
        "malformed_json": Entry(
            "The body is not JSON, not UTF-8, or an object has a name twice.",
            developer="Send what a JSON library writes, encoded as UTF-8.",
        ),
        "not_found": Entry(
            "The path or the id does not exist, or belongs to somebody whom the key does not reach. Codes such as "
            "`sandbox_not_found` say which record of the path is missing.",
            developer="Check the id, and that the key belongs to the same organization, workspace or project.",
        ),
        "method_not_allowed": Entry(
            "The path exists and does not take that method. The header `Allow` lists those that it takes.",
            developer="Use a method that the reference of the API lists for this path.",
        ),
        "conflict": Entry(
            "What exists is in the way: a name or domain that is taken, a state in which this can't be done, or a limit on how many "
            "there may be. `error.message` says which.",
            developer="Read `error.message`, and `error.existing` or `error.claim` where they are there. Change the request, or remove what is in the way.",
        ),
        "payload_too_large": Entry("The body is larger than 10 MB.", developer="Send less."),
        "unsupported_media_type": Entry(
            "The request has a body and another `Content-Type` than `application/json`.",
            developer="Send `Content-Type: application/json`.",
        ),
        "VALIDATION_FAILED": Entry(
            "A field is missing, unknown, of the wrong type or out of its bounds.",
            developer="`error.fields` names each field and what is wrong with it. The reference of the API has the bounds.",
        ),
        "cname_not_found": Entry(
            "A check of the domain found no CNAME to the target, or another one. New records take minutes to reach all name servers.",
            developer="Add the record that `records` shows. `…/diagnose` says what DNS answers now and which record to change.",
        ),
        "proof_needed": Entry(
            "The domain leads to the router, and another account has or had it, or a wildcard record covers it, so the CNAME alone proves nothing.",
            developer="Add the TXT record of `error.proof`, and verify again.",
        ),
        "dns_unknown": Entry(
            "The domain's name servers did not answer in time or answered with an error. The state of the domain has not changed.",
            developer="Try again in a minute. If it lasts, ask the DNS provider.",
            operator="`miosa-router domains diagnose DOMAIN` shows which server failed and how.",
        ),
        "certificate_refused": Entry(
            "The uploaded certificate or key can't be used: wrong names, an incomplete chain, expired, a weak key.",
            developer="`error.findings` has each reason with a code and what to do. The page on certificates lists them all.",
        ),
        "checked_just_now": Entry(
            "The same domain was checked seconds ago, by you or somebody else.",
            developer="Wait for `Retry-After`. The router also checks by itself.",
        ),
        "idempotency_in_progress": Entry(
            "Another request with the same `Idempotency-Key` has not ended.",
            developer="Wait for `Retry-After`, then send the same request again: you get its answer.",
        ),
        "idempotency_key_reused": Entry(
            "The `Idempotency-Key` belongs to a request with another path or body.",
            developer="Make a new key, a UUID for example, for each new request. Use the same one only to repeat a request.",
        ),
        "invalid_idempotency_key": Entry(
            "The `Idempotency-Key` is empty, longer than 255 characters, not visible ASCII, or sent twice.",
            developer="Send a UUID.",
        ),
        "invalid_tenant": Entry(
            "`X-MIOSA-Tenant` was sent twice, is no id or slug, or was sent to `/internal/v1`.",
            developer="Send the id or the slug of one organization, once.",
        ),
        "tenant_not_found": Entry(
            "`X-MIOSA-Tenant` names no organization, or one that the key may not act for.",
            developer="Check the id or slug: `GET /api/v1/whoami` shows your own.",
            operator="`miosa-router tenants list`.",
        ),
        "WORKSPACE_REQUIRED": Entry(
            "A project was created without saying in which workspace.",
            developer="Send `workspace_id`, `workspace_slug` or `external_workspace_id`.",
        ),
        "WORKSPACE_NOT_FOUND": Entry(
            "The selector names no workspace of the organization.",
            developer="List the workspaces with `GET /api/v1/workspaces`.",
        ),
        "WORKSPACE_NAME_EXISTS": Entry(
            "A workspace of that name exists.",
            developer="Use it, or send `allow_duplicate_name: true`.",
        ),
        "not_served_here": Entry(
            "The path belongs to another service of the platform, which a gateway in front has to route there.",
            operator="Route the path to its service in front of the router.",
        ),
        "rate_limited": Entry(
            "The key has sent more requests than `rates` allow. `RateLimit-Remaining` and `RateLimit-Reset` say how many are left.",
            developer="Wait for `Retry-After`. Use the stream or webhooks in place of polling.",
            operator="The limits are the settings `rates.*`.",
        ),
        "internal_error": Entry(
            "A defect of the router.",
            developer="Try again. Contact support with the request id.",
            operator="The log has the exception under the same request id. Report it.",
        ),
        "unavailable": Entry(
            "The store does not answer.",
            developer="Try again after `Retry-After`. With an `Idempotency-Key` that is safe for every method.",
            operator="See “The store is down” in the runbook.",
        ),
    }
)

NOUNS: Final = (
    "api_key",
    "block",
    "build",
    "computer",
    "delivery",
    "deployment",
    "domain",
    "drain",
    "endpoint",
    "entry",
    "event",
    "issuer",
    "key",
    "port",
    "preview",
    "preview_domain",
    "project",
    "release",
    "request_log",
    "resource",
    "sandbox",
    "session",
    "share",
    "tenant",
    "token",
    "variable",
    "version",
    "webhook",
    "workspace",
)
"""What `<noun>_not_found` can be about: codes of their own, explained under `not_found`."""

"""Redirect policies: one of `www.example.com` and `example.com` sends its visitors to the other. Pure.

A policy belongs to the domain that it is set on and acts where that domain is the one to leave; on the other one it
says nothing, so that both may carry the same policy.
"""

import enum

STATUSES = frozenset({301, 302, 307, 308})
DEFAULT_STATUS = 308  # keeps the method, and browsers remember it

_WWW = "www."


class RedirectPolicy(enum.StrEnum):
    """Which of the pair is left for the other."""

    NONE = "none"
    WWW_TO_APEX = "www_to_apex"
    APEX_TO_WWW = "apex_to_www"


def redirect_target(fqdn: str, policy: RedirectPolicy) -> str | None:
    """The host that visitors of `fqdn` are sent to; None where it serves them itself."""
    bare = fqdn.removeprefix(_WWW)
    if policy is RedirectPolicy.WWW_TO_APEX and bare != fqdn and "." in bare:
        return bare
    if policy is RedirectPolicy.APEX_TO_WWW and bare == fqdn:
        return _WWW + fqdn
    return None

"""Rules of a name that a CDN hides: what keeps our challenge from coming back through it, and what its visitors meet.
The first that applies. Pure.

A CDN that speaks https to us needs a certificate of ours for the name; we get one only for a name that is verified; and it
is verified only once our challenge, which is plain HTTP, comes back. So a CDN that makes https of everything goes in a
circle. The way out is the name without the CDN, until the certificate is there.
"""

from collections.abc import Callable

from router.domains.checks.cdn import network_of
from router.domains.checks.challenge import Fetched
from router.domains.checks.judgement import NO_ANSWER, in_a_loop
from router.domains.diagnosis.findings import (
    Action,
    Context,
    Finding,
    Remedy,
    Severity,
    addresses_to_add,
    an_error,
    an_info,
    at_top,
    cname,
    target_of,
)
from router.domains.diagnosis.snapshot import DnsSnapshot, NameState
from router.routes.challenge import PATH

_SILENCE = {
    "timeout": "it did not answer in time",
    "refused": "it refuses connections",
    "tls": "the TLS handshake failed",
    "address_not_public": "it has no public address",
}
_REDIRECTS = {
    "redirect_loop": "to itself",
    "too_many_redirects": "more than twice",
    "redirected_elsewhere": "to another host",
}
_MISDIRECTED = 421


def front_of(state: NameState) -> str:
    """What stands before us."""
    return network_of(state.pointing.observed) or "the proxy before it"


def _hidden(state: NameState) -> str:
    network = network_of(state.pointing.observed)
    if network is not None:
        return f"{state.name} is proxied by {network}"
    return f"{state.name} leads to {', '.join(state.pointing.observed)}, which is not ours"


def _without_proxy(snapshot: DnsSnapshot, state: NameState) -> tuple[str, tuple[Remedy, ...]]:
    """What the record is to be without its proxy."""
    if snapshot.is_top(state):
        return f"be {at_top(snapshot).removesuffix(',')}", addresses_to_add(snapshot, state.name)
    return f"be a CNAME to {target_of(snapshot)}", (cname(snapshot, state.name, Action.CHANGE),)


def _how(fetched: Fetched) -> str:
    if fetched.status is not None:
        return f"status {fetched.status}"
    return _SILENCE.get(fetched.reason or "", "it can't be reached")


def _failed(fetched: Fetched) -> bool:
    return fetched.status is None or fetched.status >= 500


def _in_a_circle(snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    if not fetched.https or not (_failed(fetched) or fetched.reason == "redirected_elsewhere"):
        return None
    be, records = _without_proxy(snapshot, state)
    return an_error(
        "cdn_circle",
        f"{_hidden(state)}, and goes in a circle: {front_of(state)} sends our check on to https, where it gets no further "
        f"({_how(fetched)}), because we have no certificate for {state.name} before it is verified. Switch the proxy off "
        f"for this record (DNS only) and let it {be}, verify it, and switch the proxy on again once the domain is active.",
        *records,
    )


def _can_not_reach_us(snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    if fetched.status is None or fetched.status < 500:
        return None
    return an_error(
        "cdn_can_not_reach_us",
        f"{_hidden(state)}, and {front_of(state)} answers our check with status {fetched.status}: it can't reach us. Let it "
        f"connect to {target_of(snapshot)} by plain HTTP, at port 80, until the domain is active: before that we have no "
        f"certificate for {state.name}.",
    )


def _redirects(_snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    where = _REDIRECTS.get(fetched.reason or "")
    if where is None:
        return None
    return an_error(
        "cdn_redirects",
        f"{_hidden(state)}, and {front_of(state)} redirects our check {where}, in place of passing it on. Make an exception "
        f"from its redirects for {PATH}*.",
    )


def _refuses(_snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    if fetched.status not in NO_ANSWER:
        return None
    return an_error(
        "cdn_refuses",
        f"{_hidden(state)}, and {front_of(state)} refuses our check (status {fetched.status}). Let requests for {PATH}* "
        "through: no access rule, no challenge for bots, no password.",
    )


def _other_name(_snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    if fetched.problem is None and fetched.status != _MISDIRECTED:
        return None
    return an_error(
        "cdn_other_name",
        f"{_hidden(state)}, and {front_of(state)} passes requests on to us under another name. Let it send {state.name} as "
        "the Host header, and as the name of the TLS handshake (SNI).",
    )


def _silent(_snapshot: DnsSnapshot, state: NameState, fetched: Fetched) -> Finding | None:
    if fetched.status is not None:
        return None
    return an_error(
        "cdn_silent",
        f"{_hidden(state)}, and our check got no answer from there: {_how(fetched)}. Nothing changes because of that; see "
        "that the proxy is up for this name, and try again in a minute.",
    )


def _elsewhere(snapshot: DnsSnapshot, state: NameState, _fetched: Fetched) -> Finding:
    return an_error(
        "not_through_to_us",
        f"{_hidden(state)}, and our check does not reach us through {front_of(state)}. Set the server that it passes "
        f"requests on to (its origin) to {target_of(snapshot)}.",
    )


FETCH_RULES: tuple[Callable[[DnsSnapshot, NameState, Fetched], Finding | None], ...] = (
    _in_a_circle,
    _other_name,
    _can_not_reach_us,
    _redirects,
    _refuses,
    _silent,
    _elsewhere,
)


def proxied(snapshot: DnsSnapshot, state: NameState, context: Context) -> Finding | None:
    """Why a name does not lead to us through a CDN although its TXT record is there."""
    fetched = None if context.check is None else context.check.fetched
    if fetched is None or state.right:
        return None
    return next(filter(None, (rule(snapshot, state, fetched) for rule in FETCH_RULES)), None)


# Rules of a name that does lead to us through a CDN: what visitors get.


def _visitors_in_a_loop(_snapshot: DnsSnapshot, state: NameState, _context: Context, visit: Fetched) -> Finding | None:
    front = front_of(state)
    if in_a_loop(visit):
        return an_error(
            "redirect_loop",
            f"Visitors of {state.name} are redirected in a circle: {front} asks us by plain HTTP for what they ask for by "
            f"https, and we send plain HTTP to https. Let {front} connect to us by https (at Cloudflare: SSL/TLS mode "
            '"Full (strict)").',
        )
    if visit.status is None and visit.https:
        return Finding(
            code="redirect_loop",
            severity=Severity.WARNING,
            message=f"{front} passes plain HTTP on to us, which we redirect to https, and there we got no answer for "
            f"{state.name} ({_how(visit)}). Let {front} serve https and connect to us by https (at Cloudflare: SSL/TLS mode "
            '"Full (strict)"): by plain HTTP ("Flexible") visitors are redirected in a circle.',
        )
    return None


def _visitors_by_another_name(
    _snapshot: DnsSnapshot, state: NameState, context: Context, visit: Fetched
) -> Finding | None:
    refused = context.status == "active" and visit.https and visit.status is not None and visit.status >= 500
    if not refused and visit.problem != "host_not_found" and visit.status != _MISDIRECTED:
        return None
    front = front_of(state)
    return an_error(
        "cdn_other_name",
        f"Visitors of {state.name} do not reach us by https ({_how(visit)}): {front} connects to us under another name, for "
        f"which we have no certificate. Let it send {state.name} as the name of the TLS handshake (SNI) and as the Host "
        "header.",
    )


VISIT_RULES: tuple[Callable[[DnsSnapshot, NameState, Context, Fetched], Finding | None], ...] = (
    _visitors_in_a_loop,
    _visitors_by_another_name,
)


def works_through_cdn(snapshot: DnsSnapshot, state: NameState, context: Context) -> list[Finding]:
    """What is to be known of a name that leads to us through a CDN."""
    network = network_of(state.pointing.observed)
    if network is not None:
        hidden = f"{state.name} is proxied by {network}, which hides where it leads."
        told = f"{hidden} That works as long as {network} sends visitors on to {target_of(snapshot)}."
    else:
        there = ", ".join(state.pointing.observed)
        told = f"{state.name} leads to {there}, and through it to us. That works as long as it sends visitors on to us."
    found = [an_info("behind_cdn", told)]
    visit = None if context.check is None else context.check.visit
    if visit is not None:
        found += filter(
            None, [next(filter(None, (rule(snapshot, state, context, visit) for rule in VISIT_RULES)), None)]
        )
    return found

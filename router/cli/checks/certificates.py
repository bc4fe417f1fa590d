"""Certificates of customers' domains and zones that are near their end, by what the store has of them."""

from router.base.clock import iso
from router.certificates.held import Origin
from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known
from router.store.inspection import NearEnd

_SHOWN = 10  # by name


async def check(known: Known) -> Report:
    if isinstance(known.store, str) or known.store.rows is None:
        return Report(
            [
                unknown(
                    "certificates_unknown",
                    "the store could not be read",
                    "so it is not known which certificates are near their end",
                    "get the store to work, and run `doctor` again",
                )
            ]
        )
    near, now = known.store.rows.near_end, known.clock.now()
    findings = [_ending(one, ended=one.not_after <= now) for one in near[:_SHOWN]]
    if len(near) > _SHOWN:
        findings.append(
            error(
                "certificates_ending",
                f"{len(near) - _SHOWN} more certificates, or many more, are near their end",
                "so this is not about single domains",
                "look at Caddy's log and at the authority's status page (RUNBOOK, No certificate)",
            )
        )
    return Report(findings, "none that is known is near its end")


def _ending(one: NearEnd, *, ended: bool) -> Finding:
    make = error if ended else warning
    because = f", last failure: {one.last_error}" if one.last_error else ""
    advice = f"run `miosa-router domains diagnose {one.host}`, and see Caddy's log"
    so = "so browsers refuse the site" if ended else "so browsers will refuse the site from then on"
    subject = one.host
    if one.origin is Origin.MANAGED:
        subject = f"{one.host} and its hosts, which the router orders,"
        advice = f"run `miosa-router domains delegation {one.host}`: it shows why"
        so = "so each of its hosts needs a certificate of its own" + ("" if ended else " from then on")
    elif one.origin is Origin.UPLOADED:
        subject = f"{one.host}, which its owner has uploaded,"
        advice = (
            f"ask the owner for a new one; `miosa-router domains certificate {one.host.removeprefix('*.')}` shows it"
        )
        so = "so its hosts need another certificate from then on"
    return make(
        "certificate_ended" if ended else "certificate_ending",
        f"the certificate of {subject} {'ended' if ended else 'ends'} at {iso(one.not_after)} and was not renewed{because}",
        so,
        advice,
    )

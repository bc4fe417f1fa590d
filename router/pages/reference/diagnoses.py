"""The codes of a domain's diagnosis (`GET …/diagnose`, `miosa-router domains diagnose`), by what they are about."""

from collections.abc import Mapping
from types import MappingProxyType

from router.pages.reference.entry import Diagnosis

_PROOF = "Add the TXT record of the finding. It proves that the domain is yours, and verify succeeds then."

DIAGNOSES: Mapping[str, Diagnosis] = MappingProxyType(
    {
        "all_right": Diagnosis("DNS is as it should be.", "Nothing."),
        "not_verified": Diagnosis(
            "DNS is as it should be, and the domain has not been verified yet.", "Verify it now."
        ),
        "not_registered": Diagnosis(
            "The name is not registered here.", "Register it as a custom domain, or set it as a preview domain."
        ),
        "platform_zone": Diagnosis(
            "The name belongs to the platform.", "Its records are the operator's: `miosa-router doctor` checks them."
        ),
        "suspended": Diagnosis("An operator has suspended the domain.", "Contact support."),
        "held_by_another": Diagnosis(
            "Another account has the domain, or had it within the last 30 days.",
            "Remove it there. Or register it and add the TXT record of the claim, which hands it over to you.",
        ),
        # The name and its name servers.
        "domain_not_found": Diagnosis(
            "The registered domain does not exist in DNS.",
            "Register or renew it, or set its name servers at the registrar.",
        ),
        "name_servers_silent": Diagnosis(
            "The domain's name servers did not answer. Nothing has changed because of that.",
            "Try again in a few minutes. If it lasts, ask the DNS provider.",
        ),
        "name_servers_lame": Diagnosis(
            "The name servers at the registry are not in charge of the domain (lame delegation).",
            "Create the zone at the DNS provider, or set the provider's name servers at the registrar.",
        ),
        "dnssec_bogus": Diagnosis(
            "The DNSSEC signatures are invalid, so most resolvers refuse to answer.",
            "Have the provider sign the zone again, or delete the DS record at the registrar.",
        ),
        "not_authoritative": Diagnosis(
            "The name servers answer without the AA bit, which some resolvers don't accept.", "Ask the DNS provider."
        ),
        "servers_differ": Diagnosis(
            "The domain's name servers give different answers.",
            "Wait: a change reaches all of them within minutes. If it lasts for hours, ask the DNS provider.",
        ),
        # The record.
        "nothing_there": Diagnosis("The name has no record.", "Add the record of the finding."),
        "wrong_target": Diagnosis("The CNAME leads elsewhere.", "Change its value to the one of the finding."),
        "wrong_address": Diagnosis("The A or AAAA records lead elsewhere.", "Replace them with those of the finding."),
        "stray_address": Diagnosis(
            "The name leads to the router and also to other addresses, so some visitors end up there.",
            "Delete the A records that are not the router's.",
        ),
        "stray_aaaa": Diagnosis(
            "The name leads to the router, but its AAAA records lead elsewhere, so visitors with IPv6 end up there.",
            "Delete the AAAA records that are not the router's.",
        ),
        "doubled_name": Diagnosis(
            "The record is at `www.example.com.example.com`: the provider adds the domain to what is typed.",
            "Type the short name of the finding, `www` for example.",
        ),
        "target_doubled": Diagnosis(
            "The value ends with the domain itself: the provider adds it to a value without a dot at its end.",
            "Type the value with a dot at its end.",
        ),
        "several_cnames": Diagnosis(
            "The name has several CNAME records, and DNS allows one.", "Keep the one of the finding."
        ),
        "cname_loop": Diagnosis("The CNAME records lead in a circle.", "Change the first one to the target."),
        "cname_beside_others": Diagnosis(
            "A CNAME stands beside other records of the same name, which DNS forbids.", "Delete the other records."
        ),
        "apex_cname": Diagnosis(
            "A CNAME stands at the domain itself, beside its SOA and NS records.",
            "Use the provider's ALIAS or ANAME record, or A and AAAA records.",
        ),
        "below_dname": Diagnosis(
            "A DNAME above the name redirects all names below it.", "Delete the DNAME and add the CNAME."
        ),
        "https_record_elsewhere": Diagnosis(
            "An HTTPS (or SVCB) record leads browsers elsewhere, although the addresses are right.",
            "Delete the HTTPS record.",
        ),
        "wildcard_elsewhere": Diagnosis(
            "A wildcard record answers for the name, and leads elsewhere.", "Add a CNAME of its own for the name."
        ),
        "wildcard_missing": Diagnosis(
            "Of the two names of a preview domain, one leads to the router and the other has no record.",
            "Add the missing wildcard record.",
        ),
        "wildcard_hidden": Diagnosis(
            "A record below the name takes it out of the wildcard (RFC 4592), so it has no address.",
            "Add a CNAME for the name itself.",
        ),
        # Proofs of ownership.
        "challenge_missing": Diagnosis("The TXT record that proves ownership is missing.", _PROOF),
        "challenge_wrong": Diagnosis(
            "There is a TXT record at the right name with another value.", "Add one with the value of the finding."
        ),
        "challenge_doubled": Diagnosis(
            "The TXT record is at a name that ends twice with the domain.", "Type the short name of the finding."
        ),
        "challenge_by_wildcard": Diagnosis(
            "A wildcard answers for the TXT record, so every name has it and it proves nothing.",
            "Delete the wildcard's TXT record and add one at the name itself.",
        ),
        "proof_unknown": Diagnosis(
            "The name servers did not answer for neighbouring names, so it is not known whether a proof is needed.",
            "Add the TXT record, or try again in a minute.",
        ),
        "leads_to_another_account": Diagnosis("The CNAME has the token of another account.", _PROOF),
        "claimed_by_another_account": Diagnosis("Another account has registered the same name.", _PROOF),
        "recently_held_by_another_account": Diagnosis("Another account had the domain not long ago.", _PROOF),
        "inside_another_accounts_domain": Diagnosis("The name lies below a domain of another account.", _PROOF),
        "domain_used_by_another_account": Diagnosis(
            "Another account uses names of the same registered domain.", _PROOF
        ),
        "wildcard_record": Diagnosis("A wildcard record leads here, so everybody could claim names below it.", _PROOF),
        # CDNs and proxies.
        "behind_cdn": Diagnosis(
            "A CDN or proxy hides where the record leads.",
            "Works where the CDN passes requests on to the target. Else switch its proxy off for this record (DNS only).",
        ),
        "not_through_to_us": Diagnosis(
            "The CDN's origin server is another one.", "Set the origin to the target of the finding."
        ),
        "cdn_circle": Diagnosis(
            "The CDN redirects the check to https, for which there is no certificate before the domain is verified.",
            "Switch the proxy off, verify, and switch it on again once the domain is active.",
        ),
        "cdn_can_not_reach_us": Diagnosis(
            "The CDN answers the check with an error of its own.",
            "Let it connect to the target by plain HTTP, at port 80, until the domain is active.",
        ),
        "cdn_redirects": Diagnosis(
            "The CDN redirects the check.", "Exclude the path of the finding from its redirects."
        ),
        "cdn_refuses": Diagnosis(
            "The CDN refuses the check.",
            "Let the path of the finding through: no access rule, no bot challenge, no password.",
        ),
        "cdn_other_name": Diagnosis(
            "The CDN passes requests on under another name.", "Have it send the visited name as Host and as SNI."
        ),
        "cdn_silent": Diagnosis("The CDN did not answer the check.", "See that it is up for this name, and try again."),
        "redirect_loop": Diagnosis(
            "The CDN connects by plain HTTP, which is redirected to https, in a circle.",
            "Let it connect by https. At Cloudflare: SSL/TLS mode “Full (strict)”.",
        ),
        # Certificates.
        "caa_forbids": Diagnosis(
            "CAA records let no authority of the router issue.", "Add a CAA record that allows it, as the finding says."
        ),
        "caa_forbids_wildcard": Diagnosis(
            "CAA records (`issuewild`) forbid wildcard certificates, which a preview domain's certificate is.",
            "Allow the authority in `issuewild`, as the finding says.",
        ),
        "caa_unknown": Diagnosis(
            "The name servers did not answer for CAA, and authorities issue nothing without an answer.",
            "Ask the DNS provider to answer for CAA.",
        ),
        "certificate_failed": Diagnosis(
            "The authority refused a certificate; the finding has its reason.",
            "Do what the reason asks for. The router tries again by itself.",
        ),
        "certificate_rate_limited": Diagnosis(
            "A limit on certificates per week is reached.", "Nothing: it is tried again at the time of the finding."
        ),
        # The delegation of a preview domain's challenges.
        "delegation_missing": Diagnosis(
            "The preview domain has no CNAMEs for its `_acme-challenge` names, so each host gets a certificate of its own.",
            "Add both CNAMEs, and one certificate covers all hosts.",
        ),
        "delegation_partial": Diagnosis("One of the two `_acme-challenge` names has no record.", "Add its CNAME."),
        "delegation_elsewhere": Diagnosis("An `_acme-challenge` name leads elsewhere.", "Change its CNAME."),
        "delegation_of_another": Diagnosis(
            "An `_acme-challenge` name leads to the token of another zone or of an earlier owner.", "Change its CNAME."
        ),
        "delegation_several": Diagnosis(
            "An `_acme-challenge` name has several CNAMEs.", "Keep the one of the finding."
        ),
        "delegation_shadowed": Diagnosis(
            "An `_acme-challenge` name has records or name servers of its own, beside which no CNAME can be.",
            "Delete them and add the CNAME.",
        ),
        "delegation_doubled": Diagnosis(
            "The CNAME is at a name that ends twice with the domain.", "Type the short name of the finding."
        ),
        "delegation_target_doubled": Diagnosis(
            "The CNAME's value ends with the domain itself.", "Type the value with a dot at its end."
        ),
        "delegation_servers_differ": Diagnosis(
            "The name servers give different answers for an `_acme-challenge` name.", "Wait, or ask the DNS provider."
        ),
        "delegation_servers_silent": Diagnosis(
            "The name servers did not answer for an `_acme-challenge` name.",
            "Look for NS records at or above that name, or ask the DNS provider.",
        ),
    }
)

"""What can be said about a certificate that a customer brings: a public, stable code, and a sentence with what to do.

`REFUSALS` keep it from being taken; with `REMARKS` it is taken all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CHAIN, KEY = "certificate", "private_key"  # the fields of the API that a finding is about

REFUSALS: Final[Mapping[str, str]] = {
    # The text.
    "certificate_missing": "There is no certificate in this text. Send the PEM file that your authority gave you, from "
    "-----BEGIN CERTIFICATE----- to the end.",
    "not_pem": "This is not PEM text. If the file is binary (DER), convert it with "
    "`openssl x509 -inform DER -in FILE -out certificate.pem`.",
    "pem_broken": "A block of this text is damaged: {what}. Copy the whole file again, with its BEGIN and END lines.",
    "too_large": "This text has {size} characters, and may have {most}. Send only the certificate, its intermediates and the key.",
    "too_many_certificates": "There are {count} certificates, and there may be {most}. Send only yours and its intermediates.",
    "not_a_certificate": "This text also has a {what}, which is neither a certificate nor a private key. {remedy}",
    "certificate_unreadable": "Certificate {place} can't be read: {why}. Ask your authority for it in PEM format again.",
    # The key.
    "key_missing": "The private key is missing. Send the key that the certificate was requested with as private_key, or ask for "
    "a certificate with the request that POST …/certificate/csr gives you.",
    "several_keys": "There are {count} private keys, and there may be one: that of the certificate.",
    "key_encrypted": "The private key is encrypted with a password. Remove it with "
    "`openssl pkey -in FILE -out key.pem`, and send key.pem.",
    "key_unreadable": "The private key can't be read. Write it anew with `openssl pkey -in FILE -out key.pem`, and send key.pem.",
    "key_mismatch": "The private key is not that of the certificate. `openssl pkey -in FILE -pubout` and "
    "`openssl x509 -in FILE -noout -pubkey` print the same for a key and its certificate.",
    "kept_key_mismatch": "The certificate is not for the key that this router keeps for this domain. Get one for the request that "
    "POST …/certificate/csr gave you, or send its own private_key too.",
    "key_type": "The certificate's key is {what}, which browsers don't accept. Get a certificate for an RSA key of 2048 to "
    "4096 bits, or for one on the curve P-256 or P-384.",
    "key_weak": "The RSA key has {bits} bits, and browsers need 2048. Get a certificate for a key of 2048 to 4096 bits.",
    "key_too_large": "The RSA key has more than 4096 bits, which makes each handshake slow. Get a certificate for a key of 2048 to 4096 bits.",
    # The chain.
    "several_leaves": "Several of the certificates are for this key. Send the one that is to be served, and its intermediates.",
    "self_signed": "The certificate signs itself, so browsers warn of it. Get one from a certificate authority.",
    "leaf_is_authority": "The certificate for this key is that of an authority (CA:TRUE), which must not be served as a site's own. "
    "Send a certificate that was issued for the domain.",
    "chain_incomplete": "The intermediate certificate is missing: {subject} was issued by {issuer}, of which this text has no "
    "intermediate. Append it; your authority offers it as chain, bundle or fullchain. A certificate that a root has issued itself is not accepted.",
    "chain_ambiguous": "{subject} has several issuers in this text, and the order does not say which is meant. Send the chain in "
    "order: your certificate first, each one after it the issuer of the one before.",
    "chain_unrelated": "{subject} does not belong to the chain. Remove it from the text.",
    "chain_signature": "{subject} names {issuer} as its issuer, which did not sign it. Take the intermediates from the same authority "
    "and of the same time as the certificate.",
    "issuer_not_authority": "{subject} has issued a certificate of the chain, and is not allowed to (it has no CA:TRUE, or may not sign "
    "certificates, or not with so many below it). Take the intermediates that your authority offers.",
    "issuer_expired": "The intermediate {subject} is not valid now: it ended on {date}. Take the current one from your authority.",
    "issuer_not_yet_valid": "The intermediate {subject} is valid only from {date} on. Take the current one from your authority.",
    "issuer_key": "The key of {subject} can't be relied on: {what}. Take a chain whose keys are RSA of 2048 to 4096 bits, or on P-256, P-384 or P-521.",
    "signature_weak": "{subject} is signed with {what}, which browsers refuse. Get one that is signed with SHA-256 or better.",
    # The certificate.
    "expired": "The certificate ended on {date}. Renew it, and send the new one.",
    "not_yet_valid": "The certificate is valid only from {date} on. Send it then; if it is new, the clock that it was made by is ahead.",
    "ends_within_a_day": "The certificate ends on {date}, in less than 24 hours. Renew it, and send the new one.",
    "names_missing": "The certificate has no DNS names (subjectAltName), and browsers ignore its common name. Get one that names {wanted}.",
    "names_not_covered": "The certificate does not cover {wanted}: it is for {found}. Get one for {wanted}.",
    "must_staple": "The certificate demands OCSP stapling (must-staple, RFC 7633), so browsers refuse it whenever the authority's "
    "OCSP service is away, and authorities are closing theirs. Get one without it.",
    "no_server_auth": "The certificate is not for servers: its extended key usage does not have serverAuth. Get one for TLS servers.",
    "key_usage": "The certificate's key may not sign (its key usage does not have digitalSignature), which TLS needs. Get one for TLS servers.",
}

REMARKS: Final[Mapping[str, str]] = {
    "order_corrected": "The certificates were in another order, and were put right: yours first, each one after it the issuer of the "
    "one before.",
    "duplicate_left_out": "{subject} was there more than once, and is served once.",
    "root_left_out": "{subject} signs itself: browsers have such roots and ignore one that is sent, so it is left out.",
    "covers_zone_partly": "The certificate covers {covered} and not {missing}: hosts under {missing} get their certificates as before.",
    "ended": "The certificate ended on {date}, and is not served any more. Send a new one, or remove it.",
    "served_later": "Visitors still get the certificate by {issuer} that was there before: Caddy has it in memory until it is due for "
    "renewal, on {date}. Whoever operates the router can restart Caddy to serve yours now.",
    "key_lost": "The router can't open the certificate's key any more, so it is not served: the secrets_key that encrypted it is gone. Send "
    "the certificate and its key again.",
    "ends_soon": "The certificate ends on {date}, in less than 30 days. Renew it soon, and send the new one.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`field` is what it is about: `certificate` or `private_key`."""

    code: str
    field: str
    message: str


def refusal(code: str, field: str = CHAIN, **details: object) -> Finding:
    """One of `REFUSALS`."""
    return Finding(code, field, REFUSALS[code].format(**details))


def remark(code: str, **details: object) -> Finding:
    """One of `REMARKS`."""
    return Finding(code, CHAIN, REMARKS[code].format(**details))


class RefusedCertificateError(Exception):
    """A certificate is not taken, for all of `findings`."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(", ".join(finding.code for finding in findings))
        self.findings = tuple(findings)

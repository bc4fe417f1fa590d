"""What customers bring as certificates: what is taken, what is put right, and what is refused with which code."""

import base64
import contextlib
import datetime as dt
import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.certificates.findings import REFUSALS, REMARKS, RefusedCertificateError
from router.certificates.pem import Wanted, inspect
from router.certificates.pem_blocks import MAX_CERTIFICATES, MAX_TEXT
from tests.support.changed_certificate import VERSIONS, with_version
from tests.support.signer import NOW, Signer, key_pem, pem, root, rsa_key, self_signed

HOST = "shop.example.com"
ZONE = ("*.example.com", "*.sandbox.example.com")
FOR_HOST = Wanted.host(HOST)
FOR_ZONE = Wanted.zone("example.com")

ROOT = root()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.sign((HOST,), authority=False, signs=True)
GOOD = pem(LEAF.certificate, INTERMEDIATE.certificate)
KEY = key_pem(LEAF.key)
EC521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
CROSSED = root("Cross Root").intermediate("Test Intermediate", key=INTERMEDIATE.key)
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(LEAF.key, hashes.SHA256())
NUMBERS = rsa_key().private_numbers()


@dataclass(frozen=True)
class Case:
    """One upload. `codes` are what it is refused for; where that is empty it is taken, with `remarks`."""

    name: str
    texts: tuple[str, str | None] | Callable[[], tuple[str, str | None]]
    codes: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()
    wanted: Wanted = FOR_HOST
    names: tuple[str, ...] = (HOST,)

    def read(self) -> tuple[str, str | None]:
        return self.texts() if callable(self.texts) else self.texts


def issued(names: tuple[str, ...] = (HOST,), **changes: object) -> tuple[str, str]:
    """A chain for these names by the intermediate, and its key."""
    leaf = INTERMEDIATE.sign(names, **{"authority": False, **changes})  # type: ignore[arg-type]
    return pem(leaf.certificate, INTERMEDIATE.certificate), key_pem(leaf.key)


def below(signer: Signer, *above: Signer) -> tuple[str, str]:
    """A chain with a leaf of `signer`."""
    leaf = signer.sign((HOST,), authority=False)
    return pem(leaf.certificate, signer.certificate, *(one.certificate for one in above)), key_pem(leaf.key)


def alone(signer: Signer) -> tuple[str, str]:
    """One certificate and its key."""
    return pem(signer.certificate), key_pem(signer.key)


def block(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def changed_signature() -> tuple[str, str]:
    """A leaf whose last byte was changed."""
    raw = bytearray(der(LEAF.certificate))
    raw[-1] ^= 1
    return block("CERTIFICATE", bytes(raw)) + pem(INTERMEDIATE.certificate), KEY


def long_serial() -> tuple[str, str]:
    """A leaf whose serial number has 200 bytes, signed as it stands; `cryptography` makes none longer than RFC 5280 allows."""

    def field(tag: int, content: bytes) -> bytes:
        return bytes((tag, 0x82)) + len(content).to_bytes(2) + content

    tbs = LEAF.certificate.tbs_certificate_bytes
    body, version = tbs[4:], bytes.fromhex("a003020102")
    assert body.startswith(version)
    rest = body[len(version) + 2 + body[len(version) + 1] :]
    tbs = field(0x30, version + field(0x02, b"\x01" * 200) + rest)
    algorithm = der(LEAF.certificate)[4 + len(LEAF.certificate.tbs_certificate_bytes) :][:12]
    assert isinstance(INTERMEDIATE.key, ec.EllipticCurvePrivateKey)
    signature = INTERMEDIATE.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    whole = field(0x30, tbs + algorithm + field(0x03, b"\0" + signature))
    return block("CERTIFICATE", whole) + pem(INTERMEDIATE.certificate), KEY


def same_name_other_key() -> tuple[str, str]:
    return pem(LEAF.certificate, ROOT.intermediate().certificate), KEY


def deep() -> tuple[str, str]:
    """An intermediate with pathlen 0 that has issued another authority."""
    second = INTERMEDIATE.intermediate("Second")
    return below(second, INTERMEDIATE)


def three() -> tuple[Signer, Signer, Signer]:
    first = ROOT.intermediate("First", path_length=1)
    second = first.intermediate("Second")
    return first, second, second.sign((HOST,), authority=False)


def wrong_rsa(**changes: int) -> str:
    """The text of an RSA key with other numbers."""
    parts = {
        "p": NUMBERS.p,
        "q": NUMBERS.q,
        "d": NUMBERS.d,
        "dmp1": NUMBERS.dmp1,
        "dmq1": NUMBERS.dmq1,
        "iqmp": NUMBERS.iqmp,
        **changes,
    }
    made = rsa.RSAPrivateNumbers(**parts, public_numbers=NUMBERS.public_numbers)
    return key_pem(made.private_key(unsafe_skip_rsa_key_validation=True))


def weakly_signed(algorithm: int, of: int = 0) -> tuple[str, str]:
    """A chain in which one certificate says that it is signed with PKCS #1 number 4 (MD5) or 5 (SHA-1). `cryptography` signs with neither
    any more: the number of SHA-256 is replaced."""
    top = root(key=rsa_key())
    middle = top.intermediate(key=rsa_key())
    leaf = middle.sign((HOST,), authority=False)
    ders = [der(leaf.certificate), der(middle.certificate)]
    prefix = bytes.fromhex("06092a864886f70d0101")
    ders[of] = ders[of].replace(prefix + b"\x0b", prefix + bytes([algorithm]))
    return "".join(block("CERTIFICATE", one) for one in ders), key_pem(leaf.key)


def refused(name: str, texts: object, *codes: str, wanted: Wanted = FOR_HOST) -> Case:
    return Case(name, texts, frozenset(codes), wanted=wanted)  # type: ignore[arg-type]


def taken(name: str, texts: object, *remarks: str, wanted: Wanted = FOR_HOST, names: tuple[str, ...] = (HOST,)) -> Case:
    return Case(name, texts, remarks=remarks, wanted=wanted, names=names)  # type: ignore[arg-type]


def ordered(*places: int) -> Callable[[], tuple[str, str]]:
    """Leaf, second and first intermediate and root, in another order."""

    def texts() -> tuple[str, str]:
        first, second, leaf = three()
        all_of_them = (leaf, second, first, ROOT)
        return pem(*(all_of_them[place].certificate for place in places)), key_pem(leaf.key)

    return texts


TAKEN = [
    taken("a chain and its key", (GOOD, KEY)),
    taken("a key of RSA 2048", lambda: issued(key=rsa_key())),
    taken("a key of RSA 4096", lambda: issued(key=rsa_key(4096))),
    taken("a key on P-384", lambda: issued(key=ec.generate_private_key(ec.SECP384R1()))),
    taken("PKCS #1", lambda: (issued(key=rsa_key())[0], key_pem(rsa_key(), "TraditionalOpenSSL"))),
    taken("SEC 1", (GOOD, key_pem(LEAF.key, "TraditionalOpenSSL"))),
    taken("parameters before the key", (GOOD, block("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07") + KEY)),
    taken("the key in the same text", (GOOD + KEY, None)),
    taken("the key before the chain", (KEY + GOOD, None)),
    taken("an empty key beside the key in the chain", (GOOD + KEY, "")),
    taken("words between the blocks", (f"Bag Attributes: é\nsubject=x\n{GOOD}\ntrailing", f"\n# mine\n{KEY}")),
    taken("line ends of Windows", (GOOD.replace("\n", "\r\n"), KEY.replace("\n", "\r\n"))),
    taken("a byte order mark", ("\ufeff" + GOOD, "\ufeff" + KEY)),
    taken("lines without ends", (GOOD.replace("\n", " ").replace("-----BEGIN", "\n-----BEGIN"), KEY)),
    taken("X509 CERTIFICATE", (GOOD.replace("CERTIFICATE", "X509 CERTIFICATE"), KEY)),
    taken("a wildcard above the host", lambda: issued(("*.example.com",))),
    taken("capitals in a name", lambda: issued(("SHOP.example.COM",))),
    taken("other names beside it", lambda: issued(("www.example.org", HOST))),
    taken("both wildcards", lambda: issued(ZONE), wanted=FOR_ZONE, names=ZONE),
    taken("both and the zone", lambda: issued((*ZONE, "example.com")), wanted=FOR_ZONE, names=ZONE),
    taken("one", lambda: issued(ZONE[:1]), "covers_zone_partly", wanted=FOR_ZONE, names=ZONE[:1]),
    taken("the other", lambda: issued(ZONE[1:]), "covers_zone_partly", wanted=FOR_ZONE, names=ZONE[1:]),
    taken("two intermediates", ordered(0, 1, 2)),
    taken("with the root", ordered(0, 1, 2, 3), "root_left_out"),
    taken("backwards", ordered(2, 1, 0), "order_corrected"),
    taken("backwards with the root", ordered(3, 2, 1, 0), "order_corrected", "root_left_out"),
    taken("intermediates swapped", ordered(0, 2, 1), "order_corrected"),
    taken("the leaf last", ordered(1, 2, 0), "order_corrected"),
    taken("one twice", (GOOD + GOOD, KEY), "duplicate_left_out", "duplicate_left_out"),
    taken("23 days left", lambda: issued(days=(-60, 23)), "ends_soon"),
    taken("6 days, a whole life", lambda: issued(days=(-0.1, 6)), "ends_soon"),
    taken("without key usage", lambda: issued(signs=None)),
    taken("for clients too", lambda: issued(usages=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH))),
    taken("cross-signed, in order", (pem(LEAF.certificate, CROSSED.certificate), KEY)),
    taken("an intermediate of RSA", lambda: below(ROOT.intermediate(key=rsa_key()))),
]

TEXTS = [
    refused("nothing", ("", KEY), "certificate_missing"),
    refused("blanks", (" \n", KEY), "certificate_missing"),
    refused("a key alone", (KEY, None), "certificate_missing"),
    refused("words", ("hello", KEY), "not_pem"),
    refused("base64 without its lines", (base64.b64encode(der(LEAF.certificate)).decode(), KEY), "not_pem"),
    refused("no end", (GOOD.rpartition("-----END")[0], KEY), "pem_broken"),
    refused("not base64", (GOOD.replace("M", "!", 1), KEY), "pem_broken"),
    refused("half of the base64", (pem(LEAF.certificate)[:200] + "\n-----END CERTIFICATE-----", KEY), "pem_broken"),
    refused("4 MB", ("A" * (4 << 20), KEY), "too_large"),
    refused("4 MB of certificates", (GOOD * ((4 << 20) // len(GOOD)), KEY), "too_large"),
    refused("4 MB of key", (GOOD, "A" * (4 << 20)), "too_large"),
    refused("too many", (pem(*[INTERMEDIATE.certificate] * MAX_CERTIFICATES) + GOOD, KEY), "too_many_certificates"),
    refused("a request", (REQUEST.public_bytes(serialization.Encoding.PEM).decode(), KEY), "not_a_certificate"),
    refused("a public key for the key", (GOOD, block("PUBLIC KEY", b"x")), "not_a_certificate"),
    refused("an OpenSSH key", lambda: (GOOD, key_pem(LEAF.key, "OpenSSH")), "not_a_certificate"),
    refused("Diffie-Hellman parameters", (GOOD + block("DH PARAMETERS", b"x"), KEY), "not_a_certificate"),
    refused("a list of revoked ones", (GOOD + block("X509 CRL", b"x"), KEY), "not_a_certificate"),
    refused(
        "PKCS #7",
        lambda: (pkcs7.serialize_certificates([LEAF.certificate], serialization.Encoding.PEM).decode(), KEY),
        "not_a_certificate",
    ),
    refused(
        "PKCS #12 in base64",
        lambda: (
            base64.b64encode(
                pkcs12.serialize_key_and_certificates(
                    None, LEAF.key, LEAF.certificate, None, serialization.NoEncryption()
                )
            ).decode(),
            None,
        ),
        "not_pem",
    ),
    refused("a trusted certificate", (GOOD.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), KEY), "not_a_certificate"),
    refused("no certificate inside", (block("CERTIFICATE", b"hello"), KEY), "certificate_unreadable"),
    refused("bytes behind it", (block("CERTIFICATE", der(LEAF.certificate) + b"x"), KEY), "certificate_unreadable"),
    refused("a serial number without end", long_serial, "certificate_unreadable"),
    *(
        refused(f"version number {version}", (with_version(LEAF.certificate, version), KEY), "certificate_unreadable")
        for version in VERSIONS
    ),
    refused("half of one", (block("CERTIFICATE", der(LEAF.certificate)[:99]), KEY), "certificate_unreadable"),
    refused(
        "a broken extension",
        lambda: issued(extra=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), b"garbage"),)),
        "certificate_unreadable",
    ),
]

KEYS = [
    refused("no key", (GOOD, None), "key_missing"),
    refused("two keys", (GOOD, KEY + KEY), "several_keys"),
    refused("one in each text", (GOOD + KEY, KEY), "several_keys"),
    refused("with a password", (GOOD, key_pem(LEAF.key, password=b"x")), "key_encrypted"),
    refused("with a password, as before", (GOOD, key_pem(LEAF.key, "TraditionalOpenSSL", b"x")), "key_encrypted"),
    refused("words for a key", (GOOD, "hello"), "key_unreadable"),
    refused("a block of nothing", (GOOD, block("PRIVATE KEY", b"")), "key_unreadable"),
    refused("a certificate for a key", (GOOD, pem(LEAF.certificate)), "key_missing"),
    refused("a key of 9000 bytes", (GOOD, block("RSA PRIVATE KEY", b"0" * 9000)), "key_too_large"),
    refused(
        "RSA with a wrong exponent", lambda: (issued(key=rsa_key())[0], wrong_rsa(d=NUMBERS.d + 2)), "key_unreadable"
    ),
    refused(
        "RSA with a wrong part", lambda: (issued(key=rsa_key())[0], wrong_rsa(dmp1=NUMBERS.dmp1 + 2)), "key_unreadable"
    ),
    refused("another key", (GOOD, key_pem(ec.generate_private_key(ec.SECP256R1()))), "key_mismatch"),
    refused("another kind of key", lambda: (GOOD, key_pem(rsa_key())), "key_mismatch"),
    refused("the intermediate's key", (GOOD, key_pem(INTERMEDIATE.key)), "chain_incomplete", "chain_unrelated"),
    refused("RSA of 1024 bits", lambda: issued(key=rsa_key(1024)), "key_weak"),
    refused("RSA of 4160 bits", lambda: issued(key=rsa_key(4160)), "key_too_large"),
    refused("Ed25519", lambda: issued(key=ED25519), "key_type"),
    refused("P-521", lambda: issued(key=EC521), "key_type"),
    refused("P-224", lambda: issued(key=ec.generate_private_key(ec.SECP224R1())), "key_type"),
    refused("DSA", lambda: issued(key=dsa.generate_private_key(2048)), "key_type"),
]

CHAINS = [
    refused("signs itself", lambda: alone(self_signed(HOST, (HOST,))), "self_signed"),
    refused("signs itself, as authority", lambda: alone(root(HOST)), "self_signed"),
    refused("the leaf alone", (pem(LEAF.certificate), KEY), "chain_incomplete"),
    refused("leaf and root", (pem(LEAF.certificate, ROOT.certificate), KEY), "chain_incomplete", "chain_unrelated"),
    refused("below the root itself", lambda: below(ROOT), "chain_incomplete"),
    refused("a gap", ordered(0, 2), "chain_incomplete", "chain_unrelated"),
    refused("one of another chain", (GOOD + pem(root("Other").certificate), KEY), "chain_unrelated"),
    refused("two leaves", lambda: (GOOD + issued((HOST,), key=LEAF.key)[0], KEY), "several_leaves"),
    refused("two crosses", (pem(LEAF.certificate, INTERMEDIATE.certificate, CROSSED.certificate), KEY), "chain_ambiguous"),
    refused("a changed byte", changed_signature, "chain_signature"),
    refused("an issuer of the same name", same_name_other_key, "chain_signature"),
    refused("too deep", deep, "issuer_not_authority"),
    refused("a leaf that issues", lambda: below(INTERMEDIATE.sign(("x.example",), authority=False), INTERMEDIATE), "issuer_not_authority"),
    refused("an issuer without constraints", lambda: below(INTERMEDIATE.sign(("x.example",)), INTERMEDIATE), "issuer_not_authority"),
    refused("an issuer that may not sign", lambda: below(ROOT.intermediate(signs=False)), "issuer_not_authority"),
    refused("an old issuer", lambda: below(ROOT.intermediate(days=(-90, -1))), "issuer_expired"),
    refused("an issuer of tomorrow", lambda: below(ROOT.intermediate(days=(1, 90))), "issuer_not_yet_valid"),
    refused("an issuer of RSA 1024", lambda: below(ROOT.intermediate(key=rsa_key(1024))), "issuer_key"),
    refused("an issuer on P-224", lambda: below(ROOT.intermediate(key=ec.generate_private_key(ec.SECP224R1()))), "issuer_key"),
    refused("SHA-1 on the leaf", lambda: weakly_signed(5), "signature_weak"),
    refused("MD5 on the leaf", lambda: weakly_signed(4), "signature_weak"),
    refused("SHA-1 on the intermediate", lambda: weakly_signed(5, of=1), "signature_weak"),
]  # fmt: skip

LEAVES = [
    refused("ended", lambda: issued(days=(-90, -0.01)), "expired"),
    refused("begins tomorrow", lambda: issued(days=(1, 90)), "not_yet_valid"),
    refused("ends tonight", lambda: issued(days=(-89, 0.9)), "ends_within_a_day"),
    refused("another name", lambda: issued(("www.example.org",)), "names_not_covered"),
    refused("the name above", lambda: issued(("example.com",)), "names_not_covered"),
    refused("a wildcard two above", lambda: issued(("*.com",)), "names_not_covered"),
    refused("a common name alone", lambda: issued((), subject=HOST), "names_missing"),
    refused("no wildcard", lambda: issued(("a.example.com", "example.com")), "names_not_covered", wanted=FOR_ZONE),
    refused("another zone's", lambda: issued(("*.example.org", "*.com")), "names_not_covered", wanted=FOR_ZONE),
    refused("an authority", lambda: issued(authority=True, usages=None), "leaf_is_authority", "no_server_auth"),
    refused("for clients", lambda: issued(usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "no_server_auth"),
    refused("for nothing", lambda: issued(usages=None), "no_server_auth"),
    refused("may not sign", lambda: issued(signs=False), "key_usage"),
    refused("must staple", lambda: issued(extra=(x509.TLSFeature([x509.TLSFeatureType.status_request]),)), "must_staple"),
    refused("all at once", lambda: issued(("x.example",), days=(-9, -1), usages=None), "expired", "names_not_covered", "no_server_auth"),
]  # fmt: skip

CASES = [*TAKEN, *TEXTS, *KEYS, *CHAINS, *LEAVES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_is_taken_or_refused_with_its_codes(case: Case) -> None:
    """A good file is taken with the names that it may be served for; a wrong one is refused for every reason that it has."""
    certificate, key = case.read()
    if case.codes:
        with pytest.raises(RefusedCertificateError) as refusal:
            inspect(certificate, key, wanted=case.wanted, now=NOW)
        assert {finding.code for finding in refusal.value.findings} == case.codes
        assert all(finding.field in {"certificate", "private_key"} for finding in refusal.value.findings)
        return
    found = inspect(certificate, key, wanted=case.wanted, now=NOW)
    assert tuple(remark.code for remark in found.remarks) == case.remarks
    assert found.names == case.names
    served = x509.load_pem_x509_certificates(found.chain.encode())
    for one, issuer in itertools.pairwise(served):
        one.verify_directly_issued_by(issuer)
    own = serialization.load_pem_private_key(found.key.encode(), None)
    assert own.public_key() == served[0].public_key()
    assert all(one.issuer != one.subject for one in served)


def test_every_code_is_met() -> None:
    """Each sentence of the tables is the answer to one of the files, or to what is stored."""
    met = {code for case in CASES for code in case.codes} | {code for case in CASES for code in case.remarks}
    assert met | {"kept_key_mismatch", "ended", "key_lost", "served_later"} == set(REFUSALS) | set(REMARKS)
    assert len(CASES) >= 60


def test_no_file_says_the_key() -> None:
    """Neither what is found nor what is refused has the private key in its words."""
    found = inspect(GOOD, KEY, wanted=FOR_HOST, now=NOW)
    body = "".join(KEY.split("\n")[1:-2])
    assert body[:40] not in repr(found)
    with pytest.raises(RefusedCertificateError) as refusal:
        inspect(GOOD, KEY.replace("M", "!", 1), wanted=FOR_HOST, now=NOW)
    assert body[8:40] not in repr(refusal.value.findings)


def test_the_kept_key_that_fits_is_taken() -> None:
    """A chain without a key is for one of the keys that are kept: of those, the one that it was issued for."""
    other = key_pem(ec.generate_private_key(ec.SECP256R1()))
    found = inspect(GOOD, None, wanted=FOR_HOST, now=NOW, kept_keys=(other, KEY))
    assert found.key == KEY
    with pytest.raises(RefusedCertificateError, match="kept_key_mismatch"):
        inspect(GOOD, None, wanted=FOR_HOST, now=NOW, kept_keys=(other,))


def test_what_it_says_of_itself() -> None:
    """Issuer, serial and dates are the leaf's."""
    found = inspect(GOOD, KEY, wanted=FOR_HOST, now=NOW)
    assert (found.issuer, found.serial) == ("Test Intermediate", f"{LEAF.certificate.serial_number:x}")
    assert (found.not_before, found.not_after) == (NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=80))


def test_the_boundaries_of_time() -> None:
    """At its last second it has ended; with exactly a day left it is taken."""
    ends = LEAF.certificate.not_valid_after_utc
    assert inspect(GOOD, KEY, wanted=FOR_HOST, now=ends - dt.timedelta(hours=24)).remarks[0].code == "ends_soon"
    for now, code in ((ends, "expired"), (ends - dt.timedelta(hours=23), "ends_within_a_day")):
        with pytest.raises(RefusedCertificateError, match=code):
            inspect(GOOD, KEY, wanted=FOR_HOST, now=now)


@pytest.mark.parametrize("code", ["key_encrypted", "key_unreadable"])
def test_the_command_of_the_sentence_works(code: str, tmp_path: Path) -> None:
    """The openssl command that is advised makes a key that is taken."""
    tmp_path.joinpath("FILE").write_text(key_pem(LEAF.key, password=b"secret" if code == "key_encrypted" else None))
    command = REFUSALS[code].split("`")[1].split()
    assert command == ["openssl", "pkey", "-in", "FILE", "-out", "key.pem"]
    subprocess.run([*command, "-passin", "pass:secret"], cwd=tmp_path, check=True, capture_output=True)
    assert inspect(GOOD, tmp_path.joinpath("key.pem").read_text(), wanted=FOR_HOST, now=NOW).names == (HOST,)


def _only_refused(certificate: str, key: str | None) -> None:
    with contextlib.suppress(RefusedCertificateError):
        inspect(certificate, key, wanted=FOR_HOST, now=NOW)


@given(st.text(max_size=300), st.none() | st.text(max_size=300))
def test_any_text_is_refused_in_words(certificate: str, key: str | None) -> None:
    """No text makes it fail in another way than by refusing."""
    _only_refused(certificate, key)


@given(
    st.sampled_from(["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "X", "EC PARAMETERS"]),
    st.binary(max_size=400),
)
def test_any_block_is_refused_in_words(label: str, inside: bytes) -> None:
    """Nor does a block of any bytes, in either text."""
    text = block(label, inside)
    _only_refused(text, KEY)
    _only_refused(GOOD, text)
    _only_refused(GOOD + text, KEY)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2000), st.integers(0, 255), st.integers(0, 3))
def test_any_changed_byte_is_refused_in_words(place: int, value: int, which: int) -> None:
    """A certificate or key with one other byte is refused, or is what it was."""
    chain = [bytearray(der(LEAF.certificate)), bytearray(der(INTERMEDIATE.certificate))]
    key = bytearray(
        LEAF.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    changed = [*chain, key][which % 3]
    changed[place % len(changed)] = value
    _only_refused("".join(block("CERTIFICATE", bytes(one)) for one in chain), block("PRIVATE KEY", bytes(key)))


def test_the_largest_text_that_is_read_is_read_at_once() -> None:
    """64 KiB of beginnings without an end, or of small blocks, take no time that matters."""
    for text in ("-----BEGIN CERTIFICATE-----" * (MAX_TEXT // 27), block("CERTIFICATE", b"0") * 900):
        _only_refused(text[:MAX_TEXT], KEY)

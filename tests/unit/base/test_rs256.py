"""Keys in PEM files: which can be used, what they sign, and what is derived from them."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from router.base.rs256 import RsaKey

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PKCS1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat = PKCS8,
    password: bytes | None = None,
) -> bytes:
    hidden = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, form, hidden)


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
def test_it_signs_what_its_public_half_verifies(form: serialization.PrivateFormat) -> None:
    """In both forms that files have; PKCS #1 v1.5 with SHA-256, by the public half as it is published."""
    key = RsaKey(pem(KEY, form))
    public = serialization.load_der_public_key(base64.b64decode(key.public_text()))
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(key.sign(b"a=1&b=2"), b"a=1&b=2", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(key.sign(b"a=1&b=2"), b"a=1&b=3", padding.PKCS1v15(), hashes.SHA256())


def test_what_is_derived() -> None:
    """The same of the same key, in any form of its file; another for another purpose, and of another key."""
    key = RsaKey(pem(KEY))
    assert key.derive(b"one") == RsaKey(pem(KEY, PKCS1)).derive(b"one")
    assert len({key.derive(b"one"), key.derive(b"two"), RsaKey(pem(OTHER)).derive(b"one")}) == 3


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1), "no private key"),
        (pem(KEY, password=b"secret"), "has a password"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "no RSA key"),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),  # noqa: S505 - it must be refused
    ],
)
def test_what_can_not_be_used(file: bytes, words: str) -> None:
    """Each in words, without what the file has."""
    with pytest.raises(ValueError, match=words):
        RsaKey(file)

"""Links of Domain Connect, for tests: a key, and a Discovery that knows."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from router.base.rs256 import RsaKey
from router.domains.connect_templates import EXAMPLE
from router.domains.domain_connect import Link, Offer

RETURN = f"https://{EXAMPLE.return_host}/domain-connect/return"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def private_key() -> RsaKey:
    return RsaKey(PEM)


def link() -> Link:
    return Link(provider_id=EXAMPLE.provider_id, key=private_key(), key_name="_dcpubkeyv1", return_url=RETURN)


class Known:
    """A Discovery that knows one offer."""

    def __init__(self, offer: Offer | None) -> None:
        self.offer = offer

    def begin(self, name: str, *, tenant_id: str, is_zone: bool, again: bool = False) -> None:
        """It is known already."""

    def known(self, name: str, *, is_zone: bool) -> Offer | None:
        return self.offer

    async def wait(self, name: str, until: float, *, is_zone: bool) -> None:
        """Nothing is under way."""

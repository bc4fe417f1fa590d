"""What an operator means by a word."""

import pytest

from router.errors import NOT_FOUND, RouterError, StoreUnavailableError
from router.operator.server import OperatorError
from router.operator.subjects import Subjects

pytestmark = pytest.mark.asyncio
ID = "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11"


async def find(id_or_slug: str) -> str:
    if id_or_slug == "away":
        raise StoreUnavailableError("down")
    if id_or_slug != "acme":
        raise RouterError(NOT_FOUND)
    return ID


@pytest.mark.parametrize(
    ("of", "meant"),
    [
        ("shop.miosa.app", {"host": "shop.miosa.app"}),
        ("Bücher.Example.", {"host": "xn--bcher-kva.example"}),
        (ID, {"resource": ID, "tenant": ID}),
        ("acme", {"tenant": ID}),
        ("shop", {"resource": "shop"}),
    ],
)
async def test_what_is_meant(of: str, meant: dict[str, str]) -> None:
    assert await Subjects(find).resolve(of) == meant


@pytest.mark.parametrize(("of", "status"), [("a..b", 422), ("a b.example", 422), ("away", 503)])
async def test_what_can_not_be_known(of: str, status: int) -> None:
    with pytest.raises(OperatorError) as caught:
        await Subjects(find).resolve(of)
    assert caught.value.status == status

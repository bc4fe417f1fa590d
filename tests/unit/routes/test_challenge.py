"""The proof that the proxy answers with under a name that is being checked."""

import pytest

from router.routes.challenge import PATH, proof_for


@pytest.mark.parametrize(
    ("path", "proof"),
    [
        (f"{PATH}token", b"proof"),
        (f"{PATH}other", None),
        (f"{PATH}token/", None),
        (PATH, None),
        ("/", None),
    ],
)
def test_only_the_path_with_the_token_is_answered(path: str, proof: bytes | None) -> None:
    """Byte for byte: nothing else shows the proof."""
    assert proof_for(("token", "proof"), path.encode()) == proof

"""`records.*`: bounds that contradict each other are refused, and what is masked is what the settings say."""

import pytest
from pydantic import ValidationError

from router.node.record_keeping import codec_of
from router.settings import Records, Settings, load
from tests.support.request_records import told

_MIB = 1024 * 1024


@pytest.mark.parametrize("name", ["max_bytes", "max_capture_bytes"])
def test_all_are_not_less_than_one(name: str) -> None:
    """The bound of all tenants together is not below that of one."""
    Records.model_validate({f"{name}_per_tenant": 2 * _MIB, name: 2 * _MIB})
    with pytest.raises(ValidationError, match=f"must not be less than {name}_per_tenant"):
        Records.model_validate({f"{name}_per_tenant": 2 * _MIB, name: _MIB})


@pytest.mark.parametrize("name", ["a b", "", "ä", "x" * 65])
def test_names_that_are_none(name: str) -> None:
    """Nothing could have them."""
    with pytest.raises(ValidationError):
        Records(masked_names=(name,))


def test_names_that_are_masked() -> None:
    """As a list, or as words in a variable; in any case."""
    environ = {"MIOSA_ROUTER_RECORDS__MASKED_NAMES": "X-Pass-Through,user"}
    settings: Settings = load(environ=environ)
    assert settings.records.masked_names == ("X-Pass-Through", "user")
    capture = codec_of(settings).masked(told(request={"headers": [["x-PASS-through", "hush", False]]}))
    assert capture.request.headers[0].value == "***"
    assert b"ada" not in capture.request.body.content

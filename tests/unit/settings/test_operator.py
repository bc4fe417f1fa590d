"""`operator.*`: who may use the operators' sockets."""

import pytest

from router.settings import SettingsError, load


@pytest.mark.parametrize(("given", "kept"), [("0660", "0660"), ("600", "0600"), ("0640", "0640")])
def test_modes_are_octal(given: str, kept: str) -> None:
    assert load(environ={"MIOSA_ROUTER_OPERATOR__ACT_MODE": given}).operator.act_mode == kept


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("act_mode", "0666", "others"),
        ("read_mode", "0661", "others"),
        ("act_mode", "0060", "own user"),
        ("act_mode", "rw", "octal"),
        ("act_mode", "0o600", "octal"),
        ("act_mode", "4600", "octal"),
        ("read_group", "a b", "group"),
        ("act_group", "", "group"),
    ],
)
def test_what_is_refused(key: str, value: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={f"MIOSA_ROUTER_OPERATOR__{key.upper()}": value})
    ((name, what),) = caught.value.problems
    assert name == f"operator.{key}"
    assert why in what


def test_a_folder_whose_name_is_too_long_for_a_socket() -> None:
    load(environ={"MIOSA_ROUTER_RUNTIME_DIR": "/" + "a" * 83})
    with pytest.raises(SettingsError) as caught:
        load(environ={"MIOSA_ROUTER_RUNTIME_DIR": "/" + "a" * 84})
    ((name, what),) = caught.value.problems
    assert name == "runtime_dir"
    assert "84 characters" in what


def test_acting_is_for_the_nodes_own_user_unless_it_is_set() -> None:
    operator = load(environ={}).operator
    assert (operator.read_mode, operator.act_mode, operator.act_group) == ("0660", "0600", None)

"""How `log-level` shows levels."""

from router.cli.log_level import level_lines


def test_levels_for_people() -> None:
    """With how long they last, and where, if not everywhere."""
    levels = [
        {"module": "router.gate", "level": "error", "seconds_left": 3661, "processes": [0, 1, 2]},
        {"module": "router.proxy", "level": "debug", "seconds_left": 59, "processes": [1]},
    ]
    assert list(level_lines({"default": "info", "levels": levels, "processes": [0, 1, 2], "silent": 1})) == [
        "all modules   info     log_level of the settings",
        "router.gate   error    for another 1 h 1 min 1 s",
        "router.proxy  debug    for another 59 s, in processes 1 only",
        "1 workers do not answer",
    ]
    assert len(list(level_lines({"default": "info", "levels": [], "processes": [0], "silent": 0}))) == 1

"""When a disk counts as nearly full."""

from pathlib import Path

from router.base.disk import low_on_space


def test_a_disk_with_room_is_not_mentioned(tmp_path: Path) -> None:
    """There is nothing to say of a folder with room, or of no folder."""
    assert low_on_space([tmp_path], least_bytes=1) is None
    assert low_on_space([]) is None


def test_a_disk_below_both_bounds_is_named(tmp_path: Path) -> None:
    """Less than the least bytes and less than the least share: the folder is named, once."""
    said = low_on_space([tmp_path, tmp_path], least_bytes=1 << 62, least_share=1.1)
    assert said is not None
    assert said.count(str(tmp_path)) == 1
    assert "KiB free" in said


def test_one_bound_alone_is_not_enough(tmp_path: Path) -> None:
    """A large disk may be used to its last percent."""
    assert low_on_space([tmp_path], least_bytes=1, least_share=1.1) is None
    assert low_on_space([tmp_path], least_bytes=1 << 62, least_share=0.0) is None


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    """A mount that went away is no room either."""
    assert f"{tmp_path / 'gone'}: No such file" in (low_on_space([tmp_path / "gone"]) or "")

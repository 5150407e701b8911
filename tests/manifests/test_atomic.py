"""A file is whole or absent, and a full disk is one clear error."""

import os
from pathlib import Path

import pytest

from manifests.errors import DiskFull
from manifests.files import atomic_file, disk_full, is_temporary, write_bytes


def test_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_file(target) as file:
        file.write(b"one")
        assert not target.exists()
        (temporary,) = tmp_path.iterdir()
        assert is_temporary(temporary)
    assert target.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_inside_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(target) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_mode_follows_the_umask_like_any_other_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_bytes(tmp_path / "a.bin", b"x")
    assert (tmp_path / "a.bin").stat().st_mode == plain.stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_becomes_disk_full_naming_the_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(DiskFull, match=r"a\.bin: no space left"), disk_full(target):
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)


def test_other_os_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "missing" / "a.bin", b"x")

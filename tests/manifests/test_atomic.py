"""A file or folder is whole or absent, and a full disk is one clear error."""

import errno
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from manifests import files
from manifests.errors import DatasetError, DiskFull
from manifests.files import (
    FolderLock,
    atomic_file,
    atomic_folder,
    atomic_path,
    disk_full,
    is_locked,
    is_temporary,
    write_bytes,
)


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


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DiskFull, match=r"a\.bin: a file would be larger than this process may write; raise"):
            write_bytes(tmp_path / "a.bin", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_no_right_to_write_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="b: cannot be written: permission denied; give"), disk_full(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "b"))


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


def test_libraries_that_open_files_by_name_get_a_name(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as name:
        name.write_bytes(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
    with atomic_path(target) as name:
        name.write_bytes(b"new")
        assert is_temporary(name)
    assert target.read_bytes() == b"new" and list(tmp_path.iterdir()) == [target]


def filled(folder: Path, text: str) -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "weights").write_text(text)
    (folder / "index.json").write_text(text)


def content(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "renderer"
    with atomic_folder(target) as folder:
        filled(folder, "one")
        assert not target.exists() and is_temporary(folder)
    assert content(target) == {"one"}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("exchange", [True, False])
def test_an_error_inside_leaves_the_old_folder_and_success_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    target = tmp_path / "renderer"
    with atomic_folder(target) as folder:
        filled(folder, "old")
    (target / "more").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as folder:
        filled(folder, "new")
        raise ZeroDivisionError
    assert content(target) == {"old", ""} and list(tmp_path.iterdir()) == [target]
    with atomic_folder(target) as folder:
        filled(folder, "new")
    assert content(target) == {"new"} and list(tmp_path.iterdir()) == [target]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "renderer").mkdir(parents=True)
    link = tmp_path / "renderer"
    link.symlink_to(tmp_path / "disk" / "renderer")
    with atomic_folder(link) as folder:
        filled(folder, "new")
    assert link.is_symlink() and content(tmp_path / "disk" / "renderer") == {"new"}


KILLED = """
import os, sys
from pathlib import Path
from manifests import files

target, last, exchange = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
if not exchange:
    files._exchange = lambda *_: False
left = last

def step(event, _arguments):
    global left
    if event == "open" or event.startswith(("os.", "shutil.", "ctypes.")):
        left -= 1
        if left < 0:
            os._exit(9)

sys.addaudithook(step)
with files.atomic_folder(target) as folder:
    (folder / "unet").mkdir()
    (folder / "unet" / "weights").write_text("new")
    (folder / "index.json").write_text("new")
os._exit(0)
"""


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path: Path, exchange: bool) -> None:
    """The writer dies before its 1st, 2nd, 3rd ... call to the system, until it ends alive."""
    target = tmp_path / "renderer"
    with atomic_folder(target) as folder:
        filled(folder, "old")
    seen = []
    for steps in range(1000):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(target), str(steps), str(exchange)], check=False)
        if exchange:
            seen.append(content(target))
            assert len(list(target.rglob("*"))) == 3
        with atomic_folder(tmp_path / "other") as folder:
            filled(folder, "other")
        assert content(target) in ({"old"}, {"new"})
        assert {path.name for path in tmp_path.iterdir()} == {"renderer", "other"}
        if killed.returncode == 0:
            break
        assert killed.returncode == 9
        with atomic_folder(target) as folder:
            filled(folder, "old")
    assert steps > 10 and content(target) == {"new"}
    assert not exchange or seen == sorted(seen, key=lambda found: found == {"new"})


def test_a_folder_that_another_process_is_filling_is_left_alone(tmp_path: Path) -> None:
    body = "import sys; from pathlib import Path; from manifests.files import atomic_folder\n"
    body += "with atomic_folder(Path(sys.argv[1])) as folder: print(folder, flush=True); input()"
    command = [sys.executable, "-c", body, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        temporary = Path(writer.stdout.readline().strip())
        with atomic_folder(tmp_path / "b") as folder:
            filled(folder, "b")
        assert temporary.is_dir()
        writer.stdin.write("\n")
        writer.stdin.close()
        assert writer.wait() == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    body = "import sys; from pathlib import Path; from manifests.files import FolderLock\n"
    body += "with FolderLock(Path(sys.argv[1]), RuntimeError): print(flush=True); input()"
    assert not is_locked(file)
    command = [sys.executable, "-c", body, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(file)
        with (
            pytest.raises(DatasetError, match=f"taken by process {holder.pid} on {socket.gethostname()}, by "),
            FolderLock(file, lambda who: DatasetError(f"taken by {who}")),
        ):
            pass
        holder.kill()
    assert not is_locked(file)
    with FolderLock(file, DatasetError):
        assert f"process {os.getpid()} on" in file.read_text()

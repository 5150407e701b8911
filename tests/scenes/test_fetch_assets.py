import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.fetch_assets import _untar, _unzip


def tar_of(name: str, data: bytes) -> tarfile.TarFile:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_plain_files_are_unpacked_and_links_are_not(tmp_path: Path):
    _untar(tar_of("a/b.txt", b"content"), tmp_path, lambda name: name)
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"content"
    assert not (tmp_path / "link").exists()


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str):
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(SystemExit, match="leaves its folder"):
        _untar(tar_of(name, b"x"), inner, lambda name: name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(SystemExit, match="leaves its folder"):
        _unzip(tmp_path / "a.zip", inner, lambda name: name)
    assert not (tmp_path / "out.txt").exists()

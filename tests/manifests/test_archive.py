"""The tar parser accepts what a dataset writes and nothing else."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from manifests.errors import DatasetError
from manifests.store import archive, shards
from manifests.store.row_file import row_json
from tests.manifests.clips import clip_sample


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = (len(data) if kind == tarfile.REGTYPE else 0), kind, link, 0o644
    return info, data


def ours(files: dict[str, bytes]) -> bytes:
    return b"".join(archive.encode("00000001-00", files)) + archive.END


def scan(data: bytes) -> list[archive.Member]:
    return list(archive.scan(io.BytesIO(data), len(data)))


def test_written_archive_reads_back_with_exact_offsets() -> None:
    data = ours({"rgb.mkv": b"a" * 600, "clip.json": b"{}"})
    first, second = scan(data)
    assert (first.name, first.offset, first.data, first.size, first.end) == ("00000001-00.clip.json", 0, 512, 2, 1024)
    assert (second.name, second.offset, second.size, second.end) == ("00000001-00.rgb.mkv", 1024, 600, 2560)
    assert data[second.data : second.data + 600] == b"a" * 600


def test_python_tarfile_reads_it_with_fixed_metadata() -> None:
    with tarfile.open(fileobj=io.BytesIO(ours({"clip.json": b"{}"}))) as tar:
        (info,) = tar.getmembers()
        assert (info.name, info.mtime, info.uid, info.gid, info.mode) == ("00000001-00.clip.json", 0, 0, 0, 0o644)


@pytest.mark.parametrize(
    "name",
    ["../1.json", "/etc/passwd", "a/b.json", "noextension", "Upper.json", ".hidden", "a" * 120 + ".json", "ä.json"],
)
def test_unsafe_names_are_refused_reading_and_writing(name: str) -> None:
    with pytest.raises(DatasetError):
        scan(tar_of(entry(name)))
    with pytest.raises(DatasetError):
        archive.header(name, 1)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_devices_and_folders_are_refused(kind: bytes) -> None:
    with pytest.raises(DatasetError, match="not a regular file"):
        scan(tar_of(entry("00000001-00.rgb", kind=kind, link="/etc/passwd")))


def test_claimed_size_beyond_the_file_is_refused_without_reading_it() -> None:
    header = archive.header("00000001-00.rgb", archive.LARGEST_FILE)
    with pytest.raises(DatasetError, match="cut off"):
        scan(header + bytes(2048))


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 1024, 1536, 2047])
def test_truncation_anywhere_is_found(keep: int) -> None:
    data = ours({"clip.json": b"{}"})
    assert len(data) == 2048
    with pytest.raises(DatasetError):
        scan(data[:keep])


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(DatasetError, match="end of the archive"):
        scan(ours({"clip.json": b"{}"}) + bytes(512))


def test_any_flipped_header_byte_is_found() -> None:
    data = ours({"clip.json": b"{}"})
    for position in range(512):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(DatasetError):
            scan(bytes(broken))


def test_salvage_finds_the_members_after_a_damaged_header() -> None:
    data = bytearray(ours({"a": b"1" * 600, "b": b"2" * 600, "c": b"3"}))
    data[1536 + 5] ^= 0xFF
    found = [member.suffix for member in archive.salvage(io.BytesIO(bytes(data)), len(data))]
    assert found == ["a", "c"]


class Counting(io.BytesIO):
    """A file of zero bytes after its beginning, as large as it is said to be; counts what is read of it."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__(beginning)
        self.taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= 1 << 20, "more was asked for than a piece"
        self.taken += size
        return super().read(size).ljust(size, b"\0")


def test_files_of_a_claimed_size_are_not_read_before_their_row_agrees() -> None:
    """A sparse file costs nothing to make: a header that claims a gigabyte is a finding, not an allocation."""
    file = Counting(archive.header("00000001-00.rgb.mkv", 1 << 30))
    (member,) = archive.scan(file, 512 + (1 << 30) + len(archive.END))
    with pytest.raises(DatasetError, match=r"has no row\.json"):
        shards.read_group(file, [member])
    assert file.taken < 4096

    sample = clip_sample(1)
    files = {**sample.files, "row.json": row_json(sample)}
    data = b"".join(archive.encode(sample.key, files))
    large = [replace(member, size=1 << 30) if member.suffix == "clip.json" else member for member in whole(data)]
    with pytest.raises(DatasetError, match=r"clip\.json was changed: its size"):
        shards.read_group(Counting(data), large)


def whole(data: bytes) -> list[archive.Member]:
    return scan(data + archive.END)


def test_a_clip_is_hashed_in_pieces_where_its_files_are_not_wanted() -> None:
    sample = clip_sample(1)
    data = b"".join(archive.encode(sample.key, {**sample.files, "row.json": row_json(sample)}))
    assert shards.read_group(io.BytesIO(data), whole(data)).files == sample.files
    assert shards.read_group(io.BytesIO(data), whole(data), keep=False).files == {}
    spoilt = data.replace(sample.files["clip.json"][:8], b"!" * 8)
    with pytest.raises(DatasetError, match=r"clip\.json was changed: its SHA-256"):
        shards.read_group(io.BytesIO(spoilt), whole(spoilt), keep=False)


def test_no_clip_of_more_than_its_limit_is_written_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = clip_sample(1)
    files = {**sample.files, "row.json": row_json(sample)}
    data = b"".join(archive.encode(sample.key, files))
    monkeypatch.setattr(archive, "LARGEST_CLIP", len(data) - 1)
    with pytest.raises(DatasetError, match="more than"):
        shards.read_group(io.BytesIO(data), whole(data))
    with pytest.raises(DatasetError, match="more than"):
        list(archive.encode(sample.key, files))


def test_salvage_passes_over_what_holds_no_header(tmp_path: Path) -> None:
    """A terabyte of nothing, and the magic of a header where none begins, before the one file that is left."""
    path = tmp_path / "shard.tar"
    with path.open("wb") as file:
        file.write(b"x" * 300 + b"ustar\x0000" * 100)
        file.seek(1 << 40)
        file.write(ours({"clip.json": b"{}"}))
    reads = Mock()
    with path.open("rb") as file:
        reads.seek, reads.read.side_effect = file.seek, file.read
        (member,) = archive.salvage(reads, path.stat().st_size)
    assert member.offset == 1 << 40
    assert reads.read.call_count < 2000  # not one a block

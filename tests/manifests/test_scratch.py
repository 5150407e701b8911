from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from manifests.files import Scratch, atomic_path

OWNER = "import os, sys; from pathlib import Path; from manifests.files import Scratch; "


def test_a_folder_is_gone_when_its_owner_closes_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "frame.exr").write_bytes(b"pixels")
    scratch.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owners_folder_is_swept_and_a_living_ones_is_kept(tmp_path: Path) -> None:
    body = OWNER + "s = Scratch(Path(sys.argv[1])); (s.path / 'frame').touch(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", body, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    living = Scratch(tmp_path)
    another = Scratch(tmp_path)
    assert not left.exists()
    assert set(tmp_path.iterdir()) == {living.path, another.path}


def test_what_a_killed_writer_left_of_a_file_goes_with_the_next_and_a_living_ones_stays(tmp_path: Path) -> None:
    target = tmp_path / "film[1].mp4"
    body = (
        "import os, sys; from pathlib import Path; from manifests.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1]), sweep=True) as name: name.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", body, str(target)], check=False)
    (left,) = tmp_path.iterdir()
    with atomic_path(target, sweep=True) as living, atomic_path(target, sweep=True) as another:
        assert set(tmp_path.iterdir()) == {living, another}
        another.write_bytes(b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b""]  # the other ended last, and is as whole
    assert not left.exists()

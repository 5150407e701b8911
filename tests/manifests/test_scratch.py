from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from manifests.files import Scratch

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

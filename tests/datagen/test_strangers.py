"""`benchmarks.strangers` reads every file of a folder as what it may be, and lists what others see otherwise."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import strangers
from manifests.codec.exr import write_exr
from tests.datagen.meshfiles import GltfFile, stl
from tests.labeling.footage import encode, shot


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("content")
    light = np.full((4, 8), 2.0, np.float32)
    (root / "sky.exr").write_bytes(write_exr(dict.fromkeys("RGB", light)))
    (root / "bad.hdr").write_bytes(b"#?RADIANCE\n\n-Y 4 +X 8\n")
    Image.fromarray(shot(1, 1)[0]).save(root / "a.png")
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(root / "mask.png")
    (root / "not.png").write_bytes(b"GIF")
    encode(root / "film.mp4", np.full((3, 32, 32, 3), (200, 120, 40), np.uint8))
    (root / "cut.mp4").write_bytes((root / "film.mp4").read_bytes()[:100])
    GltfFile().glb(root / "box.glb")
    stl(root / "box.stl")
    (root / "cut.stl").write_bytes(bytes(90))
    return root


def test_every_file_is_read_as_what_it_may_be_and_refusals_are_counted_by_reason(
    content: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["strangers", str(content)])
    strangers.main()
    out = capsys.readouterr().out
    rows = [line.split(maxsplit=3) for line in out.splitlines() if " files: " in line]
    found = {title: set(told.split(", ")) - {"2 agrees", "1 agrees"} for title, _, _, told in rows}
    assert found == {
        "lights": {"1 accepted", "1 refused"},
        "pictures": {"2 accepted", "1 refused"},
        "masks": {"1 accepted", "2 refused"},
        "meshes": {"2 accepted", "1 malformed"},
        "videos": {"1 accepted", "1 unreadable"},
    }
    assert "  bad.hdr: cannot be read" in out and "  cut.stl: " not in out
    assert "differs" not in out and "codes off" not in out


def test_what_another_reader_sees_otherwise_is_listed(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    darker = np.full((48, 64, 3), 7, np.uint8)
    other = SimpleNamespace(IMREAD_COLOR=1, IMREAD_UNCHANGED=-1, imread=lambda *_: darker)
    monkeypatch.setattr(strangers, "_installed", lambda _: other)
    verdict, compared = strangers.picture(content / "a.png")
    assert verdict == "accepted" and compared.endswith("codes off")
    other.imread = lambda *_: darker[:40]
    assert strangers.picture(content / "a.png")[1] == "(48, 64, 3) for (40, 64, 3)"
    larger = SimpleNamespace(load_scene=lambda _: SimpleNamespace(extents=(2.0, 4.0, 1.1)))
    monkeypatch.setattr(strangers, "_installed", lambda _: larger)
    process = SimpleNamespace(examine=lambda _: SimpleNamespace(reason="", size=(2.0, 1.0, 4.0)))
    assert "for (2.0, 4.0, 1.1)" in strangers.mesh(content / "box.glb", process)[1]
    larger.load_scene = lambda _: SimpleNamespace(extents=(2.0, 4.0, 1.0))
    assert strangers.mesh(content / "box.glb", process)[1] == "agrees"
